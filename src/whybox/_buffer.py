"""One piece of memory that is written again and again, as long as nobody else looks at it."""

from __future__ import annotations

import sys
import threading
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import concat_rows, is_numpy
from whybox.typing import Rows

_MOST = 16 << 20  # bytes that are kept
_ROOM = 64  # of so many bytes that are asked for, one more stands behind them, for rows that are appended
_pieces: WeakValueDictionary[int, NDArray[np.uint8]] = WeakValueDictionary()


class Buffer:
    """Hands out memory, and takes it back once the last array that looks at it is gone.

    Fresh memory costs its first touch, which for rows that are composed is as much as composing them. Whoever keeps an array (a model that
    remembers its rows, a device that still copies them) keeps the memory: then there is other memory for the next one. Where an
    interpreter does not count references, all memory is fresh.

    Example:
        >>> buffer = Buffer()
        >>> kept = buffer.bytes(8)
        >>> other = buffer.bytes(8)
        >>> kept.base is other.base
        False
        >>> memory = id(other.base)
        >>> del other
        >>> id(buffer.bytes(4).base) == memory
        True
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._memory: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
        self._alone = self._holders()

    def bytes(self, n: int) -> NDArray[np.uint8]:
        """(n,) uint8, with whatever stood there before."""
        if n > _MOST or self._alone == 0:
            return np.empty(n, dtype=np.uint8)
        with self._lock:  # what is handed out is seen to be before the next thread looks
            if self._memory.size < n or self._holders() != self._alone:
                self._memory = np.empty(n + n // _ROOM, dtype=np.uint8)
                _pieces[id(self._memory)] = self._memory
            return self._memory[:n]

    def __reduce__(self) -> tuple[type[Buffer], tuple[()]]:
        return Buffer, ()  # a copy, or a buffer in another process, has memory of its own

    def _holders(self) -> int:
        """References to the memory, as seen from here; each array that looks at it is one more."""
        count: Any = getattr(sys, "getrefcount", None)
        return 0 if count is None else int(count(self._memory))


def append(rows: Rows, more: Rows) -> Rows:
    """One container of rows behind another one of its kind: in the same memory where a :class:`Buffer` has room, else in fresh memory.

    Example:
        >>> rows = Buffer().bytes(6400).view(np.float64).reshape(400, 2)
        >>> rows[:] = 1.0
        >>> both = append(rows, np.zeros((1, 2)))
        >>> both.shape, both.sum(), np.shares_memory(rows, both)
        ((401, 2), np.float64(800.0), True)
    """
    memory = _pieces.get(id(rows.base)) if is_numpy(rows) and is_numpy(more) else None
    if memory is None or memory is not rows.base or rows.dtype != more.dtype or not rows.flags.c_contiguous:
        return concat_rows([rows, more])
    nbytes = rows.nbytes + more.nbytes
    if rows.ctypes.data != memory.ctypes.data or nbytes > memory.size:
        return concat_rows([rows, more])
    both = memory[:nbytes].view(rows.dtype).reshape(-1, *rows.shape[1:])
    both[len(rows) :] = more  # whoever has the front of a piece has all of it: it is handed out once
    return both
