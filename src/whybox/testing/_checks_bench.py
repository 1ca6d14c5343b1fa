"""What every contract check works with: the explainer under test, data, and small models whose bits do not depend on the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from math import factorial
from typing import Any, Literal, Protocol

import numpy as np

from whybox._arrays import namespace, to_numpy
from whybox._random import generator
from whybox.engine import Engine
from whybox.spaces import Words
from whybox.testing._texts import OnTexts, reading
from whybox.testing.models import Predict
from whybox.typing import Array, Bools, Floats, Rows

D = 8  # features of most games: all 2**8 coalitions are cheap, and a small budget covers only a part of them
ARRAYS = ("values", "base_values", "predictions", "std_error", "score", "intercept", "local_pred", "target_index", "precision", "coverage")


class Factory(Protocol):
    """Makes the explainer under test."""

    def __call__(self, model: Any, background: Any, engine: Engine, /) -> Any:
        """An explainer of this model over this background (of texts: over this space), which calls the model through this engine."""


class Reference(Protocol):
    """Computes what an explainer estimates."""

    def __call__(self, predict: Predict, x: Floats, background: Floats, /) -> Floats:
        """(n, d) or (n, d, k) exact values."""


class BrokenContractError(AssertionError):
    """A contract is broken; raised by a check, and gathered by :func:`whybox.testing.check_explainer`."""


class NotCheckedError(Exception):
    """A check cannot run here; the message says why."""


def expect(kept: bool, expected: str, came: object, do: str) -> None:
    """Complain unless a contract is kept.

    Raises:
        BrokenContractError: it is not.
    """
    if not kept:
        raise BrokenContractError(f"expected {expected}; came {came}; {do}")


def shapley_values(predict: Predict, x: Floats, background: Floats) -> Floats:
    """Shapley values of the marginal game by their definition (Shapley 1953): all 2**d coalitions, row by row.

    Slow and plain on purpose: what is tested must not share code with it.

    Args:
        predict: rows in, (n,) or (n, k) outputs.
        x: (n, d) rows, d at most about 10.
        background: (b, d).

    Returns:
        (n, d) or (n, d, k).

    Example:
        >>> shapley_values(lambda rows: rows[:, 0] * rows[:, 1], np.array([[2.0, 3.0]]), np.zeros((1, 2)))
        array([[3., 3.]])
    """
    d = x.shape[1]
    result = []
    for row in x:
        worth = {}
        for size in range(d + 1):
            for kept in combinations(range(d), size):
                rows = background.copy()
                rows[:, list(kept)] = row[list(kept)]
                worth[kept] = np.asarray(predict(rows), dtype=np.float64).mean(axis=0)
        values = np.zeros((d, *np.shape(worth[()])))
        for kept, before in worth.items():
            weight = factorial(len(kept)) * factorial(d - len(kept) - 1) / factorial(d) if len(kept) < d else 0.0
            for j in set(range(d)) - set(kept):
                values[j] += weight * (worth[tuple(sorted((*kept, j)))] - before)
        result.append(values)
    return np.stack(result)


def occlusion_values(predict: Predict, x: Floats, background: Floats) -> Floats:
    """What one feature's absence takes away, by definition: ``f(x) - mean_b f(x with feature j of b)``.

    Args:
        predict: rows in, (n,) or (n, k) outputs.
        x: (n, d).
        background: (b, d).

    Returns:
        (n, d) or (n, d, k).
    """
    result = []
    for row in x:
        effects = []
        for j in range(x.shape[1]):
            rows = np.repeat(row[None], len(background), axis=0)
            rows[:, j] = background[:, j]
            effects.append(np.asarray(predict(row[None]))[0] - np.asarray(predict(rows)).mean(axis=0))
        result.append(np.stack(effects))
    return np.stack(result)


@dataclass(frozen=True)
class Traits:
    """How the checks are to use an explainer.

    Args:
        few: a budget that gives estimates on games of 8 features: far fewer than 256 coalitions. None: the explainer takes no budget.
        enough: a budget that gives exact answers on games of 8 features; None (default): the default budget does.
        wide: features of the linear model that has to be explained exactly at the default budget.
        reference: what the explainer estimates, by definition; Shapley values of the marginal game by default.
        tolerance: how far exact answers may be from the reference, as a share of the largest value.
        rows: what is explained: a "table" (default), or "texts" of one word a feature. The factory's second argument is then
            ``whybox.spaces.Words()`` instead of a background, and one row of reference values stands in for words that are gone.
    """

    few: int | None = 64
    enough: int | None = None
    wide: int = 20
    reference: Reference = shapley_values
    tolerance: float = 1e-9
    rows: Literal["table", "texts"] = "table"


@dataclass(frozen=True)
class Bench:
    """The explainer under test, and the data of the checks. Every call gives fresh arrays, so that no check can spoil another.

    Args:
        factory: makes the explainer.
        traits: how to use it.
    """

    factory: Factory
    traits: Traits = field(default_factory=Traits)

    def x(self, n: int = 5, d: int = D) -> Floats:
        """(n, d) rows."""
        return generator(0, "contract", "x", d).normal(size=(64, d))[:n].copy()

    def background(self, b: int = 5, d: int = D) -> Floats:
        """(b, d) reference rows, one where texts are explained; six or fewer, so that a check of silent subsampling has to ask for more."""
        return generator(0, "contract", "background", d).normal(size=(64, d))[: 1 if self.texts else b].copy()

    @property
    def texts(self) -> bool:
        """Whether texts are explained."""
        return self.traits.rows == "texts"

    def only_tables(self, why: str) -> None:
        """Skip a check that says nothing about texts.

        Raises:
            NotCheckedError: texts are explained.
        """
        if self.texts:
            raise NotCheckedError(f"texts are explained: {why}")

    def make(self, model: Any, background: Any = None, **engine: Any) -> Any:
        """The explainer, with batches of a fixed size, so that a repeated call is the same call."""
        reference = self.background() if background is None else background
        options = Engine(**{"batch_size": 512, **engine})
        if self.texts:
            return OnTexts(self.factory(reading(model, reference[0]), Words(), options))
        return self.factory(model, reference, options)

    def few(self) -> dict[str, Any]:
        """Options of ``explain`` for an estimate of every output."""
        return {"target": None} | ({} if self.traits.few is None else {"budget": self.traits.few})

    def enough(self) -> dict[str, Any]:
        """Options of ``explain`` for exact answers for every output."""
        return {"target": None} | ({} if self.traits.enough is None else {"budget": self.traits.enough})


def game(rows: Array) -> Array:
    """Main effects, products of two to four features and steps, all with other weights: no feature is idle, and no two are alike."""
    c = [rows[:, j] for j in range(D)]
    step = namespace(rows).where
    smooth = 0.7 * c[0] - 0.4 * c[1] * c[2] + 0.9 * c[3] * c[4] * c[5] + 0.5 * c[6] * c[7] * c[0] + 0.3 * c[5] * c[6] + 0.25 * c[7] * c[7]
    steps = step(c[1] > 0.2, c[3], -0.5 * c[6]) + step(c[2] + c[4] > 0.0, 0.8 + 0.6 * c[7], 0.35 * c[0] * c[5])
    return smooth + steps + 0.2 * c[1] * c[3] * c[6] * c[2]


def other_game(rows: Array) -> Array:
    """Another function of the same features."""
    c = [rows[:, j] for j in range(D)]
    step = namespace(rows).where
    return 0.5 * c[0] * c[0] * c[1] - c[2] + 0.8 * c[3] * c[6] + step(c[4] > c[5], 1.0 + c[7], c[1] * c[3])


def two_games(rows: Array) -> Array:
    """Two outputs, (n, 2)."""
    return namespace(rows).stack([game(rows), other_game(rows)], axis=1)


def symmetric_game(rows: Array) -> Array:
    """Features 0 to 3 are interchangeable; 4 to 7 are not."""
    c = [rows[:, j] for j in range(D)]
    together = (c[0] + c[1]) + (c[2] + c[3])
    return together * together * c[4] + together * c[5] - c[6] * c[7]


def dummy_game(rows: Array) -> Array:
    """Features 2 and 6 play no part."""
    c = [rows[:, j] for j in range(D)]
    return c[0] * c[1] * c[3] + namespace(rows).where(c[4] > 0.0, c[5], c[7] * c[0])


@dataclass(frozen=True)
class Linear:
    """A weighted sum of all features, and an intercept.

    Args:
        d: number of features.
    """

    d: int

    @property
    def weights(self) -> tuple[float, ...]:
        """(d,) weights of both signs, no two alike."""
        return tuple((-1) ** j * (1.0 + 0.3 * j) for j in range(self.d))

    def __call__(self, rows: Array) -> Any:
        """The sum, term by term: a product with a vector would round by the batch."""
        total = rows[:, 0] * self.weights[0] + 3.0
        for j in range(1, self.d):
            total = total + rows[:, j] * self.weights[j]
        return total


@dataclass(frozen=True)
class Scaled:
    """A weighted sum of models: ``a f + b g``."""

    f: Predict
    g: Predict
    a: float
    b: float

    def __call__(self, rows: Rows) -> Any:
        """The sum."""
        return self.a * self.f(rows) + self.b * self.g(rows)


def arrays(e: Any) -> Mapping[str, Floats]:
    """The numbers of an explanation, by name."""
    return {name: np.asarray(getattr(e, name)) for name in ARRAYS if getattr(e, name, None) is not None}


def difference(a: Any, b: Any, tolerance: float = 0.0, scale: float | None = None) -> str:
    """Where two explanations differ, or "" if they do not.

    Args:
        a: an explanation.
        b: an explanation.
        tolerance: 0 (default) compares bits; otherwise a share of the largest value.
        scale: the largest value, if it is not to be taken from ``b``.
    """
    ours, theirs = arrays(a), arrays(b)
    if set(ours) != set(theirs):
        return f"the fields {sorted(set(ours) ^ set(theirs))} are in one explanation only"
    for name, mine in ours.items():
        other = theirs[name]
        if mine.shape != other.shape:
            return f"{name} of shape {mine.shape} and {other.shape}"
        if tolerance == 0.0:
            same: Bools = (mine == other) | ((mine != mine) & (other != other))
        else:
            size = scale if scale is not None else float(np.abs(theirs.get("values", other)).max(initial=0.0))
            same = np.abs(mine - other) <= tolerance * max(size, 1e-300)
        if not same.all():
            at = tuple(int(i) for i in np.argwhere(~same)[0])
            return f"{name}{list(at)} = {mine[at]!r} and {other[at]!r} (largest difference {np.nanmax(np.abs(mine - other)):.3g})"
    return ""


def part(e: Any, index: list[int]) -> Any:
    """The explanation of some rows, as plain arrays: slicing is a feature of the explanation, and tested with it."""
    return _Part({name: array[index] for name, array in arrays(e).items()})


class _Part:
    def __init__(self, numbers: Mapping[str, Floats]) -> None:
        self.__dict__.update(numbers)


def host(rows: Array) -> Floats:
    """Rows of any library as a NumPy array."""
    return np.asarray(to_numpy(rows))
