"""How many rows to send at once: what costs least a row, within memory."""

from __future__ import annotations

import numpy as np

from whybox.engine._clock import Spent
from whybox.engine._controls import room
from whybox.engine._search import SizeSearch
from whybox.errors import OptionError
from whybox.typing import BatchSize

_START, _START_BYTES = (
    64,
    4 << 20,
)  # few rows, and fewer where they are large: a batch that outgrows the caches may cost twice as much a row
_STEP, _STEP_AGAIN = 4, 2
_MOST_ROWS = 1 << 17
_MOST_BYTES = 12 << 20
_BUSY_BYTES = 96 << 20  # a remote model: many requests, and so many rows, have to be at hand for few to be in flight
_DEVICE_ROWS, _DEVICE_BYTES = 1 << 21, 1 << 30  # of an accelerator, which is fast only when it has much to do
_FUTILE = 8  # batches in a row that told nothing, as what was asked is smaller than the size that is tried: then the search ends
_AGAIN = 64  # batches of the size that was found, until it is sought once more from there; then ten times as many, and so on


def is_count(value: object) -> bool:
    """Whether a value is a positive integer (and no bool)."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= 1


class BatchSizer:
    """Finds the batch size that costs least a row, see :class:`SizeSearch`, and halves when memory runs out.

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
        self._most_bytes = _BUSY_BYTES if remote else _MOST_BYTES
        self._seeks = self.auto and batch_rows is None
        self._search = SizeSearch(self.size, _STEP) if self._seeks else None
        self._waits = False  # on an accelerator
        self._memory = False  # whether it once ran out
        self._batches, self._again = 0, _AGAIN
        self.capped = False
        self._futile = 0
        self._ahead = 0

    @property
    def settled(self) -> bool:
        """Whether the size is no longer sought."""
        return self._search is None

    def cap_bytes(self, row_nbytes: int, accelerator: bool = False) -> None:
        """Keep a batch within the byte budget of the host or of an accelerator (automatic sizes only)."""
        self.capped = True
        if not self.auto:
            return
        if accelerator:
            self.limit = min(_DEVICE_ROWS, self._max_batch or _DEVICE_ROWS)
        self.limit = max(1, min(self.limit, (_DEVICE_BYTES if accelerator else self._most_bytes) // row_nbytes))
        self.size = min(self.size, self.limit)
        if self._search is not None:
            few = self.size if accelerator else max(_START_BYTES // row_nbytes, 1)
            self.size = min(self.size, 1 << few.bit_length() - 1)
            self._waits = accelerator
            self._search = SizeSearch(self.size, _STEP, waits=accelerator)

    def ran_out_of_memory(self, rows: int) -> bool:
        """Halve after a batch of this many rows failed; False if it cannot be halved."""
        if rows <= 1:
            return False
        self.limit = max(rows // 2, 1)
        self.size = min(self.size, self.limit)
        self._memory, self._search = True, None
        return True

    def took(self, rows: int, spent: Spent, amount: float | None = None) -> None:
        """Learn from a finished batch.

        Args:
            rows: its rows.
            spent: on composing it and on the model's answer.
            amount: its bytes, where rows differ; None (default) counts rows.
        """
        if self._search is None:
            self._look_again()
            self._futile = 0
        elif 2 * rows <= self.size:  # a last, short batch tells nothing
            self._futile += 1
            self._search = None if self._futile >= _FUTILE else self._search
        else:
            self._futile = 0
            found = self._search.took(amount or rows, spent, self.limit, self._ahead)
            self.size = self._search.size
            self._search = None if found else self._search

    def _look_again(self) -> None:
        """A search may have been short, and rows or other work may have changed since: long jobs go on looking from where they are."""
        self._batches += 1
        if self._seeks and not self._memory and self._batches >= self._again:
            self._batches, self._again = 0, 10 * self._again
            self._search = SizeSearch(self.size, _STEP_AGAIN, waits=self._waits)

    def next(self, position: int, left: int, run: int, group: int, share: int = 0, ahead: int = 0) -> int:
        """Rows of the next batch.

        Args:
            position: rows before the batch: it ends with an instance where it can, because whole instances compose fastest.
            left: rows still to be sent.
            run: rows of one instance.
            group: rows of one code.
            share: leave room for one control row in so many rows; 0 leaves none.
            ahead: rows of the whole job that are still to be sent, where that is more than ``left``.
        """
        self._ahead = max(left, ahead)
        size = min(self.size, self.limit)
        size -= room(size, share) if share else 0
        behind = position % run
        if behind and size >= run - behind:
            size = run - behind
        elif size >= run:
            size -= size % run
        elif size >= group:
            parts = -(-run // (size - size % group))
            size = min(size, -(-(run // group) // parts) * group)
        return min(size, left)
