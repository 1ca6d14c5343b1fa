"""A job in units: parts of asks whose outputs are held at once, answered, and folded."""

from __future__ import annotations

from collections.abc import Sequence

from whybox.engine._rows import Piece
from whybox.typing import Ask

_BYTES = 6 << 20  # outputs held at once
_DEVICE_BYTES = 32 << 20  # on an accelerator, which waits for the host at the end of each unit, and idles meanwhile


def units_of(asks: Sequence[Ask], draws: int, n_outputs: int, *, device: bool) -> list[list[Piece]]:
    """Asks cut and gathered so that a unit's outputs fit the memory that may be held.

    Args:
        asks: codes for instances.
        draws: model rows of a code.
        n_outputs: outputs of a row.
        device: the outputs stay on an accelerator until they are folded.
    """
    most = max((_DEVICE_BYTES if device else _BYTES) // (8 * n_outputs), 1)
    units: list[list[Piece]] = [[]]
    filled = 0
    for position, ask in enumerate(asks):
        n, m = len(ask.instances), len(ask.codes)
        if n * m == 0:
            continue
        codes = min(m, max(most // draws, 1))
        instances = max(most // (codes * draws), 1) if codes == m else 1
        for j in range(0, m, codes):
            for i in range(0, n, instances):
                part = Ask(ask.instances[i : i + instances], ask.codes[j : j + codes])
                size = len(part.instances) * len(part.codes) * draws
                if filled and filled + size > most:
                    units.append([])
                    filled = 0
                units[-1].append(Piece(position, i, j, part, filled, filled + size))
                filled += size
    return [unit for unit in units if unit]
