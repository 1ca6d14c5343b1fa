"""Ranking of candidates: nearest by an encoder's cosine, never the text itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox.concepts._neighbors import Neighbors, checked, exact_neighbors, unit_vectors
from whybox.concepts._pool import CandidatePool
from whybox.typing import Ints


@dataclass(frozen=True)
class Matcher:
    """The nearest candidates of texts.

    Args:
        pool: the candidates.
        encoder: texts to (n, e) vectors.
        neighbors: who searches.
    """

    pool: CandidatePool
    encoder: Callable[[list[str]], Any] = field(repr=False)
    neighbors: Neighbors = field(default=exact_neighbors, repr=False)

    @cached_property
    def _vectors(self) -> NDArray[np.float32]:
        """(m, e) of the pool, computed once."""
        return unit_vectors(self.encoder(list(self.pool.texts)), len(self.pool))

    @cached_property
    def _copies(self) -> Counter[str]:
        return Counter(self.pool.texts)

    @cached_property
    def _memory(self) -> list[tuple[tuple[str, ...], NDArray[np.float32]]]:
        return []

    def _encoded(self, texts: tuple[str, ...]) -> NDArray[np.float32]:
        """(n, e) of texts; those of the last call are kept, as one explanation asks for the same texts once an intervention."""
        for known, vectors in self._memory[-1:]:
            if known == texts:
                return vectors
        vectors = unit_vectors(self.encoder(list(texts)), len(texts))
        self._memory[:] = [(texts, vectors)]
        return vectors

    def nearest(self, texts: tuple[str, ...], rows: Sequence[int], among: Ints, k: int) -> tuple[list[list[int]], list[list[float]], int]:
        """The k nearest of some candidates for some of the texts.

        Args:
            texts: all texts of the call.
            rows: positions of those that are asked for.
            among: increasing positions of the candidates that may answer.
            k: how many; fewer where there are not as many.

        Returns:
            Candidates of each text, the nearest first; their cosines; and how often a candidate was left out because it is the text itself.
        """
        if not rows:
            return [], [], 0
        itself = max(self._copies[texts[i]] for i in rows)
        wanted = min(k + itself, len(among))
        vectors = self._encoded(texts)[list(rows)]
        whole = len(among) == len(self.pool)
        answer = self.neighbors(vectors, self._vectors, wanted, None if whole else among)
        places, cosines = checked(answer, len(rows), wanted, len(self.pool))
        near, close, left_out = [], [], 0
        for i, row, similar in zip(rows, places.tolist(), cosines.tolist(), strict=True):
            kept = [(p, float(s)) for p, s in zip(row, similar, strict=True) if self.pool.texts[p] != texts[i]]
            left_out += len(row) - len(kept)
            near.append([p for p, _ in kept[:k]])
            close.append([s for _, s in kept[:k]])
        return near, close, left_out
