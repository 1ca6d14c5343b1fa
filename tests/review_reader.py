"""Reads concepts off a generated review without a mistake: it knows every wording."""

from __future__ import annotations

import re

from whybox.concepts import CallableClassifier
from whybox.datasets import concept_reviews, reviews

_SENTENCE = re.compile(r"(?<=[.!?]) ")


def _patterns(name, code):
    adjectives = {"good": "|".join(reviews._GOOD), "bad": "|".join(reviews._BAD)}
    nouns = "|".join(reviews._NOUNS[name])
    for wording in reviews._SAYS[code]:
        yield re.compile(wording.format(the=f"(?i:{nouns})", The=f"(?i:{nouns})", **{k: f"(?:{v})" for k, v in adjectives.items()}))


_FOUND = {name: [list(_patterns(name, code)) for code in range(3)] for name in reviews._NOUNS}
_TOLD = {"price": reviews._PRICE, "return": reviews._RETURN}
_VALUES = {c.name: c.values for c in concept_reviews(1).concepts}


def read(text, name):
    """The value of a concept, None if the text does not tell it."""
    if name in _TOLD:
        found = [code for code, wordings in enumerate(_TOLD[name]) if any(w in text for w in wordings)]
    else:
        said = _SENTENCE.split(text)
        found = [code for code in range(3) if any(p.fullmatch(s) for p in _FOUND[name][code] for s in said)]
    return _VALUES[name][found[0]] if len(found) == 1 else None


def reader():
    """A concept classifier without error."""
    return CallableClassifier({name: (lambda texts, name=name: [read(t, name) for t in texts]) for name in _VALUES})
