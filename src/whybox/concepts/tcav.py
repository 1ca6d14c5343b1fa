"""Testing with concept activation vectors: does a torch model's output rise in the direction of a concept?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from whybox._arrays import take_rows
from whybox._random import generator
from whybox.errors import InputError, MissingDependencyError, OptionError, OutputShapeError, OutputValueError
from whybox.typing import Floats

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

Layout = Literal["units", "tokens"]


@dataclass(frozen=True, eq=False)
class TCAVResult:
    """Scores of one concept, and of random directions beside them.

    Args:
        scores: (r, k) share of the rows whose output rises in the concept's direction, for each of r sets of random examples and k outputs.
        random_scores: (r', k) the same for directions between two sets of random examples.
        p_values: (k,) of the two-sided Welch test that both have one mean; nan where neither varies and they are equal.
        accuracy: (r,) of the concept's classifiers on examples that they did not see; near 0.5 the layer does not hold the concept.
        vectors: (r, d) the concept activation vectors, of length 1.

    Example:
        >>> TCAVResult(np.ones((2, 1)), np.full((2, 1), 0.5), np.array([0.0]), np.ones(2), np.eye(2)).mean
        array([1.])
    """

    scores: Floats
    random_scores: Floats
    p_values: Floats
    accuracy: Floats
    vectors: Floats = field(repr=False)

    @property
    def mean(self) -> Floats:
        """(k,) mean score."""
        found: Floats = self.scores.mean(axis=0)
        return found

    def significant(self, alpha: float = 0.05) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(k,) whether the score differs from that of random directions; for several concepts divide alpha by their number."""
        found: np.ndarray[Any, np.dtype[np.bool_]] = self.p_values < alpha
        return found


@dataclass(frozen=True, eq=False)
class TCAV:
    """Concept activation vectors of a layer.

    A vector is the normal of a linear classifier between the layer's activations for examples of a concept and for random examples. The
    score is the share of rows whose output has a positive derivative in its direction. As any two sets of examples can be told apart in
    some direction, the score is compared with those of directions between random sets. Source: Kim et al. (2018), arXiv 1711.11279.

    Args:
        module: the torch module; it is called as ``module(rows)``, in eval mode, and left as it was.
        layer: name of the submodule whose output is read, as in ``module.named_modules()``.
        layout: "units" (default): every number of the output is a unit of its own. "tokens": the output is (n, tokens, d), the concept
            lives in the mean over tokens, and all tokens move together.
        batch_size: rows at once. Default 64.

    Raises:
        OptionError: there is no such layer, or the layout does not exist.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
        >>> _ = [p.data.copy_(torch.eye(2)[: len(p)] if p.ndim == 2 else torch.zeros(len(p))) for p in model.parameters()]
        >>> rng = np.random.default_rng(0)
        >>> draw = lambda shift: (rng.normal(size=(40, 2)) + shift).astype(np.float32)
        >>> result = TCAV(model, "0").explain(draw(0), concept=draw([3, 0]), random=[draw(0) for _ in range(4)])
        >>> float(result.mean[0])
        1.0
    """

    module: Module = field(repr=False)
    layer: str
    layout: Layout = "units"
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.layout not in ("units", "tokens"):
            raise OptionError(f'layout: expected "units" or "tokens", got {self.layout!r}')
        names = dict(self.module.named_modules())
        if self.layer not in names or not self.layer:
            raise OptionError(f"layer: expected one of {[name for name in names if name][:20]}, got {self.layer!r}")

    def explain(self, x: Any, *, concept: Any, random: Sequence[Any], seed: int = 0) -> TCAVResult:
        """Score the rows for one concept.

        Args:
            x: n rows, as the module takes them: an array or a list.
            concept: examples of the concept.
            random: r sets of random examples, at least two, each about as many as of the concept; more make the test sharper.
            seed: of the split that the accuracy is measured on.

        Raises:
            InputError: there are too few sets, or too few examples in one.
            OutputShapeError: the module does not give (n, k) outputs, or the layer no (n, ...) tensor.
            MissingDependencyError: torch is not installed.
        """
        try:
            import torch  # noqa: F401  # only to name what is missing
        except ImportError as error:
            raise MissingDependencyError("torch", "torch", "TCAV") from error
        sets = list(random)
        if len(sets) < 2:
            raise InputError(f"random: expected at least two sets of random examples, got {len(sets)}; ten or more give a usable test")
        acts = [self.activations(rows) for rows in (concept, *sets)]
        small = min(len(a) for a in acts)
        if small < 4:
            raise InputError(f"concept, random: expected at least four examples in each, got {small}")
        gradients = self.gradients(x)  # (k, n, d)
        found = [_vector(acts[0], other, generator(seed, "tcav", i)) for i, other in enumerate(acts[1:])]
        pairs = [(i, (i + 1) % len(sets)) for i in range(len(sets) if len(sets) > 2 else 1)]
        null = [_vector(acts[1 + i], acts[1 + j], generator(seed, "tcav null", i)) for i, j in pairs]
        vectors, chance = np.stack([v for v, _ in found]), np.stack([v for v, _ in null])
        scores, random_scores = _scores(gradients, vectors), _scores(gradients, chance)
        p_values = np.array([_welch(scores[:, k], random_scores[:, k]) for k in range(scores.shape[1])])
        return TCAVResult(scores, random_scores, p_values, np.array([a for _, a in found]), vectors)

    def activations(self, x: Any) -> Floats:
        """(n, d) what the layer says of n rows."""
        return np.concatenate([value.detach().double().cpu().numpy() for _, value, _ in self._run(x, False)])

    def gradients(self, x: Any) -> Floats:
        """(k, n, d) derivatives of each output by the layer's units."""
        import torch

        parts = []
        for output, _, raw in self._run(x, True):
            rows = []
            for k in range(output.shape[1]):
                (gradient,) = torch.autograd.grad(output[:, k].sum(), raw, retain_graph=k + 1 < output.shape[1])
                rows.append((gradient.sum(dim=1) if self.layout == "tokens" else gradient.flatten(1)).double().cpu().numpy())
            parts.append(np.stack(rows))
        return np.concatenate(parts, axis=1)

    def _run(self, x: Any, differentiate: bool) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each batch: outputs (b, k), activations (b, d), and the layer's tensor itself."""
        import torch

        from whybox._torch import evaluating
        from whybox.models.torch import TorchCall

        seen: list[Any] = []

        def read(_: Any, __: Any, value: Any) -> Any:
            # what the layer says becomes the variable of differentiation, also where nothing before it has gradients
            seen.append(value.detach().requires_grad_(differentiate) if isinstance(value, torch.Tensor) else value)
            return seen[-1]

        done, n = [], len(x)
        handle = dict(self.module.named_modules())[self.layer].register_forward_hook(read)
        try:
            with evaluating(self.module), torch.set_grad_enabled(differentiate):
                for start in range(0, n, self.batch_size):
                    rows = take_rows(x, np.arange(start, min(start + self.batch_size, n)))
                    ready = TorchCall(self.module).place(rows) if isinstance(rows, (np.ndarray, torch.Tensor)) else rows
                    seen.clear()
                    output = self.module(ready)
                    if len(seen) != 1 or not isinstance(seen[0], torch.Tensor) or len(seen[0]) != len(rows):
                        raise OutputShapeError(f"layer {self.layer!r}: expected one tensor with a row for each of {len(rows)} inputs")
                    if not isinstance(output, torch.Tensor) or output.ndim != 2 or len(output) != len(rows):
                        raise OutputShapeError(
                            f"module: expected ({len(rows)}, k) outputs, got {getattr(output, 'shape', type(output).__name__)}"
                        )
                    tokens = self.layout == "tokens"
                    if tokens and seen[0].ndim != 3:
                        raise OutputShapeError(f'layer {self.layer!r}: layout="tokens" expects (n, tokens, d), got {tuple(seen[0].shape)}')
                    done.append((output, seen[0].mean(dim=1) if tokens else seen[0].flatten(1), seen[0]))
        finally:
            handle.remove()
        if not done:
            raise InputError("x: expected at least one row, got none")
        return done


def _vector(concept: Floats, other: Floats, rng: np.random.Generator) -> tuple[Floats, float]:
    """The unit normal of a linear classifier that points to the concept, and its accuracy on a quarter that it did not see."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    if concept.shape[1] != other.shape[1]:
        raise InputError(f"random: its activations have {other.shape[1]} units, those of the concept {concept.shape[1]}")
    points, label = np.concatenate([concept, other]), np.repeat([1, 0], [len(concept), len(other)])
    if not np.isfinite(points).all():
        raise OutputValueError("layer: its activations hold NaN or infinite numbers")
    aside = np.zeros(len(points), dtype=bool)
    for value in (0, 1):
        of = np.flatnonzero(label == value)
        aside[rng.permutation(of)[: max(len(of) // 4, 1)]] = True
    scale = StandardScaler().fit(points)
    # the ridge of the classifier is in units of the spread of the activations, so that scaling the layer changes nothing
    width = max(float(np.sqrt((scale.var_).mean())), np.finfo(float).tiny)
    centred = (points - scale.mean_) / width

    def fitted(rows: Any) -> Any:
        return LogisticRegression(max_iter=1000).fit(centred[rows], label[rows])

    half = fitted(~aside)
    right = (centred[aside] @ half.coef_[0] + half.intercept_[0] > 0) == (label[aside] == 1)
    normal = fitted(slice(None)).coef_[0]
    return normal / max(float(np.linalg.norm(normal)), np.finfo(float).tiny), float(right.mean())


def _scores(gradients: Floats, vectors: Floats) -> Floats:
    """(r, k) share of positive derivatives; one that is exactly 0 counts half."""
    along = gradients @ vectors.T  # (k, n, r)
    shares: Floats = ((along > 0) + 0.5 * (along == 0)).mean(axis=1).T
    return shares


def _welch(a: Floats, b: Floats) -> float:
    """p of equal means, two-sided, variances of their own; sets that do not vary are told apart exactly."""
    from scipy import stats

    parts = [float(v.var(ddof=1)) / len(v) if len(v) > 1 else 0.0 for v in (a, b)]
    gap, error = float(a.mean() - b.mean()), math.sqrt(sum(parts))
    if error < 1e-12:
        return 0.0 if abs(gap) > 1e-12 else math.nan
    freedom = sum(parts) ** 2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, (a, b), strict=True) if part > 0)
    return float(2 * stats.t.sf(abs(gap) / error, freedom))
