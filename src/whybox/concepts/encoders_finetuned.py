"""Encoders fitted to a prediction task: texts are near where they are alike in what the label depends on."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np

from whybox.concepts._embedding_bases import Retuned, check_probe, linear, probe, unit
from whybox.concepts._source import check_texts
from whybox.concepts._training import TrainingHistory, TrainingOptions, fit, read_tensors, split, write_tensors
from whybox.concepts.encoders import Embedding, Encoder, TransformerEncoder, check_vectors
from whybox.errors import InputError, MissingDependencyError, OptionError
from whybox.typing import Floats, Ints

if TYPE_CHECKING:
    from torch import Tensor

FORMAT, VERSION = "whybox.fine_tuned_encoder", 1
_DROPOUT = 0.2


@dataclass(frozen=True, eq=False)
class HiddenEncoder:
    """The hidden layer of a small network on the vectors of another encoder, which are scaled to length 1 first.

    Args:
        base: any encoder.
        weight: (e, d) of the layer.
        bias: (e,) of the layer; what is below 0 after it becomes 0.

    Example:
        >>> lengths = lambda texts: np.array([[len(t), 0.0] for t in texts])
        >>> HiddenEncoder(lengths, np.array([[1.0, 0.0], [-1.0, 0.0]], dtype=np.float32), np.zeros(2, dtype=np.float32))(["abc"])
        array([[1., 0.]], dtype=float32)
    """

    base: Encoder
    weight: Embedding = field(repr=False)
    bias: Embedding = field(repr=False)

    def __call__(self, texts: Sequence[str]) -> Embedding:
        """(n, e) vectors.

        Raises:
            InputError: the base does not give d dimensions.
        """
        vectors = unit(check_vectors(self.base(texts), len(texts), "base"))
        if vectors.shape[1] != self.weight.shape[1]:
            raise InputError(
                f"base: expected vectors of {self.weight.shape[1]} dimensions, got {vectors.shape[1]}; is it the same encoder?"
            )
        hidden: Embedding = np.maximum(vectors @ self.weight.T + self.bias, np.float32(0.0))
        return hidden


@dataclass(frozen=True, eq=False)
class FineTunedEncoder:
    """An encoder that was trained to predict the label, or what a model says of a text. Made by :meth:`fit`.

    Matching on its vectors is "FT Match", the best matcher of LIBERTy (arXiv 2601.10700): texts are near that the task treats alike.

    Args:
        encoder: the trained encoder, whose vectors these are.
        weight: (k, e) of the layer that predicts.
        bias: (k,) of the layer that predicts.
        classes: names of the k outputs.
        history: what happened in training.
        tuned: whether the base itself was trained.

    Example:
        >>> words = lambda texts: np.array([[t.count("good"), t.count("bad"), 1.0] for t in texts])
        >>> texts = [f"{w} dish {i}" for i in range(20) for w in ("good", "bad")]
        >>> e = FineTunedEncoder.fit(words, texts, ["yes", "no"] * 20, options=TrainingOptions(learning_rate=0.05))
        >>> e(texts).shape, [e.classes[i] for i in e.probabilities(["good rice", "bad rice"]).argmax(axis=1)]
        ((40, 128), ['yes', 'no'])
    """

    encoder: Encoder
    weight: Embedding = field(repr=False)
    bias: Embedding = field(repr=False)
    classes: tuple[str, ...]
    history: TrainingHistory = field(repr=False)
    tuned: bool = False

    @classmethod
    def fit(
        cls,
        base: Encoder,
        texts: Sequence[str],
        targets: Sequence[Any] | Floats,
        *,
        groups: Sequence[Any] | None = None,
        tune: bool = False,
        dimension: int = 128,
        options: TrainingOptions | None = None,
        seed: int = 0,
        device: str | None = None,
        checkpoint: str | PathLike[str] | None = None,
        progress: bool | None = None,
    ) -> FineTunedEncoder:
        """Train to predict.

        Args:
            base: where training starts: any encoder. It is not changed.
            texts: n texts.
            targets: n labels; or (n, k) probabilities, such as what the explained model says, which makes the vectors that model's own.
            groups: (n,) what belongs together, such as edits of one text; a group is never on both sides of the validation split. None
                (default): every text stands alone.
            tune: train the base itself, which must be a TransformerEncoder. Default False: a hidden layer on its vectors is trained.
            dimension: of the hidden layer. Default 128; with ``tune`` the base's.
            options: epochs, batch, rate, patience. Default: TrainingOptions(), with ``tune`` TrainingOptions(6, 16, 2e-5, patience=2).
            seed: of weights, order, dropout. On a CPU the same seed gives the same bits.
            device: where to train, such as "cuda"; None (default): the CPU, with ``tune`` the base's device.
            checkpoint: path of a file that a training that was stopped goes on from. Default None.
            progress: show a bar of epochs. Default None: no.

        Raises:
            InputError: targets do not fit the texts, or there is one class only.
            OptionError: an option has a value that does not exist.
            CheckpointError: the checkpoint belongs to another training.
            MissingDependencyError: torch is not installed.
        """
        try:
            import torch
        except ImportError as error:
            raise MissingDependencyError("torch", "torch", "FineTunedEncoder.fit") from error
        from whybox._random import generator

        read = check_texts(texts)
        wanted, classes = distribution(targets, len(read))
        if tune and not isinstance(base, TransformerEncoder):
            raise OptionError(f"tune: only a TransformerEncoder can be trained itself, got {type(base).__name__}; leave tune out")
        if isinstance(dimension, bool) or not isinstance(dimension, (int, np.integer)) or dimension < 1:
            raise OptionError(f"dimension: expected a positive integer, got {dimension!r}")
        chosen = options or (TrainingOptions(6, 16, 2e-5, patience=2) if tune else TrainingOptions())
        if groups is not None and len(groups) != len(read):
            raise InputError(f"groups: expected {len(read)}, one a text, got {len(groups)}")
        part_of = np.arange(len(read)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)
        train, held = split(part_of, chosen.validation, seed, "fine-tuned encoder")
        rng = generator(seed, "fine-tuned encoder", "weights")

        if tune:
            assert isinstance(base, TransformerEncoder)
            mine = replace(base, model=copy.deepcopy(base.model))
            mine.model.requires_grad_(True)
            tokens, _ = mine.tokens(read)
            where = torch.device(device) if device is not None else next(mine.model.parameters()).device
            modules = torch.nn.ModuleDict({"base": mine.model, "out": linear(int(mine.model.config.hidden_size), len(classes), rng)}).to(
                where
            )
            given = Retuned.digest(base)

            def logits(at: Ints) -> Tensor:
                found: Tensor = modules["out"](mine.forward([tokens[i] for i in at.tolist()]))
                return found

        else:
            vectors = unit(check_vectors(base(read), len(read), "base"))
            where = torch.device(device or "cpu")
            modules = torch.nn.ModuleDict(
                {"hidden": linear(vectors.shape[1], dimension, rng), "out": linear(dimension, len(classes), rng)}
            ).to(where)
            inputs = torch.from_numpy(vectors).to(where)
            given = hashlib.sha256(vectors.tobytes()).hexdigest()

            def logits(at: Ints) -> Tensor:
                hidden = torch.relu(modules["hidden"](inputs[torch.from_numpy(at).to(where)]))
                found: Tensor = modules["out"](torch.nn.functional.dropout(hidden, _DROPOUT, training=modules.training))
                return found

        goal = torch.from_numpy(wanted.astype(np.float32)).to(where)

        def loss(part: Ints, _: np.random.Generator) -> Tensor:
            return -(goal[torch.from_numpy(part).to(where)] * torch.log_softmax(logits(part), dim=1)).sum(dim=1).mean()

        about = repr(
            (read, wanted.tolist(), classes, given, tune, dimension, int(seed), part_of.tolist(), replace(chosen, save_seconds=30.0))
        )
        history = fit(
            modules,
            loss,
            train=train,
            validation=held,
            options=chosen,
            seed=seed,
            name="fine-tuned encoder",
            device=where,
            checkpoint=checkpoint,
            job=hashlib.sha256(about.encode("utf-8", "surrogatepass")).hexdigest(),
            progress=bool(progress),
        )
        encoder: Encoder = mine if tune else HiddenEncoder(base, *_arrays(modules["hidden"]))
        return cls(encoder, *_arrays(modules["out"]), classes, history, tune)

    def __call__(self, texts: Sequence[str]) -> Embedding:
        """(n, e) vectors."""
        return self.encoder(texts)

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """(n, k) what it predicts."""
        scores = self(texts).astype(np.float64) @ self.weight.T + self.bias
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: Floats = raised / raised.sum(axis=1, keepdims=True)
        return shares

    def save(self, path: str | PathLike[str]) -> None:
        """Write weights as safetensors. The base is not saved; with ``tune`` its trained weights are."""
        import torch

        tensors = {"weight": torch.from_numpy(np.array(self.weight)), "bias": torch.from_numpy(np.array(self.bias))}
        known: Any = None
        if isinstance(self.encoder, TransformerEncoder):
            tensors |= Retuned.tensors(self.encoder, "model.")
        elif isinstance(self.encoder, HiddenEncoder):
            tensors |= {"hidden": torch.from_numpy(np.array(self.encoder.weight)), "shift": torch.from_numpy(np.array(self.encoder.bias))}
            known = probe(self.encoder.base)
        header = {"format": FORMAT, "version": VERSION, "classes": self.classes, "tuned": self.tuned, "probe": known}
        write_tensors(path, tensors, header | {"history": vars(self.history)})

    @classmethod
    def load(cls, path: str | PathLike[str], base: Encoder) -> FineTunedEncoder:
        """Read what :meth:`save` wrote.

        Args:
            path: the file.
            base: the encoder that training started from; with ``tune``, any TransformerEncoder of the same architecture and tokenizer.

        Raises:
            InputError: it is not such a file, or the base is another one.
        """
        tensors, header = read_tensors(path, FORMAT, VERSION)
        if header["tuned"]:
            encoder: Encoder = Retuned.load(fspath(path), base, tensors, "model.")
        else:
            check_probe(base, header["probe"], fspath(path))
            encoder = HiddenEncoder(base, tensors["hidden"].numpy(), tensors["shift"].numpy())
        history = TrainingHistory.of(header["history"])
        return cls(encoder, tensors["weight"].numpy(), tensors["bias"].numpy(), tuple(header["classes"]), history, header["tuned"])


def _arrays(layer: Any) -> tuple[Embedding, Embedding]:
    return layer.weight.detach().cpu().numpy().copy(), layer.bias.detach().cpu().numpy().copy()


def distribution(targets: Any, n: int, name: str = "targets") -> tuple[Floats, tuple[str, ...]]:
    """(n, k) probabilities and the names of the k."""
    array = np.asarray(targets)
    if len(array) != n:
        raise InputError(f"{name}: expected {n}, one a text, got {len(array)}")
    if array.ndim == 2:
        shares = array.astype(np.float64)
        if shares.shape[1] < 2 or not np.isfinite(shares).all() or (shares < 0).any() or np.abs(shares.sum(axis=1) - 1).max() > 1e-3:
            raise InputError(f"{name}: expected (n, k) probabilities that sum to 1, k at least 2; labels go in as one value a text")
        return shares, tuple(str(i) for i in range(shares.shape[1]))
    if array.ndim != 1 or any(value is None for value in array.tolist()):
        raise InputError(f"{name}: expected one label a text, none of them None, or (n, k) probabilities")
    classes, codes = np.unique(array, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"{name}: expected at least two different labels, got {classes.tolist()}")
    return np.eye(len(classes))[codes.reshape(-1)], tuple(str(value) for value in classes.tolist())
