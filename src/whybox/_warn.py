"""Warnings that point at the line of the user's code from which a call set out."""

from __future__ import annotations

import sys
import warnings

_OWN = __name__.partition(".")[0]


def tell(message: str, category: type[Warning]) -> None:
    """Warn where the outermost call into this package stands: Python shows a warning once a line, so each such call has its own.

    Example:
        >>> with warnings.catch_warnings(record=True) as seen:
        ...     warnings.simplefilter("always")
        ...     tell("the model is noisy", UserWarning)
        >>> str(seen[0].message)
        'the model is noisy'
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _OWN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
