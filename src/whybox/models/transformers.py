"""Hugging Face text classifiers: many texts in few padded forwards.

transformers is never imported here: a model and a tokenizer cannot exist before it was.
"""

from __future__ import annotations

import inspect
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from whybox._torch import (
    autocast,
    context_length,
    dtype_named,
    evaluating,
    first_tensor,
    for_each_bucket,
    half_precision,
    module_digest,
    pad_token,
    padded,
    tokenizer_digest,
)
from whybox._warn import tell
from whybox.errors import InputError, OptionError, OutputShapeError
from whybox.models._options import type_name
from whybox.models._texts import texts_of
from whybox.typing import Model, Rows

Activation = Literal["auto", "softmax", "sigmoid", "none"]
_ROWS, _ROWS_LARGE = 2048, 512  # handed over at once: enough for buckets of like length, few enough for progress and checkpoints
_LARGE = 20_000_000  # parameters from which a batch on a CPU takes long
_TOKENS_CPU, _TOKENS_CUDA = 2048, 65536  # padded tokens of a forward: beyond, throughput no longer grows


class TruncationWarning(UserWarning):
    """Texts are longer than the model reads, and were cut."""


@dataclass(frozen=True)
class TransformersClassifier:
    """A sequence classification model and its tokenizer; rows are texts, or pairs (text, second text).

    A batch is tokenised in one call, sorted by length, and cut into forwards of so many padded tokens. Out of memory halves the forwards
    and goes on. The model stays where it is; train mode and gradients are afterwards as they were.

    Args:
        model: such as from ``AutoModelForSequenceClassification.from_pretrained(...)``, on the device where it is to run.
        tokenizer: its tokenizer.
        max_length: the most tokens of a row; None (default) takes the smaller of the tokenizer's limit and the model's positions.
        truncation: cut longer rows, and warn with a count. Default False: they are an error.
        batch_tokens: padded tokens of a forward; None (default): 2,048 on a CPU, 65,536 on CUDA.
        dtype: dtype of the matrix products, such as "bfloat16" (autocast: the weights stay what they are); None (default) is the model's.
        activation: from logits to outputs; "auto" (default) as in transformers' pipelines: none for a regression, sigmoid for several
            labels that do not exclude one another and for a single label, softmax otherwise.
        version: identifies model and tokenizer for checkpoints and caches; None computes a hash of them when it is needed.

    Raises:
        InputError: this is not a pair of model and tokenizer, or no token is there to pad with.
        OptionError: an option has a value that does not exist.

    Example:
        >>> import whybox as wb
        >>> from transformers import AutoModelForSequenceClassification, AutoTokenizer  # doctest: +SKIP
        >>> name = "distilbert-base-uncased-finetuned-sst-2-english"  # doctest: +SKIP
        >>> model = AutoModelForSequenceClassification.from_pretrained(name)  # doctest: +SKIP
        >>> classifier = TransformersClassifier(model, AutoTokenizer.from_pretrained(name), truncation=True)  # doctest: +SKIP
        >>> wb.KernelSHAP(classifier, space=wb.spaces.Words()).explain(["A good film."], target="POSITIVE")  # doctest: +SKIP
    """

    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    _: KW_ONLY
    max_length: int | None = None
    truncation: bool = False
    batch_tokens: int | None = None
    dtype: Any = None
    activation: Activation = "auto"
    version: str | None = None

    def __post_init__(self) -> None:
        """Check the pair and the options; no forward."""
        if not callable(getattr(self.model, "forward", None)) or not hasattr(self.model, "config"):
            raise InputError(f"model: expected a loaded sequence classification model of transformers, got {type_name(self.model)}")
        if not callable(self.tokenizer) or not hasattr(self.tokenizer, "pad_token_id"):
            raise InputError(f"tokenizer: expected the model's tokenizer, got {type_name(self.tokenizer)}")
        for name in ("max_length", "batch_tokens"):
            value: Any = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1):
                raise OptionError(f"{name}: expected a positive integer or None, got {value!r}")
        if self.truncation not in (True, False):
            raise OptionError(f"truncation: expected True or False, got {self.truncation!r}")
        if self.activation not in get_args(Activation):
            raise OptionError(f"activation: expected one of {', '.join(map(repr, get_args(Activation)))}, got {self.activation!r}")
        dtype_named(self.dtype)
        if pad_token(self.model, self.tokenizer) is None:
            raise InputError(
                f"{type_name(self.model)} has no token to pad with, and texts of several lengths go into one forward; set one on both, for "
                "example tokenizer.pad_token = tokenizer.eos_token and model.config.pad_token_id = tokenizer.pad_token_id"
            )

    def to_model(self, output: str = "auto") -> Model:
        """The model as the engine calls it.

        Args:
            output: "probability", "decision" (logits) or "value" (of a regression); "auto" follows the activation.

        Raises:
            OptionError: there is no such output.
        """
        config, name = self.model.config, type_name(self.model)
        regression = config.problem_type == "regression"
        natural = "none" if regression else "sigmoid" if config.problem_type == "multi_label_classification" else "softmax"
        if natural == "softmax" and config.num_labels == 1:
            natural = "sigmoid"
        activation = natural if self.activation == "auto" else self.activation
        kinds = {"none": "value" if regression else "decision"}
        if output == "decision" and not regression:
            activation = "none"
        elif output == "probability" and activation == "none" and not regression:
            activation = natural
        kind = kinds.get(activation, "probability")
        if output not in ("auto", kind):
            there = "a value" if regression else "probabilities and decision values"
            raise OptionError(f"output={output!r}: {name} has {there}; leave output out, or ask for what is there")
        call = ClassifierCall(self, activation)
        return Model(
            predict=call,
            name=name,
            output_names=tuple(str(config.id2label[i]) for i in range(config.num_labels)),
            kind=kind,
            batch_rows=call.batch_rows,
            rounding=2e-2 if half_precision(self.model, dtype_named(self.dtype)) else 1e-5,
            fingerprint=self.version,
            identify=call.fingerprint,
        )


