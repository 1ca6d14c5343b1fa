"""White-box relatives as estimators of effects on a fine-tuned transformer: they look at its representation and at its last layer.

None of them knows a counterfactual text. LEACE and CausaLM say what is lost when the concept is not seen, whatever the new value is. TCAV's
direction has no length; here it is followed from the mean of the texts with the present value to that of those with the new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from _causal_models import Tuned

from whybox.concepts import LEACE, TCAV, CandidatePool, CausaLM, Estimates
from whybox.explanations import Counterfactuals


@dataclass(frozen=True)
class WhiteBox:
    """What the three have in common.

    Args:
        model: the explained model.
        pool: texts with labels, which the concept is learnt from.
        seed: of draws and training.
    """

    model: Tuned = field(repr=False)
    pool: CandidatePool
    seed: int = 0
    estimand: str = "total"
    default_k: int = 1

    @cached_property
    def _fitted(self) -> dict[Any, Any]:
        return {}

    def known(self, concept: str) -> tuple[list[str], list[str]]:
        """Texts of the pool with a value, and the values."""
        codes, values = self.pool.codes(concept), self.pool.concept(concept).values
        at = np.flatnonzero(codes >= 0).tolist()
        return [self.pool.texts[i] for i in at], [values[codes[i]] for i in at]

    def change(self, texts: Sequence[str], concept: str, now: Sequence[str], to: str) -> Any:
        """(n, k) effects."""
        raise NotImplementedError

    def estimate(self, _: Any, texts: Any, concept: str, *, to: str, k: int = 1, seed: int = 0, current: Any = None) -> Estimates:
        """Effects by what the model itself holds."""
        rows = [i for i, value in enumerate(current) if value != to]
        now = [current[i] for i in rows]
        effects = self.change([texts[i] for i in rows], concept, now, to) if rows else np.zeros((0, len(self.model.bias)))
        none = Counterfactuals(
            texts=tuple(texts), edits=(), source=type(self).__name__, estimand=self.estimand, settings={"k": k, "seed": seed}
        )
        return Estimates(none, np.array(rows, dtype=np.int64), tuple(now), effects)


class Erased(WhiteBox):
    """The last layer on representations from which LEACE has erased the concept."""

    def change(self, texts: Sequence[str], concept: str, now: Sequence[str], to: str) -> Any:  # noqa: ARG002  # whatever the values
        if concept not in self._fitted:
            known, values = self.known(concept)
            self._fitted[concept] = LEACE.fit(self.model.represent(known), values)
        vectors = self.model.represent(texts)
        return self.model.outputs(self._fitted[concept](vectors)) - self.model.outputs(vectors)


class Directed(WhiteBox):
    """The derivative of the outputs along a concept activation vector."""

    def change(self, texts: Sequence[str], concept: str, now: Sequence[str], to: str) -> Any:
        vectors = self.model.represent(texts)
        p = self.model.outputs(vectors)
        effects = np.zeros_like(p)
        for value in dict.fromkeys(now):
            mine = np.array([v == value for v in now])
            step = self._step(concept, value, to)
            slope = self.model.weight @ step
            effects[mine] = p[mine] * (slope - p[mine] @ slope[:, None])
        return effects

    def _step(self, concept: str, value: str, to: str) -> Any:
        """(e,) from the present value's mean to the new one's, along the mean vector."""
        key = (concept, value, to)
        if key not in self._fitted:
            known, values = self.known(concept)
            groups = [[t for t, v in zip(known, values, strict=True) if v == which] for which in (to, value)]
            rng = np.random.default_rng(self.seed)
            size = max(2, min(60, *(len(g) for g in groups)))
            draw = [[g[i] for i in rng.permutation(len(g))[:size]] for g in groups for _ in range(4)]
            found = TCAV(_Layer(self.model), "pooled").explain(draw[0], concept=draw[0], random=draw[4:], seed=self.seed)
            vector = found.vectors.mean(axis=0)
            vector /= np.linalg.norm(vector)
            means = [self.model.represent(g).mean(axis=0).astype(np.float64) for g in groups]
            self._fitted[key] = vector * float((means[0] - means[1]) @ vector)
        return self._fitted[key]


class Blind(WhiteBox):
    """CausaLM on the model's own representation, taught the model's own answers; the control concept is the next of the pool's."""

    def change(self, texts: Sequence[str], concept: str, now: Sequence[str], to: str) -> Any:  # noqa: ARG002  # whatever the values
        if concept not in self._fitted:
            known, values = self.known(concept)
            names = [c.name for c in self.pool.concepts]
            other = names[(names.index(concept) + 1) % len(names)]
            code, say = self.pool.codes(other), self.pool.concept(other).values
            places = {t: i for i, t in enumerate(self.pool.texts)}
            control = [say[max(code[places[t]], 0)] for t in known]
            self._fitted[concept] = CausaLM.fit(
                self.model.represent, known, self.model(known), treated=values, control=control, seed=self.seed
            )
        return self._fitted[concept].effects(texts)


def _Layer(model: Tuned) -> Any:  # noqa: N802  # a module, made where torch is certain to be there
    """The model as a torch module of texts whose pooled representation can be read."""
    import torch

    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pooled, self.head = torch.nn.Identity(), model.head

        def forward(self, texts: list[str]) -> Any:
            vectors = torch.from_numpy(np.asarray(model.represent(texts), dtype=np.float32)).requires_grad_(True)
            return torch.softmax(self.head(self.pooled(vectors)), dim=1)

    return Layer()
