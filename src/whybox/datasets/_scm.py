"""Structural causal models: noise is drawn once, values follow from it, and a counterfactual keeps the noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from whybox.errors import InputError, OptionError
from whybox.typing import Floats, Ints

Mechanism = Callable[[Mapping[str, Floats], Floats], Floats]


@dataclass(frozen=True)
class Variable:
    """One variable of a structural model.

    Args:
        name: its name.
        values: names of its values; value i has the code i.
        parents: the variables that its mechanism reads.
        mechanism: (codes of the parents, own noise (n,)) to real numbers (n,), which are rounded and clipped to the codes.
        noise: (mean, standard deviation) of its Gaussian noise; for a root, the probabilities of its values.
        description: what it means, for prompts.

    Example:
        >>> Variable("rain", ("no", "yes"), noise=(0.7, 0.3)).solve({}, np.array([0.1, 0.9])).tolist()
        [0, 1]
    """

    name: str
    values: tuple[str, ...]
    parents: tuple[str, ...] = ()
    mechanism: Mechanism | None = None
    noise: tuple[float, ...] = field(default=())
    description: str = ""

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """(n,) noise: uniform for a root, Gaussian otherwise."""
        return rng.random(n) if self.mechanism is None else rng.normal(self.noise[0], self.noise[1], n)

    def solve(self, codes: Mapping[str, Ints], noise: Floats) -> Ints:
        """(n,) codes, given those of the parents."""
        if self.mechanism is None:
            edges = np.cumsum(np.asarray(self.noise) / sum(self.noise))[:-1]
            return np.searchsorted(edges, noise, side="right").astype(np.int64)
        real = self.mechanism({name: codes[name].astype(np.float64) for name in self.parents}, noise)
        return np.clip(np.rint(real), 0, len(self.values) - 1).astype(np.int64)


@dataclass(frozen=True)
class StructuralModel:
    """Variables in causal order, parents first.

    Args:
        variables: every variable, the outcome among them.
        outcome: the variable that texts do not tell and models predict.

    Raises:
        InputError: a variable stands before one of its parents, or the outcome is not there.

    Example:
        >>> rain = Variable("rain", ("no", "yes"), noise=(0.7, 0.3))
        >>> wet = Variable("wet", ("no", "yes"), ("rain",), lambda p, e: p["rain"] + e, (0.0, 0.1))
        >>> StructuralModel((rain, wet), "wet").edges
        (('rain', 'wet'),)
    """

    variables: tuple[Variable, ...]
    outcome: str

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for variable in self.variables:
            if not seen.issuperset(variable.parents):
                raise InputError(f"structural model: {variable.name!r} stands before one of its parents {variable.parents}")
            seen.add(variable.name)
        if self.outcome not in seen:
            raise InputError(f"structural model: the outcome {self.outcome!r} is not a variable; expected one of {sorted(seen)}")

    def __getitem__(self, name: str) -> Variable:
        for variable in self.variables:
            if variable.name == name:
                return variable
        raise OptionError(f"variable: expected one of {[v.name for v in self.variables]}, got {name!r}")

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """(cause, effect) of every direct influence."""
        return tuple((parent, variable.name) for variable in self.variables for parent in variable.parents)

    def draw(self, rng: np.random.Generator, n: int) -> dict[str, Floats]:
        """Noise of n rows."""
        return {variable.name: variable.draw(rng, n) for variable in self.variables}

    def solve(self, noise: Mapping[str, Floats], do: Mapping[str, Ints] | None = None) -> dict[str, Ints]:
        """Codes of every variable; those in ``do`` are set, and everything after them follows.

        Args:
            noise: (n,) a variable.
            do: (n,) codes of the variables that are set.
        """
        codes: dict[str, Ints] = {}
        for variable in self.variables:
            given = None if do is None else do.get(variable.name)
            codes[variable.name] = variable.solve(codes, noise[variable.name]) if given is None else np.asarray(given, dtype=np.int64)
        return codes
