"""The protocols that the stages meet at, and the few records that pass between them.

Shapes are written with n explained rows, d features, m codes (coalitions or points), b draws a code (background rows) and k outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = Any  # any array of the Python array API standard: NumPy, torch, CuPy, array_api_strict
Rows = Any  # what a model is called with: an array (rows first), a DataFrame, a list of texts
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
BatchSize = int | Literal["auto"]
Target = int | str | Sequence[int] | None
OnAnswer = Callable[[Ints, Floats, bool], None]  # positions in the batch (r,), outputs (r, k), whether the answer had one axis


@dataclass(frozen=True)
class Remote:
    """How an endpoint is asked.

    Args:
        rows_per_request: rows that are sent at once.
        concurrency: requests in flight.
        requests_per_minute: the most that begin in any 60 s, or None.
        budgeted: whether there is a limit to the requests in all, which one process counts.
    """

    rows_per_request: int
    concurrency: int
    requests_per_minute: int | None = None
    budgeted: bool = False

    @property
    def busy_batch(self) -> int:
        """Rows of one call that keep the requests in flight for long: what the last, unfilled round loses is then little."""
        return 256 * self.rows_per_request * self.concurrency


@dataclass(frozen=True)
class Model:
    """A model as the engine calls it. Made by :func:`whybox.as_model`; users rarely build one.

    Args:
        predict: rows in, one output a row out: (n,) or (n, k), any array library, list, Series or DataFrame.
        name: for messages.
        output_names: names of the k outputs, such as class labels, or None.
        kind: what the outputs are: "probability", "decision", "value", "label" or "unknown".
        place: moves an array to where the model wants its rows composed (library, dtype, device); None leaves rows as they come.
        feature_names: the columns that the model was trained on, or None.
        wants_frame: the model was trained on a DataFrame and is called with one.
        max_batch: the most rows the model takes in one call, or None.
        batch_rows: rows that a call should get, for a model that sorts and cuts its rows itself; None lets the engine look for the size.
        rounding: how far an output may move with the other rows of its batch, relative to the batch's largest; 0.0 (default) is float32's
            own rounding, half precision needs more. The engine's control rows allow it.
        fingerprint: identifies the model's version for checkpoints and caches, or None.
        identify: computes the fingerprint from the model's present content, which may take a while; None if it cannot be told.
        stream: as predict, and calls its second argument with the outputs of parts of the rows as soon as they are there, from one other
            thread at most; None if outputs come all at once.
        remote: how a model behind an endpoint is asked; None for any other.
    """

    predict: Callable[[Rows], Any]
    name: str = "model"
    output_names: tuple[str, ...] | None = None
    kind: str = "unknown"
    place: Callable[[Array], Array] | None = None
    feature_names: tuple[str, ...] | None = None
    wants_frame: bool = False
    max_batch: int | None = None
    batch_rows: int | None = None
    rounding: float = 0.0
    fingerprint: str | None = None
    identify: Callable[[], str | None] | None = None
    stream: Callable[[Rows, OnAnswer], Any] | None = None
    remote: Remote | None = None

    def identity(self) -> str | None:
        """The fingerprint: the given one, else computed now; None if nothing identifies the model."""
        if self.fingerprint is not None or self.identify is None:
            return self.fingerprint
        return self.identify()


@runtime_checkable
class ModelSource(Protocol):
    """What makes a Model of itself: :func:`whybox.as_model` asks it. Anyone's own adapter may."""

    def to_model(self, output: str = "auto") -> Model:
        """The model as the engine calls it.

        Args:
            output: "auto", "probability", "decision" or "value".

        Raises:
            OptionError: there is no such output.
        """


@dataclass(frozen=True)
class Ask:
    """Codes to be tried for some instances: every code for every instance.

    Args:
        instances: (n_i,) positions of the explained rows.
        codes: (m, d) codes, shared by these instances. Coalitions are bool: True keeps the feature of the explained row.
    """

    instances: Ints
    codes: NDArray[Any]


@runtime_checkable
class Bound(Protocol):
    """A space bound to the rows to be explained: it turns (instance, code, draw) into model inputs.

    The rows of an ask are numbered ``((instance position * m) + code) * draws + draw``.
    """

    @property
    def n(self) -> int:
        """Explained rows."""

    @property
    def draws(self) -> int:
        """Rows of a code, which ``fold`` averages."""

    @property
    def shared_empty(self) -> bool:
        """Whether the empty coalition has the same rows for every instance."""

    def plain(self, start: int, stop: int) -> Rows:
        """Explained rows start to stop, unchanged, as the model takes them."""

    @property
    def members(self) -> tuple[tuple[int, ...], ...] | None:
        """For features that are groups of columns, each one's columns; None where a feature is a column."""

    def feature_names(self, instance: int) -> tuple[str, ...]:
        """Names of what may vary in an instance."""

    def row_keys(self) -> NDArray[np.uint64] | None:
        """(n, 2) 128-bit keys of the explained rows, equal exactly for identical rows; None if the space cannot tell."""

    def digest(self) -> str:
        """Identifies the content of the space and of x, for checkpoints."""

    def n_features(self, instance: int) -> int:
        """How many features may vary in an instance."""

    def compose(self, ask: Ask, start: int, stop: int) -> Rows:
        """Model inputs of the rows start to stop of an ask: rows of the caller's own, never a view of x or of the background."""

    def take(self, ask: Ask, index: Ints) -> Rows:
        """Model inputs of chosen rows of an ask."""

    def keys(self, ask: Ask) -> NDArray[np.uint64] | None:
        """(rows, 2) 128-bit keys, equal exactly for identical rows; None if the space cannot tell."""

    def fold(self, ask: Ask, outputs: Floats) -> Floats:
        """(n_i, m, draws, k) outputs to (n_i, m, k)."""


