"""Checks of edits: small, composed, and each with its reason. An edit is judged, never obeyed and never believed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from whybox.concepts._language import language, main_script
from whybox.explanations._words import edit_distance, words
from whybox.llms import Reply


@dataclass(frozen=True)
class Candidate:
    """An edit before it is judged.

    Args:
        original: the text before.
        text: the text after, None if the reply held none.
        reply: what the generator sent.
        concept: what was set; None for a flip of the label.
        target: its new value.
        fixed: the concepts that must keep their values.
        group: edits of one group are of one original and one intervention; among them duplicates are looked for.

    Example:
        >>> Candidate("Good soup.", "Bad soup.", Reply("Bad soup."), "food", "Negative").target
        'Negative'
    """

    original: str
    text: str | None
    reply: Reply
    concept: str | None = None
    target: str = ""
    fixed: tuple[str, ...] = ()
    group: int = 0


@runtime_checkable
class Check(Protocol):
    """Judges many edits at once."""

    @property
    def name(self) -> str:
        """What stands in the reasons."""

    @property
    def costly(self) -> bool:
        """Whether only edits that passed every other check are shown to it."""

    def judge(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """For each edit why it fails, in words that a generator can act on, or None."""


def _each(candidates: Sequence[Candidate], why: Callable[[Candidate, str], str | None]) -> list[str | None]:
    """Judge one by one; edits without a text are another check's."""
    return [None if c.text is None else why(c, c.text) for c in candidates]


