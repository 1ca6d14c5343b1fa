"""The games of the accuracy benchmark: a model, rows and a background as a vectorised game with its exact Shapley values.

A game maps coalitions (m, d) to v (rows, m), the mean of the model over the background with the coalition's features taken from the row. It
is computed once a row and coalition, outside of all timings, so that every estimator reads the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Game:
    """Rows of a model to be explained.

    Args:
        name: for the table.
        x: (rows, d) rows.
        background: (b, d) background.
        predict: (n, d) to (n,).
        truth: (rows, d) exact Shapley values.
    """

    name: str
    x: Floats
    background: Floats
    predict: Callable[[Floats], Floats]
    truth: Floats

    def values(self, codes: Bools, rows: slice = slice(None)) -> Floats:
        """v (rows, m) of coalitions (m, d)."""
        return marginal_game(self.predict, self.x[rows], self.background, codes)

    def ends(self) -> tuple[Floats, Floats]:
        """v of the empty and of the full coalition, (rows,) each."""
        empty = float(self.predict(self.background).mean())
        return np.full(len(self.x), empty), self.predict(self.x)


def marginal_game(predict: Callable[[Floats], Floats], x: Floats, background: Floats, codes: Bools, chunk: int = 60_000) -> Floats:
    """v (rows, m): the mean over the background."""
    b, d = background.shape
    step = max(chunk // b, 1)
    out = np.empty((len(x), len(codes)))
    for i, row in enumerate(x):
        for start in range(0, len(codes), step):
            z = codes[start : start + step]
            rows = np.where(z[:, None, :], row, background[None]).reshape(-1, d)
            out[i, start : start + step] = predict(rows).reshape(len(z), b).mean(axis=1)
    return out


def brute_force(predict: Callable[[Floats], Floats], x: Floats, background: Floats) -> Floats:
    """Shapley values (rows, d) by their definition, from all 2^d coalitions."""
    d = x.shape[1]
    codes = (np.arange(2**d)[:, None] >> np.arange(d) & 1).astype(bool)
    v = marginal_game(predict, x, background, codes)
    s = codes.sum(axis=1)
    present = np.array([1.0 / (d * comb(d - 1, k - 1)) if k else 0.0 for k in range(d + 1)])
    absent = np.array([1.0 / (d * comb(d - 1, k)) if k < d else 0.0 for k in range(d + 1)])
    values: Floats = v @ np.where(codes, present[s][:, None], -absent[s][:, None])
    return values


def breast_cancer(rows: int, seed: int) -> Game:
    """GradientBoostingClassifier on breast_cancer, margin, d = 30. Truth: interventional TreeSHAP."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier

    x, y = load_breast_cancer(return_X_y=True)
    train, test, background = split(len(x), rows, seed)
    model = GradientBoostingClassifier(random_state=0).fit(x[train], y[train])
    return _tree_game("GBDT breast_cancer d=30", model, model.decision_function, x[test], x[background])


def housing_like(rows: int, seed: int) -> Game:
    """GradientBoostingRegressor on 8 correlated features with products, ratios and thresholds, d = 8. Truth: brute force."""
    from sklearn.ensemble import GradientBoostingRegressor

    rng = np.random.default_rng(8)
    x = rng.normal(size=(2000, 8))
    x[:, 5:] += 0.6 * x[:, :3]
    y = 2 * x[:, 0] + x[:, 1] * x[:, 2] + 1.5 * (x[:, 3] > 0.3) * x[:, 4] * np.tanh(x[:, 5]) + np.maximum(x[:, 6], x[:, 7]) * (x[:, 0] > 0)
    y += 0.1 * rng.normal(size=2000)
    train, test, background = split(len(x), rows, seed)
    model = GradientBoostingRegressor(n_estimators=200, max_depth=4, random_state=0).fit(x[train], y[train])
    return _brute("GBDT d=8", model.predict, x[test], x[background])


