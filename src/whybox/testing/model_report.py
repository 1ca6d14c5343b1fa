"""What check_model found out: a frozen record that reads as text."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from whybox.errors import ModelError

Level = Literal["ok", "note", "fail", "skip"]


@dataclass(frozen=True)
class Check:
    """One question about a model and its answer.

    Args:
        name: what was checked.
        level: "ok"; "note": whybox copes, other code may not; "fail": an explanation would be wrong, not repeatable, or end in an error;
            "skip": it could not be told, and ``detail`` says why.
        detail: what was seen, and what to do.
    """

    name: str
    level: Level
    detail: str


@dataclass(frozen=True)
class ModelReport:
    """The answers of :func:`whybox.testing.check_model`.

    Args:
        model: the model's name.
        checks: one record a check.
        n_rows: rows of x that were used.
        n_calls: calls of the model that the checks took.
        n_queries: rows sent in these calls.
        seconds_per_row: batch size to wall seconds a row.
    """

    model: str
    checks: tuple[Check, ...]
    n_rows: int
    n_calls: int
    n_queries: int
    seconds_per_row: Mapping[int, float]

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that failed."""
        return tuple(check.name for check in self.checks if check.level == "fail")

    @property
    def noted(self) -> tuple[str, ...]:
        """Names of the checks with something worth knowing."""
        return tuple(check.name for check in self.checks if check.level == "note")

    def __getitem__(self, name: str) -> Check:
        """The check of this name."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(f"no check is named {name!r}; there are {', '.join(check.name for check in self.checks)}")

    def raise_if_failed(self, *, ignore: Collection[str] = ()) -> None:
        """Raise if a check failed.

        Args:
            ignore: names of checks that may fail, such as "deterministic" for a model that is meant to be noisy.

        Raises:
            ModelError: with the details of every failed check.
        """
        failed = [check for check in self.checks if check.level == "fail" and check.name not in ignore]
        if failed:
            raise ModelError(f"{self.model} failed {len(failed)} checks:\n" + "\n".join(f"  {c.name}: {c.detail}" for c in failed))

    def __str__(self) -> str:
        width = max((len(check.name) for check in self.checks), default=0)
        lines = [f"{self.model}: {'ok' if self.ok else 'FAILED'} ({self.n_rows} rows, {self.n_calls} calls, {self.n_queries} rows sent)"]
        marks = {"fail": "FAIL"}
        lines.extend(f"  {marks.get(c.level, c.level):<4}  {c.name:<{width}}  {c.detail}" for c in self.checks)
        return "\n".join(lines)