_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable)|i can(?:no|')t (?:help|assist|comply|do|edit|rewrite|change|fulfil)|as an ai\b|i must decline)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Answered:
    """A text came back: the request did not fail, was not refused, not cut off and not empty.

    Args:
        name: what stands in the reasons.
        costly: whether only edits that passed the other checks are shown to it.

    Example:
        >>> Answered().judge([Candidate("Good soup.", "", Reply(""))])
        ['the reply is empty']
    """

    name: str = "no answer"
    costly: bool = False

    def judge(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """Why there is no text."""
        return [self._why(c) for c in candidates]

    def _why(self, c: Candidate) -> str | None:
        if c.reply.finish == "failed":
            return f"the request failed: {c.reply.error}"
        if c.reply.finish == "refused":
            return "the provider refused to answer"
        if c.reply.finish == "length":
            return "the reply was cut off at its longest allowed length"
        if c.text is None:
            return "the reply has no text between the two marker lines"
        if not c.text.strip():
            return "the reply is empty"
        told = _REFUSAL.search(c.text.replace("’", "'"))
        if told and not _REFUSAL.search(c.original.replace("’", "'")):
            return f"the reply refuses the task ({told.group()!r})"
        return None


@dataclass(frozen=True)
class Changed:
    """The words are not the original's.

    Args:
        name: what stands in the reasons.
        costly: whether only edits that passed the other checks are shown to it.

    Example:
        >>> Changed().judge([Candidate("Good soup.", "good  soup.", Reply("good  soup."))])
        ['the text was not changed']
    """

    name: str = "unchanged"
    costly: bool = False

    def judge(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """Why it counts as unchanged."""
        return _each(candidates, lambda c, text: "the text was not changed" if _folded(text) == _folded(c.original) else None)


@dataclass(frozen=True)
class Distinct:
    """No earlier edit of the same original and intervention has the same words.

    Args:
        name: what stands in the reasons.
        costly: whether only edits that passed the other checks are shown to it.

    Example:
        >>> edit = Candidate("Good soup.", "Bad soup.", Reply("Bad soup."))
        >>> Distinct().judge([edit, edit])
        [None, 'the same edit was made before; make another one']
    """

    name: str = "duplicate"
    costly: bool = False

    def judge(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """Which edits repeat an earlier one."""
        seen: set[tuple[int, tuple[str, ...]]] = set()
        reasons: list[str | None] = []
        for c in candidates:
            key = None if c.text is None or not c.text.strip() else (c.group, _folded(c.text))
            reasons.append("the same edit was made before; make another one" if key in seen else None)
            if key is not None:
                seen.add(key)
        return reasons


# Said by those who talk about the task; each counts only if the original does not say it.
_META = (
    r"<<<|>>>",
    r"\b(?:edited|revised|rewritten|modified|updated|changed|original|given) (?:text|version|review|sentence|passage)\b",
    r"\bhere(?:'s| is| are) (?:the|a|an|your|my)\b.{0,40}(?:text|version|review|edit|rewrite)",
    r"\b(?:new|current|target) value\b",
    r"\bconcept\b",
    r"\bcounterfactual\b",
    r"\bas (?:you )?(?:requested|instructed|asked)\b",
    r"\b(?:i|we) (?:have )?(?:changed|edited|replaced|rewrote|rewritten|modified)\b",
    r"\bthis review\b|\bthe review\b|\bmentions?\b",
    r"^\s*(?:note|explanation|changes?|output|answer|sure|certainly|of course)\b\s*[:,!]",
    r"\bmust stay as it is\b|\bmarker lines?\b",
)
_META_ALL = tuple(re.compile(pattern, re.IGNORECASE | re.MULTILINE | re.DOTALL) for pattern in _META)


@dataclass(frozen=True)
class NoMetaTalk:
    """The edit does not speak of itself or of the task.

    Args:
        name: what stands in the reasons.
        costly: whether only edits that passed the other checks are shown to it.

    Example:
        >>> edit = "Here is the edited text: bad soup."
        >>> NoMetaTalk().judge([Candidate("Good soup.", edit, Reply(edit))])[0][:26]
        "it speaks of the task ('ed"
    """

    name: str = "meta-talk"
    costly: bool = False

    def judge(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """What gives it away."""
        return _each(candidates, self._why)

    def _why(self, c: Candidate, text: str) -> str | None:
        for pattern in _META_ALL:
            found = pattern.search(text)
            if found and not pattern.search(c.original):
                return f"it speaks of the task ({found.group()[:60]!r}); write only what the author of the text would write"
        return None


@dataclass(frozen=True)
class SameLanguage:
    """Script and language are the original's, as far as its characters and commonest words tell.

    Args:
        name: what stands in the reasons.
        costly: whether only edits that passed the other checks are shown to it.

    Example:
        >>> before, after = "The soup was good and it was hot.", "Die Suppe war nicht gut und sie war kalt."
        >>> SameLanguage().judge([Candidate(before, after, Reply(after))])
        ['it reads as German and the original as English; keep the language']
    """

    name: str = "language"
    costly: bool = False

    def judge(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """What changed."""
        return _each(candidates, self._why)

    def _why(self, c: Candidate, text: str) -> str | None:
        before, after = main_script(c.original), main_script(text)
        if before != after and before is not None and after is not None:
            return f"it is written in {after} letters and the original in {before}"
        spoken, now = language(c.original), language(text)
        if spoken is not None and now is not None and spoken != now:
            return f"it reads as {now} and the original as {spoken}; keep the language"
        return None


@dataclass(frozen=True)
class SimilarLength:
    """Between ``least`` and ``most`` times the words of the original, give or take ``slack`` words.

    Args:
        least: smallest ratio of the lengths. Default 0.5.
        most: largest ratio. Default 2.
        slack: words that are allowed on top. Default 5.
        name: what stands in the reasons.
        costly: whether only edits that passed the other checks are shown to it.

    Example:
        >>> SimilarLength().judge([Candidate("Good soup. " * 10, "Bad.", Reply("Bad."))])
        ['it has 2 words and the original 30; keep about the length']
    """

    least: float = 0.5
    most: float = 2.0
    slack: int = 5
    name: str = "length"
    costly: bool = False

    def judge(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """Both lengths."""
        return _each(candidates, self._why)

    def _why(self, c: Candidate, text: str) -> str | None:
        n, m = len(words(c.original)), len(words(text))
        if not self.least * n - self.slack <= m <= self.most * n + self.slack:
            return f"it has {m} words and the original {n}; keep about the length"
        return None


@dataclass(frozen=True)
class Ended:
    """It does not break off where the original ends properly.

    Args:
        name: what stands in the reasons.
        costly: whether only edits that passed the other checks are shown to it.

    Example:
        >>> Ended().judge([Candidate("Good soup.", "Bad soup and", Reply(""))])
        ["it breaks off with 'Bad soup and'"]
    """

    name: str = "dangling"
    costly: bool = False

    def judge(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """How it ends."""
        ends = tuple(".!?…。！？\"')”’»")
        return _each(
            candidates,
            lambda c, text: (
                f"it breaks off with {text.rstrip()[-20:]!r}"
                if c.original.rstrip().endswith(ends) and text.rstrip()[-1:].isalnum()
                else None
            ),
        )


@dataclass(frozen=True)
class Near:
    """At most a share of the words differs (edit distance over the longer text's words).

    Args:
        most: the share. Default 0.75.
        name: what stands in the reasons.
        costly: whether only edits that passed the other checks are shown to it.

    Example:
        >>> Near(most=0.3).judge([Candidate("Good soup.", "Bad fish.", Reply(""))])
        ['67% of the words differ, more than 30%; change fewer words']
    """

    most: float = 0.75
    name: str = "distance"
    costly: bool = False

    def judge(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """How much differs."""
        return _each(candidates, self._why)

    def _why(self, c: Candidate, text: str) -> str | None:
        a, b = words(c.original), words(text)
        share = edit_distance(a, b) / max(len(a), len(b), 1)
        if share > self.most:
            return f"{share:.0%} of the words differ, more than {self.most:.0%}; change fewer words"
        return None


CHEAP: tuple[Check, ...] = (Answered(), Changed(), Distinct(), NoMetaTalk(), SameLanguage(), SimilarLength(), Ended(), Near())


def _folded(text: str) -> tuple[str, ...]:
    return tuple(words(text.casefold()))
