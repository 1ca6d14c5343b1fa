"""Wrongs that take a class of their own around an explainer.

Each is as small as the mistake it stands for. Nothing here is for use.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from dataclasses import dataclass, field, replace
from typing import Any

from whybox._arrays import is_array, is_frame
from whybox.engine import Engine
from whybox.models import as_model
from whybox.testing.models import copy_rows


@dataclass(frozen=True)
class Around:
    """A class around an explainer. Its repr shows nothing of the model, as that of a good explainer.

    Args:
        inner: an explainer that keeps the contracts.
        model: its model.
        background: its background.
        engine: its engine.
    """

    inner: Any
    model: Any = field(repr=False)
    background: Any = field(repr=False)
    engine: Engine


def asks_first(inner: Any, model: Any, background: Any, engine: Engine) -> Any:  # noqa: ARG001  # the signature of all kinds
    """One row is tried before anyone asked for an explanation."""
    with contextlib.suppress(Exception):
        as_model(model).predict(copy_rows(background[:1]))
    return inner


@dataclass(frozen=True)
class OwnSeed:
    """The seed is mixed with the number of explainers made so far."""

    inner: Any
    number: int

    @classmethod
    def numbered(cls, inner: Any, *_: Any) -> OwnSeed:
        """The next one."""
        return cls(inner, next(_numbers))

    def explain(self, x: Any, *, seed: int = 0, **options: Any) -> Any:
        """Explain by another seed."""
        return replace(
            self.inner.explain(x, seed=seed if not isinstance(seed, int) or seed < 0 else seed + self.number, **options), seed=seed
        )


_numbers = itertools.count(1)


class OneSeed(Around):
    """Every call draws by seed 0 and records what was asked for."""

    def explain(self, x: Any, *, seed: int = 0, **options: Any) -> Any:
        """Explain by seed 0."""
        good = isinstance(seed, int) and seed >= 0
        return replace(self.inner.explain(x, seed=0 if good else seed, **options), seed=seed)


class RenamesColumns(Around):
    """Columns are matched by position."""

    def explain(self, x: Any, **options: Any) -> Any:
        """Explain, whatever the columns are called."""
        return self.inner.explain(x.set_axis(self.background.columns, axis=1) if is_frame(x) else x, **options)


class NothingForNothing(Around):
    """No rows give an explanation of no rows."""

    def explain(self, x: Any, **options: Any) -> Any:
        """Explain."""
        return None if is_array(x) and x.ndim == 2 and not x.shape[0] else self.inner.explain(x, **options)


@dataclass(frozen=True)
class RoundsByBatch:
    """Values round otherwise in batches of another size."""

    inner: Any
    size: int

    @classmethod
    def of(cls, inner: Any, model: Any, background: Any, engine: Engine) -> RoundsByBatch:  # noqa: ARG003
        """With the engine's batch size."""
        return cls(inner, 0 if engine.batch_size == "auto" else int(engine.batch_size))

    def explain(self, x: Any, **options: Any) -> Any:
        """Explain, and round."""
        e = self.inner.explain(x, **options)
        return replace(e, values=e.values * (1.0 + 1e-15 * (self.size % 1000)))


class AsksAgain(Around):
    """The predictions for all rows are asked for once more, repeated rows and all."""

    def explain(self, x: Any, **options: Any) -> Any:
        """Explain, and count what that took."""
        e = self.inner.explain(x, **options)
        as_model(self.model).predict(copy_rows(x))
        return replace(e, stats=replace(e.stats, n_queries=e.stats.n_queries + len(e), n_calls=e.stats.n_calls + 1))


@dataclass(frozen=True)
class HoldsLock:
    """A lock, so that threads take turns."""

    inner: Any
    lock: Any = field(default_factory=threading.Lock)

    @classmethod
    def locked(cls, inner: Any, *_: Any) -> HoldsLock:
        """With a lock of its own."""
        return cls(inner)

    def explain(self, x: Any, **options: Any) -> Any:
        """Explain, one at a time."""
        with self.lock:
            return self.inner.explain(x, **options)


@dataclass
class KeepsLast:
    """The last result is kept for later."""

    inner: Any
    model: Any = field(repr=False)
    background: Any = field(repr=False)
    engine: Engine
    last: Any = None

    def explain(self, x: Any, **options: Any) -> Any:
        """Explain, and remember."""
        self.last = self.inner.explain(x, **options)
        return self.last


class NotesModel(Around):
    """The settings say which model it was."""

    def explain(self, x: Any, **options: Any) -> Any:
        """Explain, and note the model."""
        e = self.inner.explain(x, **options)
        return replace(e, settings={**e.settings, "model": repr(self.model)})
