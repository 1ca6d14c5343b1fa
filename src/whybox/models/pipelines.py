"""Pipelines of transformers: text classification, with the pipeline's own settings."""

from __future__ import annotations

from typing import Any

from whybox.errors import InputError, OptionError
from whybox.models._options import Options, type_name
from whybox.models.transformers import TransformersClassifier, device_of
from whybox.typing import Model


def matches(obj: Any) -> bool:
    """Whether the object is a pipeline of transformers, without importing it."""
    return any(c.__name__ == "Pipeline" and c.__module__.startswith("transformers.pipelines") for c in type(obj).__mro__)


def adapt(pipeline: Any, options: Options) -> Model:
    """A Model of a text classification pipeline, with the pipeline's own truncation and activation.

    Raises:
        InputError: the pipeline does something else.
        OptionError: a device where the pipeline is not, or an option of the pipeline that has no meaning here.
    """
    name = type_name(pipeline)
    if name != "TextClassificationPipeline":
        raise InputError(f"{name}: of the pipelines only text classification is known; pass a function that returns one output a row")
    device = device_of(pipeline.model)
    if options.device is not None and str(options.device) not in (str(device), device.type):
        raise OptionError(f"device: {name} is on {device}, not on {options.device}; make the pipeline with device={str(options.device)!r}")
    given = dict(pipeline._preprocess_params)
    given.pop("padding", None)
    truncation = given.pop("truncation", False)
    limit = given.pop("max_length", None)
    if given or truncation not in (True, False, "longest_first", "do_not_truncate"):
        raise OptionError(
            f"{name} has tokenizer options {given or truncation!r}; pass TransformersClassifier(pipeline.model, ...) or a function"
        )
    applied = pipeline._postprocess_params.get("function_to_apply")
    activation: Any = "auto" if applied is None else str(getattr(applied, "value", applied))
    return TransformersClassifier(
        pipeline.model,
        pipeline.tokenizer,
        max_length=limit,
        truncation=truncation in (True, "longest_first"),
        dtype=options.dtype,
        activation=activation,
    ).to_model(options.output)
