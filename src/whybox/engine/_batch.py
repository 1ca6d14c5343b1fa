"""How many rows to send at once: grows while throughput grows, halves when memory runs out."""

from __future__ import annotations

import numpy as np

from whybox.errors import OptionError
from whybox.typing import BatchSize

_START = 64
_MOST_ROWS = 1 << 17
_MOST_BYTES = 12 << 20
_BUSY_BYTES = 96 << 20  # a remote model: many requests, and so many rows, have to be at hand for few to be in flight
_DEVICE_ROWS, _DEVICE_BYTES = 1 << 21, 1 << 30  # of an accelerator, which is fast only when it has much to do
_LEAST_TRIES, _MOST_TRIES, _LEAST_SECONDS = 2, 6, 2e-3  # a size is judged by its fastest batch of several: timings are noisy
_BETTER = 1.04  # a step must win by 4 % to count: timings are noisy
_AGAIN = 64  # batches of the size that was found, until it is sought once more from there; then ten times as many, and so on


def is_count(value: object) -> bool:
    """Whether a value is a positive integer (and no bool)."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= 1


class BatchSizer:
    """Finds the batch size with the most rows a second by doubling and, where the first doubling does not pay, by halving.

    Args:
        batch_size: a number of rows, or "auto".
        max_batch: the most rows that the model takes, or None.
        batch_rows: what "auto" takes at once, without a search: for a model that cuts its rows itself or must be kept busy; None searches.
        remote: rows wait for requests, and more of them may be held at once.
    """

    def __init__(self, batch_size: BatchSize, max_batch: int | None = None, batch_rows: int | None = None, *, remote: bool = False) -> None:
        if batch_size != "auto" and (not is_count(batch_size)):
            raise OptionError(f'batch_size: expected a positive integer or "auto", got {batch_size!r}')
        self._max_batch = max_batch
        self.limit = min(_MOST_ROWS, max_batch or _MOST_ROWS)
        self.auto = batch_size == "auto"
        start = _START if batch_rows is None else batch_rows
        self.size = min(start if batch_size == "auto" else int(batch_size), self.limit if self.auto else (max_batch or int(batch_size)))
        self._speed: dict[int, float] = {}
        self._tries, self._spent, self._warm = 0, 0.0, False
        self._most_bytes = _BUSY_BYTES if remote else _MOST_BYTES
        self._seeks = self.auto and batch_rows is None
        self._settled = not self._seeks
        self._misses = 0
        self._from = _START
        self._memory = False  # whether it once ran out
        self._batches, self._again = 0, _AGAIN

    @property
    def settled(self) -> bool:
        """Whether the size is no longer sought."""
        return self._settled

    def cap_bytes(self, row_nbytes: int, accelerator: bool = False) -> None:
        """Keep a batch within the byte budget of the host or of an accelerator (automatic sizes only)."""
        if self.auto:
            if accelerator:
                self.limit = min(_DEVICE_ROWS, self._max_batch or _DEVICE_ROWS)
            self.limit = max(1, min(self.limit, (_DEVICE_BYTES if accelerator else self._most_bytes) // row_nbytes))
            self.size = min(self.size, self.limit)

    def ran_out_of_memory(self, rows: int) -> bool:
        """Halve after a batch of this many rows failed; False if it cannot be halved."""
        if rows <= 1:
            return False
        self.limit = max(rows // 2, 1)
        self.size = min(self.size, self.limit)
        self._settled = self._memory = True
        return True

    def took(self, rows: int, seconds: float) -> None:
        """Learn from a finished batch: the seconds of composing it and of the model's answer."""
        if self._settled:
            self._look_again()
            return
        if 2 * rows <= self.size:  # a last, short batch tells nothing
            return
        size = self.size
        if not self._warm:
            self._warm = True  # the first batch warms caches up: not counted
            return
        self._spent += seconds
        self._tries += 1
        self._speed[size] = max(self._speed.get(size, 0.0), rows / max(seconds, 1e-9))
        if self._tries < _LEAST_TRIES or (self._spent < _LEAST_SECONDS and self._tries < _MOST_TRIES):
            return
        self._spent, self._tries = 0.0, 0
        best = max(self._speed, key=self._speed.__getitem__)
        if size >= self._from:
            self._misses = 0 if size in (best, self._from) else self._misses + 1
            if self._misses < 2 and size * 2 <= self.limit:
                self.size = size * 2
            elif best > self._from or self._from == 1:
                self._settle()
            else:
                self.size, self._misses = self._from // 2, 0
        elif size == best and size > 1 and self._speed[size] > _BETTER * self._speed.get(size * 2, 0.0):
            self.size = size // 2
        else:
            self._settle()

    def _look_again(self) -> None:
        """Something else may have kept the machine busy while the size was sought: long jobs seek it again, from where they are."""
        self._batches += 1
        if self._seeks and not self._memory and self._batches >= self._again:
            self._batches, self._again = 0, 10 * self._again
            self._from, self._speed, self._misses, self._settled = self.size, {}, 0, False

    def _settle(self) -> None:
        fastest = max(self._speed.values())
        self.size = min(size for size, speed in self._speed.items() if speed * _BETTER >= fastest)
        self._settled = True

    def next(self, position: int, left: int, run: int, group: int, share: int = 0) -> int:
        """Rows of the next batch.

        Args:
            position: rows before the batch: it ends with an instance where it can, because whole instances compose fastest.
            left: rows still to be sent.
            run: rows of one instance.
            group: rows of one code.
            share: leave room for one control row in so many rows; 0 leaves none.
        """
        size = min(self.size, self.limit)
        size -= size // share if share else 0
        behind = position % run
        if behind and size >= run - behind:
            size = run - behind
        elif size >= run:
            size -= size % run
        elif size >= group:
            parts = -(-run // (size - size % group))
            size = min(size, -(-(run // group) // parts) * group)
        return min(size, left)
