"""How clearly texts tell the values of concepts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from whybox.concepts._pool import CandidatePool
from whybox.concepts.passage_reader import PassageReader
from whybox.typing import Floats


@dataclass(frozen=True)
class Profiles:
    """Of each text and concept the probabilities of its clearest passages, one a value.

    Args:
        pool: the candidates.
        reader: reads passages.
    """

    pool: CandidatePool
    reader: PassageReader = field(repr=False)

    @cached_property
    def _memory(self) -> list[tuple[tuple[str, ...], Mapping[str, Floats]]]:
        return []

    @cached_property
    def _of_pool(self) -> Mapping[str, Floats]:
        return self.reader.clearest(self.pool.texts)

    def of_pool(self, without: Collection[str]) -> Floats:
        """(m, d) of the candidates, by all concepts but some."""
        return self._joined(self._of_pool, without, len(self.pool))

    def of(self, texts: tuple[str, ...], without: Collection[str]) -> Floats:
        """(n, d) of texts; those of the last call are kept, as one explanation asks for the same texts once an intervention."""
        if not (self._memory and self._memory[0][0] == texts):
            self._memory[:] = [(texts, self.reader.clearest(texts))]
        return self._joined(self._memory[0][1], without, len(texts))

    def _joined(self, each: Mapping[str, Floats], without: Collection[str], n: int) -> Floats:
        wanted = [each[c.name] for c in self.pool.concepts if c.name in each and c.name not in without]
        return np.concatenate([np.zeros((n, 0)), *wanted], axis=1)