@runtime_checkable
class Hierarchical(Protocol):
    """A bound space whose features hang together: words in sentences in passages, columns that vary together."""

    def tree(self, instance: int) -> Any:
        """Nested lists of feature positions."""


@runtime_checkable
class RuleBound(Bound, Protocol):
    """A bound space in which rules can be tried out: its codes are samples on which conditions are imposed."""

    @property
    def independent(self) -> bool:
        """Whether a sample that happens to meet further conditions is a sample of the rule with these conditions."""

    @property
    def coverage_of(self) -> str:
        """What coverage is a share of."""

    def draw(self, instance: int, held: Bools, m: int, rng: np.random.Generator) -> NDArray[Any]:
        """Codes of m samples that meet the conditions of the held features (d,) of an instance."""

    def kept(self, codes: NDArray[Any]) -> Bools:
        """(m, d) which conditions each sample meets, where these are independent."""

    def coverage(self, instance: int, held: Bools) -> float:
        """How often the conditions of the held features are met."""

    def condition(self, instance: int, feature: int) -> Any:
        """What a rule would ask of a feature, a :class:`whybox.explanations.Condition`."""

    def example(self, rows: Rows, i: int) -> Any:
        """Row i of some model inputs, in values that JSON can hold."""


@runtime_checkable
class Space(Protocol):
    """What may vary, and how."""

    def bind(self, x: Any, model: Model) -> Bound:
        """Check x and attach it."""


@runtime_checkable
class OwnFeatures(Bound, Protocol):
    """A bound whose rows have features of their own: the words of a text, the segments of an image. Explanations of it are ragged."""

    def inputs(self, instance: int) -> Any:
        """What is explained, as it is shown: a text, or an image (h, w) or (h, w, c)."""

    def marks(self, instance: int) -> NDArray[Any]:
        """Where each feature lies in the input: (d, 2) character spans, or an (h, w) map of feature positions, -1 where there is none."""

    def data(self, instance: int) -> NDArray[Any]:
        """(d,) what is shown beside the values: the words themselves."""


@runtime_checkable
class Coalitions(OwnFeatures, Protocol):
    """A bound whose codes are coalitions, with what LIME needs beside.

    Which coalitions LIME draws is said by ``design``: with "removals" a number of features from 1 to d, all equally likely, is left out,
    and then which (texts); with "bernoulli" each feature is kept with probability 1/2 (images).
    """

    @property
    def design(self) -> Literal["removals", "bernoulli"]:
        """Which coalitions are drawn."""

    @property
    def kernel_width(self) -> float:
        """Width of the weights ``exp(-D^2 / (2 width^2))``, D the cosine distance from the full coalition."""


@runtime_checkable
class LocalBound(Protocol):
    """Where LIME looks: how codes are drawn, what a linear model sees of them, and what they weigh."""

    @property
    def shared(self) -> bool:
        """Whether the drawn rows are the same for every explained row."""

    @property
    def design(self) -> Literal["points", "removals", "bernoulli"]:
        """What codes are: points of the unit cube, or coalitions of one of two designs."""

    def features(self, instances: Ints, codes: NDArray[Any]) -> NDArray[Any]:
        """Interpretable features (n_i, m, d) of codes (m, d)."""

    def row_features(self, instances: Ints, d: int) -> Floats:
        """Interpretable features (n_i, d) of these rows, which have d features."""

    def weights(self, z: NDArray[Any], instances: Ints) -> Floats:
        """Weights (n_i, m) of interpretable features (n_i, m, d)."""

    def conditions(self) -> NDArray[Any] | None:
        """(n, d) what each explained value is about where that is not the feature itself, or None."""


@dataclass(frozen=True)
class RunStats:
    """What a call cost.

    Args:
        n_queries: rows that the model was called with.
        n_rows: rows that were described; the difference was answered by deduplication, cache or checkpoint.
        n_calls: calls of the model.
        batch_size: the largest batch that was sent.
        model_seconds: wall seconds inside the model.
        total_seconds: wall seconds of the call.
        n_retries: calls that were repeated after a transient error.
        n_nan: rows whose output was NaN and was skipped (only with on_nan="skip").
        n_resumed: rows answered by the checkpoint.
        n_cached: rows answered by the cache.
        repeat_sd: standard deviation of the outputs of repeated control rows; 0.0 for a deterministic model, None if not tried.
    """

    n_queries: int = 0
    n_rows: int = 0
    n_calls: int = 0
    batch_size: int = 0
    model_seconds: float = 0.0
    total_seconds: float = 0.0
    n_retries: int = 0
    n_nan: int = 0
    n_resumed: int = 0
    n_cached: int = 0
    repeat_sd: float | None = None

    @property
    def overhead_seconds(self) -> float:
        """Wall seconds of the call outside the model."""
        return max(self.total_seconds - self.model_seconds, 0.0)


@dataclass(frozen=True)
class Estimate:
    """What a Shapley solver found for r right-hand sides (rows times outputs).

    Args:
        values: (r, d) Shapley values.
        std_error: (r, d) standard error of each value; zeros where the answer is exact.
        method: which estimator answered.
        info: what else is worth reporting.
    """

    values: Floats
    std_error: Floats
    method: str
    info: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Explainer(Protocol):
    """Anything that explains rows. ``explain`` leaves the explainer as it was."""

    def explain(
        self,
        x: Any,
        *,
        seed: int = 0,
        target: Target = None,
        budget: Any = None,
        tol: float | None = None,
        progress: bool | None = None,
        checkpoint: Any = None,
    ) -> Any:
        """Explain every row of x."""