class ClassifierCall:
    """Calls a classifier on texts; remembers what memory allowed, and how many rows were cut.

    Args:
        settings: the classifier.
        activation: "softmax", "sigmoid" or "none".
    """

    def __init__(self, settings: TransformersClassifier, activation: str) -> None:
        self._settings, self._activation = settings, activation
        model, tokenizer = settings.model, settings.tokenizer
        self._limit = context_length(model, tokenizer) if settings.max_length is None else settings.max_length
        self._takes = frozenset(inspect.signature(model.forward).parameters)
        device = device_of(model)
        self._tokens = settings.batch_tokens or (_TOKENS_CUDA if device.type == "cuda" else _TOKENS_CPU)
        large = device.type == "cpu" and sum(p.numel() for p in model.parameters()) > _LARGE
        self.batch_rows = _ROWS_LARGE if large else _ROWS
        self._cut, self._told = 0, 0

    def __call__(self, rows: Rows) -> NDArray[np.float32]:
        """(n, labels) outputs, or (n,) of a single label."""
        import torch

        model = self._settings.model
        ids, types = self._encode(rows)
        pad = pad_token(model, self._settings.tokenizer)
        assert pad is not None
        device, dtype = device_of(model), dtype_named(self._settings.dtype)
        labels = int(model.config.num_labels)
        logits = torch.empty((len(ids), labels), dtype=torch.float32, device=device)
        options = {"use_cache": False} if "use_cache" in self._takes else {}

        def forward(bucket: list[int]) -> None:
            tokens, mask = padded([ids[i] for i in bucket], pad)
            inputs = {"input_ids": tokens, "attention_mask": mask}
            if types is not None:
                inputs["token_type_ids"] = padded([types[i] for i in bucket], int(self._settings.tokenizer.pad_token_type_id))[0]
            there = {key: torch.from_numpy(value).to(device) for key, value in inputs.items() if key in self._takes}
            out = model(**there, **options).logits
            if tuple(out.shape) != (len(bucket), labels):
                raise OutputShapeError(
                    f"{type_name(model)}: expected logits of shape ({len(bucket)}, {labels}), got {tuple(out.shape)}; a sequence "
                    "classification model is needed, for other heads pass a function"
                )
            logits[torch.tensor(bucket, device=device)] = out.float().to(device)

        with evaluating(model), torch.no_grad(), autocast(device, dtype):
            self._tokens = for_each_bucket([len(i) for i in ids], forward, tokens=self._tokens, release=_release(device)) or self._tokens
        if self._activation == "softmax":
            logits = torch.softmax(logits, dim=1)
        elif self._activation == "sigmoid":
            logits = torch.sigmoid(logits)
        out: NDArray[np.float32] = logits.cpu().numpy()
        return out[:, 0] if labels == 1 else out

    def fingerprint(self) -> str:
        """Hash of weights, tokenizer and settings."""
        s = self._settings
        settings = f"{self._activation} {s.max_length} {s.truncation} {dtype_named(s.dtype)}"
        return f"transformers:{module_digest(s.model)}:{tokenizer_digest(s.tokenizer)}:{settings}"

    def _encode(self, rows: Rows) -> tuple[list[list[int]], list[list[int]] | None]:
        texts, seconds = texts_of(rows, type_name(self._settings.model))
        tokenizer = self._settings.tokenizer
        encoded = tokenizer(texts, seconds, padding=False, truncation=False, return_attention_mask=False, verbose=False)
        ids: list[list[int]] = encoded["input_ids"]
        if self._limit is not None:
            long = [i for i, row in enumerate(ids) if len(row) > (self._limit or 0)]
            if long:
                self._report(len(long), len(ids), max(len(ids[i]) for i in long))
                short = tokenizer(
                    [texts[i] for i in long],
                    None if seconds is None else [seconds[i] for i in long],
                    padding=False,
                    truncation=True,
                    max_length=self._limit,
                    return_attention_mask=False,
                )
                for place, i in enumerate(long):
                    for key in encoded:
                        encoded[key][i] = short[key][place]
        empty = [i for i, row in enumerate(ids) if not row]
        for i in empty:  # a tokenizer without special tokens makes nothing of an empty text, and a model needs something to read
            ids[i] = [self._nothing()]
        types = encoded.get("token_type_ids") if "token_type_ids" in self._takes else None
        if types is not None:
            for i in empty:
                types[i] = [0]
        return ids, types

    def _nothing(self) -> int:
        """The token that stands for an empty text."""
        t = self._settings.tokenizer
        named = (t.bos_token_id, t.cls_token_id, t.eos_token_id, pad_token(self._settings.model, t))
        return next(int(token) for token in named if token is not None)

    def _report(self, count: int, n: int, longest: int) -> None:
        """Truncation is an error, or a warning: the first time, and whenever twice as many rows were cut as the last warning said."""
        name = type_name(self._settings.model)
        told = f"{count} of {n} texts are longer than the {self._limit} tokens that {name} reads (longest {longest})"
        if not self._settings.truncation:
            raise InputError(
                f"{told}; pass TransformersClassifier(..., truncation=True) to cut them at their end, or explain shorter texts"
            )
        self._cut += count
        if self._cut >= 2 * self._told:
            self._told = self._cut
            more = "" if self._cut == count else f", {self._cut} rows so far"
            tell(f"{told} and were cut{more}; what lies beyond has no say", TruncationWarning)


def device_of(model: Any) -> Any:
    """Where a model runs: the device of its first parameter."""
    import torch

    first = first_tensor(model)
    return torch.device("cpu") if first is None else first.device


def _release(device: Any) -> Any:
    import torch

    return torch.cuda.empty_cache if device.type == "cuda" else None
