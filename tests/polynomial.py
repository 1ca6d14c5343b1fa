"""Games whose Shapley values are known: sums of products of features that are present."""

from __future__ import annotations

import numpy as np

from whybox.typing import Bools, Floats


class Polynomial:
    """r games that are sums of products of features present, whose Shapley values are each product's weight in equal shares."""

    def __init__(self, d: int, r: int, seed: int, orders: tuple[int, ...] = (1, 2, 3, 4), terms: int = 30) -> None:
        rng = np.random.default_rng(seed)
        self.terms = [rng.choice(d, size=min(int(rng.choice(orders)), d), replace=False) for _ in range(terms)]
        self.weights = rng.normal(size=(r, terms))
        self.offset = rng.normal(size=r)
        self.d = d

    def __call__(self, codes: Bools) -> Floats:
        products = np.array([codes[:, t].all(axis=1) for t in self.terms], dtype=float)
        out: Floats = self.weights @ products + self.offset[:, None]
        return out

    def ends(self) -> tuple[Floats, Floats]:
        both = self(np.array([np.zeros(self.d, dtype=bool), np.ones(self.d, dtype=bool)]))
        return both[:, 0].copy(), both[:, 1].copy()

    def truth(self) -> Floats:
        share = np.zeros((len(self.terms), self.d))
        for row, t in zip(share, self.terms, strict=True):
            row[t] = 1.0 / len(t)
        out: Floats = self.weights @ share
        return out
