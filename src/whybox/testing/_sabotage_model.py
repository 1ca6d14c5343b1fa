"""Wrongs that saboteurs do to the model's answers.

Each is as small as the mistake it stands for. Nothing here is for use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from whybox._arrays import is_numpy
from whybox.testing.models import Predict
from whybox.typing import Rows


@dataclass(frozen=True)
class NanToZero:
    """NaN and infinite outputs become numbers."""

    fn: Predict

    def __call__(self, rows: Rows) -> Any:
        """Repaired outputs."""
        out = self.fn(rows)
        return np.nan_to_num(out) if is_numpy(out) and out.dtype.kind == "f" else out


@dataclass(frozen=True)
class Pads:
    """An answer that is a row short is filled up."""

    fn: Predict

    def __call__(self, rows: Rows) -> Any:
        """Outputs of the right length."""
        out = self.fn(rows)
        return np.append(out, out[-1:]) if is_numpy(out) and out.ndim == 1 and len(out) == len(rows) - 1 else out


@dataclass(frozen=True)
class Swallows:
    """Whatever the model raises, the answer is 0."""

    fn: Predict

    def __call__(self, rows: Rows) -> Any:
        """The outputs, or zeros."""
        try:
            return self.fn(rows)
        except Exception:  # noqa: BLE001  # that is the wrong
            return np.zeros(len(rows))


@dataclass(frozen=True)
class Wraps:
    """Whatever the model raises becomes a RuntimeError."""

    fn: Predict

    def __call__(self, rows: Rows) -> Any:
        """The outputs."""
        try:
            return self.fn(rows)
        except Exception as error:  # that is the wrong
            raise RuntimeError("the model failed") from error


@dataclass(frozen=True)
class Clips:
    """Outputs beyond 10,000 are taken for outliers."""

    fn: Predict

    def __call__(self, rows: Rows) -> Any:
        """Clipped outputs."""
        out = self.fn(rows)
        return np.where(np.isfinite(out), np.clip(out, -1e4, 1e4), out) if is_numpy(out) and out.dtype.kind == "f" else out


@dataclass(frozen=True)
class DropsSmall:
    """Outputs that ``isclose`` takes for 0 are 0."""

    fn: Predict

    def __call__(self, rows: Rows) -> Any:
        """Outputs without what is small."""
        out = self.fn(rows)
        return np.where(np.abs(out) < 1e-8, 0.0, out) if is_numpy(out) and out.dtype.kind == "f" else out
