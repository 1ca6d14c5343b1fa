"""Control rows: a few rows sent twice tell a noisy model, and one whose answer depends on the place in the batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from whybox._warn import tell
from whybox.errors import OutputOrderError
from whybox.typing import Floats, Ints

_SHARE = 100  # one control row in a hundred, one at least, and only in the batches 1, 2, 4, 8, ...
_LEAST = 33  # rows of a batch that has any: of fewer, one would be much
_TOLERANCE = 1e-4  # of the outputs' spread: what float32 arithmetic of another batch size may move


def room(n: int, share: int) -> int:
    """Control rows of a batch of n, one in so many."""
    return 0 if n < _LEAST else max(n // share, 1)


class NoisyModelWarning(UserWarning):
    """The model answers the same row differently when asked twice."""


class Controls:
    """Adds control rows to some batches and judges the answers.

    Args:
        model: the model's name, for messages.
        rounding: how far the model's own arithmetic may move an output, relative to the largest of the batch.
    """

    def __init__(self, model: str, rounding: float = 0.0) -> None:
        self._model, self._rounding = model, max(rounding, 1e-6)
        self._batches = 0
        self._due = 1
        self._squares: list[float] = []
        self._warned = False

    @property
    def repeat_sd(self) -> float | None:
        """Standard deviation of repeated answers; None before any were asked."""
        return float(np.sqrt(np.mean(self._squares) / 2)) if self._squares else None

    @property
    def share(self) -> int:
        """One row in so many of the next batch is a control row; 0 if the next batch has none."""
        return _SHARE if self._batches + 1 >= self._due else 0

    def choose(self, n: int) -> Ints:
        """Positions of the rows of the next batch to send again, in reversed order."""
        self._batches += 1
        if self._batches < self._due or n < _LEAST:
            return np.empty(0, dtype=np.int64)
        self._due = 2 * self._batches
        count = room(n, _SHARE)
        return np.linspace(0, n - 1, count + 2).astype(np.int64)[1:-1][::-1].copy()

    def judge(self, first: Floats, again: Floats, batch: Floats, ask: Callable[[], Floats]) -> None:
        """Compare the answers for the same rows at two places of one batch.

        Args:
            first: (c, k) answers at the first place.
            again: (c, k) answers at the second place.
            batch: (n, k) answers of the whole batch.
            ask: sends the control rows alone, and returns their answers.

        Raises:
            OutputOrderError: asked twice alone the rows get the same answers, but in the batch others: order or neighbours matter.
        """
        difference = first - again
        if not np.isfinite(difference).all():
            return
        self._squares.append(float(np.mean(difference**2)))
        spread = np.nanmax(batch, axis=0) - np.nanmin(batch, axis=0)
        allowed = _TOLERANCE * spread + self._rounding * np.nanmax(np.abs(batch), axis=0)
        if bool((np.abs(difference) <= allowed).all()) and len(self._squares) > 1:
            return
        alone = ask()  # the first time in any case: neighbours may move all answers of a batch alike
        if bool((np.abs(difference) <= allowed).all()) and bool((np.abs(alone - first) <= allowed).all()):
            return
        once_more = ask()
        same = np.abs(alone - once_more) <= allowed, np.abs(np.sort(alone, axis=0) - np.sort(once_more, axis=0)) <= allowed
        if any(bool(equal.all()) for equal in same):  # the same answers, if perhaps in another order: noise would make new ones
            apart = max(np.abs(difference).max(), np.abs(alone - first).max())
            raise OutputOrderError(
                f"{self._model}: {len(first)} control rows got other answers at another place or among other rows (up to {apart:.3g} "
                "apart), while asked alone they get the same answers again; the model must return outputs in the order of its rows, each "
                "independent of the others (a sorted result? batch statistics? a shared buffer?)"
            )
        self._squares[-1] = max(self._squares[-1], float(np.mean((alone - first) ** 2)))
        if not self._warned:
            self._warned = True
            tell(
                f"{self._model} is not deterministic: answers repeat to {self.repeat_sd:.3g}; "
                "equal seeds do not give equal values; standard errors of sampled values include this noise, those of exact ones do not",
                NoisyModelWarning,
            )
