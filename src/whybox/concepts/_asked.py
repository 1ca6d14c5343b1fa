"""The explained model as an estimator asks it: every text once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from whybox.engine import Run
from whybox.typing import Floats


@dataclass
class Asked:
    """Texts to outputs (n, k); a text that was asked before costs nothing.

    Args:
        run: the engine at work.
        rows: texts that were asked for, with repetitions.
    """

    run: Run
    rows: int = 0
    _known: dict[str, Floats] = field(default_factory=dict)

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Outputs of the texts."""
        self.rows += len(texts)
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            run = self.run
            self._known.update(zip(new, run.predict(new), strict=True))
        if not len(texts):
            return np.zeros((0, len(next(iter(self._known.values()), ()))))
        return np.stack([self._known[text] for text in texts])
