"""Results: frozen, sliceable, saved without pickle."""

from whybox.explanations.attribution import Attribution

__all__ = ["Attribution"]
