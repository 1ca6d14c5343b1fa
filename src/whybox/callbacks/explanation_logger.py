"""Explanations of the same rows every few epochs or steps of a training, and how they drift."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from whybox.callbacks._drift import Drift, explanation_drift, mean_importance
from whybox.errors import InputError, OptionError
from whybox.explanations import Attribution
from whybox.typing import Explainer, Target

Sink = Callable[[int, Mapping[str, float]], None]


class SinkWarning(UserWarning):
    """A sink did not take the numbers of a step; the training goes on."""


@dataclass(frozen=True)
class Logged:
    """What one call logged.

    Args:
        step: the epoch or step.
        explanation: of the rows, with the model as it was then; None if only the latest is held (see ``ExplanationLogger.hold``).
        drift: from the explanation that it is compared with; None the first time.
        scalars: what the sinks got.

    Example:
        >>> Logged(3, None, None, {"whybox/queries": 40.0}).step
        3
    """

    step: int
    explanation: Attribution | None = field(repr=False)
    drift: Drift | None
    scalars: Mapping[str, float] = field(repr=False)


@dataclass
class ExplanationLogger:
    """Call it with the epoch or step; every so often it explains some rows and tells how far their explanations have moved.

    The explainer holds the model that is being trained: a torch module is explained in eval mode without gradients, and is in the mode that
    it was in afterwards; no global generator is touched. The seed is the same each time, so that coalitions are the same and only the model
    makes a difference.

    Args:
        explainer: of the model in training, such as ``KernelSHAP(module, background)``.
        x: rows to explain each time; a few dozen.
        every: explain when the step is a multiple of it. Default 1.
        against: compare with the "previous" (default) explanation or with the "first".
        seed: of the explanations. Default 0.
        target: outputs, as in ``explain``. Default None: all. "predicted" would compare other outputs where predictions change.
        budget: as in ``explain``.
        sinks: called with (step, names and numbers): :class:`MLflowSink`, :class:`TensorBoardSink`, any function. One that fails, such as
            for want of a network, is told of in a :class:`SinkWarning` and ends no training; ``history`` has the numbers.
        folder: where every explanation is saved as ``explanation-STEP.npz``; None (default) saves none. Made if it does not exist.
        hold: "latest" (default) holds the explanations needed for comparison; "all" every one, in ``history``.
        prefix: of the names. Default "whybox/".

    Raises:
        OptionError: an option has a value that does not exist.

    Example:
        >>> import numpy as np
        >>> from whybox import Occlusion
        >>> weights = np.array([1.0, 0.0])
        >>> log = ExplanationLogger(Occlusion(lambda rows: rows @ weights, np.zeros((1, 2))), np.ones((3, 2)), every=2)
        >>> for epoch in range(5):
        ...     _ = log(epoch)
        ...     weights += [0.0, 0.5]
        >>> [(entry.step, entry.drift and round(entry.drift.mean, 3)) for entry in log.history]
        [(0, None), (2, 0.293), (4, 0.051)]
    """

    explainer: Explainer
    x: Any = field(repr=False)
    every: int = 1
    against: Literal["previous", "first"] = "previous"
    seed: int = 0
    target: Target = None
    budget: Any = None
    sinks: tuple[Sink, ...] = ()
    folder: str | os.PathLike[str] | None = None
    hold: Literal["latest", "all"] = "latest"
    prefix: str = "whybox/"
    history: list[Logged] = field(default_factory=list, init=False, repr=False)
    _reference: Attribution | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        given: Any = self.every
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise OptionError(f"every: expected a positive integer, got {given!r}")
        for name, options in (("against", ("previous", "first")), ("hold", ("latest", "all"))):
            if getattr(self, name) not in options:
                raise OptionError(f"{name}: expected one of {', '.join(options)}, got {getattr(self, name)!r}")
        sinks: Any = self.sinks
        self.sinks = (sinks,) if callable(sinks) else tuple(sinks)
        if not all(callable(sink) for sink in self.sinks):
            raise OptionError("sinks: expected functions of (step, numbers by name), such as MLflowSink()")
        if self.folder is not None:
            Path(self.folder).mkdir(parents=True, exist_ok=True)

    def __call__(self, step: int) -> Logged | None:
        """Explain if it is time to, and return what was logged; None if it is not.

        Args:
            step: of the training, counted in whatever ``every`` counts.

        Raises:
            InputError: what the explainer returned has no values to compare.
        """
        if step % self.every:
            return None
        options = {} if self.budget is None else {"budget": self.budget}
        e = self.explainer.explain(self.x, seed=self.seed, target=self.target, **options)
        if not isinstance(e, Attribution):
            raise InputError(f"ExplanationLogger: expected an explainer of attributions, got a {type(e).__name__} from it")
        drift = None if self._reference is None else explanation_drift(self._reference, e)
        scalars = self._scalars(e, drift)
        self.history.append(Logged(step, e if self.hold == "all" else None, drift, scalars))
        if self._reference is None or self.against == "previous":
            self._reference = e
        if self.folder is not None:
            e.save(Path(self.folder) / f"explanation-{step:06d}.npz")
        for sink in self.sinks:
            try:
                sink(step, scalars)
            except Exception as error:  # noqa: BLE001  # days of training may be behind it
                told = f"{type(error).__name__}: {str(error)[:300]}"
                warnings.warn(
                    f"{sink!r} did not take the numbers of step {step}, and the training goes on: {told}", SinkWarning, stacklevel=2
                )
        return self.history[-1]

    def _scalars(self, e: Attribution, drift: Drift | None) -> dict[str, float]:
        found = {} if drift is None else drift.scalars()
        if e.values.dtype != object:
            names = [str(name) for name in e.feature_names or range(e.values.shape[1])]
            found |= {f"importance/{name}": float(value) for name, value in zip(names, mean_importance(e), strict=True)}
        if e.stats is not None:
            found["queries"] = float(e.stats.n_queries)
        return {self.prefix + name: value for name, value in found.items()}
