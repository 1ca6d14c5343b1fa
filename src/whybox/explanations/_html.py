"""An Attribution as an HTML fragment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whybox.explanations.attribution import Attribution


def fragment(e: Attribution, *, max_display: int) -> str:
    """The fragment."""
    raise NotImplementedError(e, max_display)
