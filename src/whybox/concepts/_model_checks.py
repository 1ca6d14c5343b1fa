"""Checks that ask a model of their own: a classifier of concepts, an encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whybox.concepts._checks import Candidate
from whybox.concepts._classifiers import ConceptClassifier, Labels, UnjudgedError
from whybox.concepts._verdicts import Unjudged
from whybox.errors import ModelError


@dataclass(frozen=True)
class Similar:
    """The embeddings of original and edit point the same way.

    Args:
        encode: texts to (n, d) vectors.
        least: least cosine. Default 0.7.
        name: what stands in the reasons.
        costly: whether only edits that passed the other checks are shown to it.

    Example:
        >>> from whybox.llms import Reply
        >>> check = Similar(lambda texts: [[t.count("o"), 1.0] for t in texts], least=0.9)
        >>> check.judge([Candidate("Good soup.", "Bad.", Reply("Bad."))])
        ["its embedding's cosine with the original's is 0.32, below 0.9"]
    """

    encode: Callable[[list[str]], Any]
    least: float = 0.7
    name: str = "similarity"
    costly: bool = True

    def judge(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """The cosine."""
        cosines = similarities(self.encode, [c.original for c in candidates], [c.text or "" for c in candidates])
        return [f"its embedding's cosine with the original's is {s:.2f}, below {self.least}" if s < self.least else None for s in cosines]


@dataclass(frozen=True)
class TargetReached:
    """A classifier finds the value that was asked for.

    Args:
        classifier: who is asked.
        name: what stands in the reasons.
        costly: whether only edits that passed the other checks are shown to it.

    Example:
        >>> from whybox.concepts import CallableClassifier
        >>> from whybox.llms import Reply
        >>> reads = CallableClassifier({"food": lambda texts: ["P" if "good" in t else "N" for t in texts]})
        >>> TargetReached(reads).judge([Candidate("Good soup.", "A good soup.", Reply(""), "food", "N")])
        ["food reads as 'P'; make it 'N'"]
    """

    classifier: ConceptClassifier
    name: str = "target"
    costly: bool = True

    def judge(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """What the classifier found."""
        reasons: list[str | None] = [None] * len(candidates)
        for concept, places in _by_concept(candidates).items():
            found, failed = _read(self.classifier, [candidates[i].text or "" for i in places], concept)
            for at, (i, value) in enumerate(zip(places, found, strict=True)):
                if at in failed:
                    reasons[i] = Unjudged(f"nobody told {concept} in the edit: {failed[at]}")
                elif value != candidates[i].target:
                    told = "no value" if value is None else repr(value)
                    reasons[i] = f"{concept} reads as {told}; make it {candidates[i].target!r}"
        return reasons


@dataclass(frozen=True)
class ConfoundersKept:
    """A classifier finds every fixed concept as it was in the original.

    Args:
        classifier: who is asked.
        name: what stands in the reasons.
        costly: whether only edits that passed the other checks are shown to it.

    Example:
        >>> from whybox.concepts import CallableClassifier
        >>> from whybox.llms import Reply
        >>> reads = CallableClassifier({"room": lambda texts: ["P" if "nice" in t else "N" for t in texts]})
        >>> ConfoundersKept(reads).judge([Candidate("Good soup, nice room.", "Bad soup, bad room.", Reply(""), "food", "N", ("room",))])
        ["room went from 'P' to 'N': leave that as it was"]
    """

    classifier: ConceptClassifier
    name: str = "confounder"
    costly: bool = True

    def judge(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """Which concept moved."""
        moved: list[list[str]] = [[] for _ in candidates]
        unread: dict[int, str] = {}
        for concept in dict.fromkeys(name for c in candidates for name in c.fixed):
            places = [i for i, c in enumerate(candidates) if concept in c.fixed]
            texts = list(dict.fromkeys([*(candidates[i].original for i in places), *(candidates[i].text or "" for i in places)]))
            found, failed = _read(self.classifier, texts, concept)
            value = dict(zip(texts, found, strict=True))
            lost = {texts[at]: why for at, why in failed.items()}
            for i in places:
                original, edit = candidates[i].original, candidates[i].text or ""
                if original in lost or edit in lost:
                    which = "original" if original in lost else "edit"
                    unread[i] = f"nobody told {concept} in the {which}: {lost[original if original in lost else edit]}"
                elif value[original] != value[edit]:
                    moved[i].append(f"{concept} went from {value[original]!r} to {value[edit]!r}")
        reasons: list[str | None] = [f"{'; '.join(names)}: leave that as it was" if names else None for names in moved]
        return [Unjudged(unread[i]) if why is None and i in unread else why for i, why in enumerate(reasons)]


def similarities(encode: Callable[[list[str]], Any], before: Sequence[str], after: Sequence[str]) -> list[float]:
    """Cosine of the embeddings, pair by pair; 0 where one of them is zero.

    Raises:
        ModelError: the encoder returned something else than one vector a text.
    """
    unique = list(dict.fromkeys([*before, *after]))
    if not unique:
        return []
    vectors = np.asarray(encode(unique), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(unique):
        raise ModelError(f"encode: expected ({len(unique)}, d) vectors, got shape {vectors.shape}")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    place = {text: i for i, text in enumerate(unique)}
    a, b = unit[[place[t] for t in before]], unit[[place[t] for t in after]]
    cosines: list[float] = (a * b).sum(axis=1).tolist()
    return cosines


def _read(classifier: ConceptClassifier, texts: Sequence[str], concept: str) -> tuple[Labels, Mapping[int, str]]:
    """The values, and why there is none where the classifier's request failed."""
    try:
        return classifier.classify(texts, concept), {}
    except UnjudgedError as error:
        return error.labels, error.reasons


def _by_concept(candidates: Sequence[Candidate]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for i, c in enumerate(candidates):
        if c.concept is not None:
            places.setdefault(c.concept, []).append(i)
    return places
