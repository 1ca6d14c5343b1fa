"""Rows of an ask as blocks: whole instances, whole codes of an instance, and what sticks out at both ends."""

from __future__ import annotations

from collections.abc import Iterator

Block = tuple[slice, slice, slice]


def blocks(start: int, stop: int, m: int, b: int) -> Iterator[Block]:
    """Rows start to stop of an ask as at most five blocks, each (instances, codes, draws).

    Args:
        start: first row.
        stop: one past the last row.
        m: codes of the ask.
        b: draws a code.

    Example:
        >>> list(blocks(1, 6, m=3, b=1))
        [(slice(0, 1, None), slice(1, 3, None), slice(0, 1, None)), (slice(1, 2, None), slice(0, 3, None), slice(0, 1, None))]
    """
    while start < stop:
        code, draw = divmod(start, b)
        instance, code = divmod(code, m)
        if draw or stop - start < b:  # within one code
            size = min(b - draw, stop - start)
            block = slice(instance, instance + 1), slice(code, code + 1), slice(draw, draw + size)
        elif code or stop - start < m * b:  # whole codes of one instance
            count = min(m - code, (stop - start) // b)
            size, block = count * b, (slice(instance, instance + 1), slice(code, code + count), slice(0, b))
        else:  # whole instances
            count = (stop - start) // (m * b)
            size, block = count * m * b, (slice(instance, instance + count), slice(0, m), slice(0, b))
        yield block
        start += size
