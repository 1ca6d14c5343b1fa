"""Saving and loading without pickle."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whybox.explanations.attribution import Attribution


def save(e: Attribution, path: str | PathLike[str]) -> None:
    """Write e."""
    raise NotImplementedError(e, path)


def load(path: str | PathLike[str]) -> dict[str, Any]:
    """Read e."""
    raise NotImplementedError(path)
