"""What all checks say of all edits, and what could not be judged."""

from __future__ import annotations

from collections.abc import Sequence

from whybox.concepts._checks import Candidate, Check
from whybox.errors import OptionError

UNJUDGED = "not judged"  # stands in the place of the check's name: an edit that was not judged is not one that was found wrong


class Unjudged(str):
    """A reason that is no fault of the edit: whoever a check asks gave no answer.

    Example:
        >>> Unjudged("the request failed: HTTP 500")
        'the request failed: HTTP 500'
    """

    __slots__ = ()


def judge(checks: Sequence[Check], candidates: Sequence[Candidate]) -> list[list[tuple[str, str]]]:
    """All (check, reason) of every edit. Costly checks see only what passed the others.

    Raises:
        OptionError: a check answered for another number of edits.
    """
    failures: list[list[tuple[str, str]]] = [[] for _ in candidates]
    for stage in (False, True):
        places = [i for i in range(len(candidates)) if not stage or not failures[i]]
        found: list[tuple[int, str, str]] = []
        for check in (c for c in checks if c.costly is stage):
            reasons = check.judge([candidates[i] for i in places]) if places else []
            if len(reasons) != len(places):
                raise OptionError(f"check {check.name!r}: expected {len(places)} verdicts, got {len(reasons)}")
            for i, why in zip(places, reasons, strict=True):
                if isinstance(why, Unjudged):
                    found.append((i, UNJUDGED, f"{check.name}: {why}"))
                elif why is not None:
                    found.append((i, check.name, why))
        for i, name, why in found:
            failures[i].append((name, why))
    return failures