def mlp(rows: int, seed: int) -> Game:
    """Two-layer MLP, d = 16. Truth: brute force over 2^16 coalitions, background 20."""
    from sklearn.neural_network import MLPRegressor

    rng = np.random.default_rng(16)
    x = rng.normal(size=(3000, 16))
    y = (
        np.sin(2 * x[:, 0])
        + x[:, 1] * x[:, 2]
        + x[:, 3] * x[:, 4] * x[:, 5]
        + np.maximum(x[:, 6], x[:, 7])
        + 0.5 * x[:, 8] ** 2 * x[:, 9]
        + x[:, 10]
    )
    train, test, background = split(len(x), rows, seed, b=20)
    net = MLPRegressor(hidden_layer_sizes=(32, 32), random_state=0, max_iter=200, early_stopping=True).fit(x[train], y[train])
    (w0, w1, w2), (b0, b1, b2) = net.coefs_, net.intercepts_

    def predict(a: Floats) -> Floats:
        out: Floats = (np.maximum(np.maximum(a @ w0 + b0, 0.0) @ w1 + b1, 0.0) @ w2 + b2)[:, 0]
        return out

    return _brute("MLP d=16", predict, x[test], x[background])


def synthetic(rows: int, seed: int) -> Game:
    """Products of one to five threshold features at weights that fall with the order, d = 60. Truth: closed form."""
    rng = np.random.default_rng(60)
    d, terms = 60, 120
    members = np.zeros((terms, d), dtype=bool)
    for row, k in zip(members, rng.choice([1, 2, 3, 4, 5], size=terms, p=[0.35, 0.25, 0.2, 0.12, 0.08]), strict=True):
        row[np.minimum(rng.geometric(0.06, size=40) - 1, d - 1)[: 4 * k]] = True
        row[np.flatnonzero(row)[k:]] = False
    weight = rng.normal(size=terms)
    x = rng.normal(size=(1000, d))
    _, test, background = split(len(x), rows, seed)

    def predict(a: Floats) -> Floats:
        h = np.tanh(a) + 0.5
        out = np.zeros(len(a))
        for row, w in zip(members, weight, strict=True):
            out += w * h[:, row].prod(axis=1)
        return out

    xs, bs = x[test], x[background]
    truth = np.zeros((len(xs), d))
    for row, w in zip(members, weight, strict=True):
        truth[:, row] += w * _product_shapley(np.tanh(xs[:, row]) + 0.5, np.tanh(bs[:, row]) + 0.5)
    return Game("synthetic d=60", xs, bs, predict, truth)


def _product_shapley(x: Floats, b: Floats) -> Floats:
    """Shapley values (rows, k) of prod_i h_i, averaged over the background, by all 2^k coalitions of its k features."""
    k = x.shape[1]
    codes = (np.arange(2**k)[:, None] >> np.arange(k) & 1).astype(bool)
    v = np.where(codes[None, :, None, :], x[:, None, None, :], b[None, None]).prod(axis=3).mean(axis=2)
    s = codes.sum(axis=1)
    present = np.array([1.0 / (k * comb(k - 1, j - 1)) if j else 0.0 for j in range(k + 1)])
    absent = np.array([1.0 / (k * comb(k - 1, j)) if j < k else 0.0 for j in range(k + 1)])
    out: Floats = v @ np.where(codes, present[s][:, None], -absent[s][:, None])
    return out


def split(n: int, rows: int, seed: int, b: int = 100) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Training rows (always the same model), explained rows and background rows (of this seed)."""
    order = np.random.default_rng(0).permutation(n)
    train, held = order[: int(0.7 * n)], order[int(0.7 * n) :]
    rng = np.random.default_rng([1, seed])
    return train, rng.permutation(held)[:rows], rng.permutation(train)[:b]


def _brute(name: str, predict: Callable[[Floats], Floats], x: Floats, background: Floats) -> Game:
    return Game(name, x, background, predict, brute_force(predict, x, background))


def _tree_game(name: str, model: object, predict: Callable[[Floats], Floats], x: Floats, background: Floats) -> Game:
    import shap

    truth = np.asarray(shap.TreeExplainer(model, background).shap_values(x), dtype=np.float64)
    return Game(name, x, background, predict, truth)


GAMES: dict[str, Callable[[int, int], Game]] = {
    "breast_cancer": breast_cancer,
    "gbdt8": housing_like,
    "mlp16": mlp,
    "synthetic60": synthetic,
}
