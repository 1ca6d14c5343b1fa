"""CausaLM: a model that was made blind to a concept, beside one that was not; the difference is the concept's effect."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from whybox._random import generator
from whybox.concepts._embedding_bases import linear, unit
from whybox.concepts._source import check_texts
from whybox.concepts._training import TrainingHistory, TrainingOptions, fit, split
from whybox.concepts.encoders import Embedding, Encoder, TransformerEncoder, check_vectors
from whybox.concepts.encoders_finetuned import HiddenEncoder, distribution
from whybox.errors import InputError, MissingDependencyError, OptionError
from whybox.typing import Floats, Ints

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Predictor:
    """An encoder with a linear layer that predicts.

    Args:
        encoder: of the representation.
        weight: (k, e) of the layer.
        bias: (k,) of the layer.
        history: what happened in training.

    Example:
        >>> one = lambda texts: np.ones((len(texts), 1), dtype=np.float32)
        >>> Predictor(one, np.zeros((2, 1)), np.zeros(2), TrainingHistory((), (0.0,), 0, "epochs")).probabilities(["a"])
        array([[0.5, 0.5]])
    """

    encoder: Encoder
    weight: Floats = field(repr=False)
    bias: Floats = field(repr=False)
    history: TrainingHistory = field(repr=False)

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """(n, k) what it predicts."""
        scores = self.encoder(texts).astype(np.float64) @ self.weight.T + self.bias
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: Floats = raised / raised.sum(axis=1, keepdims=True)
        return shares


@dataclass(frozen=True, eq=False)
class CausaLM:
    """Two models of one task that differ in one thing: the representation of one does not tell the treated concept. Made by :meth:`fit`.

    Both learn the task and a control concept, which must not be lost; the counterfactual one also has a head for the treated concept whose
    gradient is reversed on its way into the representation. The effect on a text is the difference of their predictions. Unlike a
    counterfactual it says what the concept contributes, not what another value would do. Source: Feder et al. (2021), CausaLM,
    arXiv 2005.13407; there the representation is trained on masked words first, here on the task itself.

    Args:
        factual: the model that sees everything.
        counterfactual: the model that is blind to the concept.
        classes: names of the k outputs.
        treated_accuracy: share of texts held out whose treated concept a linear classifier still reads from the (factual, counterfactual)
            representation; the second should be near the share of the most frequent value.

    Example:
        >>> words = lambda texts: np.array([[t.count("good"), t.count("bad"), t.count("loud"), 1.0] for t in texts])
        >>> texts = [f"{w} food, {m} room {i}" for i in range(30) for w in ("good", "bad") for m in ("loud", "calm")]
        >>> food, room = ["good" in t for t in texts], ["loud" in t for t in texts]
        >>> options = TrainingOptions(epochs=30, learning_rate=0.02)
        >>> e = CausaLM.fit(words, texts, food, treated=food, control=room, options=options)
        >>> bool(e.effects(["good food, calm room"])[0, 1] < 0)  # without the food, "True" is less sure
        True
    """

    factual: Predictor
    counterfactual: Predictor
    classes: tuple[str, ...]
    treated_accuracy: tuple[float, float]

    @classmethod
    def fit(
        cls,
        base: Encoder,
        texts: Sequence[str],
        targets: Sequence[Any] | Floats,
        *,
        treated: Sequence[Any],
        control: Sequence[Any] | None = None,
        strength: float = 1.0,
        tune: bool = False,
        dimension: int = 128,
        options: TrainingOptions | None = None,
        seed: int = 0,
        device: str | None = None,
        progress: bool | None = None,
    ) -> CausaLM:
        """Train both models.

        Args:
            base: where training starts: any encoder. It is not changed.
            texts: n texts.
            targets: n labels, or (n, k) probabilities such as what the explained model says.
            treated: n values of the concept whose effect is asked for.
            control: n values of a concept that must be kept; None (default): none is.
            strength: weight of the reversed gradient. Default 1.
            tune: train the base itself, which must be a TransformerEncoder. Default False: a hidden layer on its vectors is trained.
            dimension: of the hidden layer. Default 128; with ``tune`` the base's.
            options: epochs, batch, rate. Default: TrainingOptions(), with ``tune`` TrainingOptions(6, 16, 2e-5). An adversary has no loss
                that only falls: the counterfactual model is trained for the epochs that the factual one kept, at least 5.
            seed: of weights, order, dropout. On a CPU the same seed gives the same bits.
            device: where to train; None (default): the CPU, with ``tune`` the base's device.
            progress: show a bar of epochs. Default None: no.

        Raises:
            InputError: targets or concepts do not fit the texts.
            OptionError: an option has a value that does not exist.
            MissingDependencyError: torch is not installed.
        """
        try:
            import torch
        except ImportError as error:
            raise MissingDependencyError("torch", "torch", "CausaLM.fit") from error
        read = check_texts(texts)
        if tune and not isinstance(base, TransformerEncoder):
            raise OptionError(f"tune: only a TransformerEncoder can be trained itself, got {type(base).__name__}; leave tune out")
        if isinstance(strength, bool) or not isinstance(strength, (int, float)) or not 0 < strength < np.inf:
            raise OptionError(f"strength: expected a positive number, got {strength!r}")
        goals = {"task": distribution(targets, len(read), "targets"), "treated": distribution(treated, len(read), "treated")}
        if control is not None:
            goals["control"] = distribution(control, len(read), "control")
        chosen = options or (TrainingOptions(6, 16, 2e-5, patience=2) if tune else TrainingOptions())
        where = torch.device(device) if device is not None else next(base.model.parameters()).device if tune else torch.device("cpu")  # type: ignore[attr-defined]  # checked above
        train, held = split(np.arange(len(read)), chosen.validation, seed, "causalm")
        vectors = None if tune else unit(check_vectors(base(read), len(read), "base"))
        tokens = base.tokens(read)[0] if tune and isinstance(base, TransformerEncoder) else None
        wanted = {name: torch.from_numpy(goal.astype(np.float32)).to(where) for name, (goal, _) in goals.items()}

        def trained(blind: bool, settings: TrainingOptions) -> Predictor:
            modules = torch.nn.ModuleDict()
            if vectors is None:
                assert isinstance(base, TransformerEncoder)
                mine = replace(base, model=copy.deepcopy(base.model))
                mine.model.requires_grad_(True)
                modules["base"], e = mine.model, int(mine.model.config.hidden_size)
            else:
                inputs = torch.from_numpy(vectors).to(where)
                modules["base"], e = linear(vectors.shape[1], dimension, generator(seed, "causalm", "base")), dimension
            heads = {
                name: linear(e, goal.shape[1], generator(seed, "causalm", name))
                for name, (goal, _) in goals.items()
                if name != "treated" or blind
            }
            modules.update(heads)
            modules.to(where)

            def represent(at: Ints) -> Tensor:
                if vectors is None:
                    assert tokens is not None
                    return mine.forward([tokens[i] for i in at.tolist()])
                return torch.relu(modules["base"](inputs[torch.from_numpy(at).to(where)]))

            def loss(part: Ints, _: np.random.Generator) -> Tensor:
                h, total = represent(part), torch.zeros((), device=where)
                at = torch.from_numpy(part).to(where)
                for name in heads:
                    # the value of h with the gradient of -strength * h: the head learns the concept, the representation loses it
                    seen = h.detach() * (1 + strength) - strength * h if name == "treated" else h
                    if name == "treated" and not modules.training:
                        continue
                    total = total - (wanted[name][at] * torch.log_softmax(modules[name](seen), dim=1)).sum(dim=1).mean()
                return total

            label = "counterfactual model" if blind else "factual model"
            history = fit(
                modules,
                loss,
                train=train,
                validation=held,
                options=settings,
                seed=seed,
                name=label,
                device=where,
                keep="last" if blind else "best",
                progress=bool(progress),
            )
            out = modules["task"]
            encoder: Encoder = (
                mine if vectors is None else HiddenEncoder(base, *(p.detach().cpu().numpy().copy() for p in modules["base"].parameters()))
            )
            weight, bias = (p.detach().cpu().numpy().astype(np.float64) for p in out.parameters())
            return Predictor(encoder, weight, bias, history)

        factual = trained(False, chosen)
        epochs = max(factual.history.best, 5)
        counterfactual = trained(True, replace(chosen, epochs=epochs, patience=epochs))
        concept = goals["treated"][0].argmax(axis=1)
        told = tuple(_read(p.encoder(read), concept, train, held) for p in (factual, counterfactual))
        return cls(factual, counterfactual, goals["task"][1], (told[0], told[1]))

    def effects(self, texts: Sequence[str]) -> Floats:
        """(n, k) what the prediction loses or gains when the concept is not seen."""
        asked = check_texts(texts)
        found: Floats = self.counterfactual.probabilities(asked) - self.factual.probabilities(asked)
        return found


def _read(vectors: Embedding, concept: Ints, train: Ints, held: Ints) -> float:
    """Accuracy of a linear classifier of the concept on texts held out."""
    from sklearn.linear_model import LogisticRegression

    scale = max(float(vectors[train].std()), 1e-9)
    x = (vectors.astype(np.float64) - vectors[train].mean(axis=0)) / scale
    if len(np.unique(concept[train])) < 2:
        raise InputError("treated: the texts to train on have one value only; pass more texts")
    return float(LogisticRegression(max_iter=500).fit(x[train], concept[train]).score(x[held], concept[held]))
