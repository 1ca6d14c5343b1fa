"""as_model: from whatever the user holds to the one Model that the engine calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from whybox.errors import InputError, OptionError
from whybox.models import callable as function
from whybox.models import duck, http, pipelines, sklearn, source, torch
from whybox.models._options import Options, Output, type_name
from whybox.typing import Model

# First match wins: a pipeline of transformers also has predict, a Keras module may be a torch module as well, an estimator may be callable.
_ADAPTERS: tuple[tuple[Callable[[Any], bool], Callable[[Any, Options], Model]], ...] = (
    (source.matches, source.adapt),
    (pipelines.matches, pipelines.adapt),
    (http.matches, http.adapt),
    (sklearn.matches, sklearn.adapt),
    (torch.matches, torch.adapt),
    (duck.matches, duck.adapt),
    (function.matches, function.adapt),
)


def as_model(
    obj: Any,
    *,
    output: Output = "auto",
    max_batch: int | None = None,
    device: Any = None,
    dtype: Any = None,
    output_names: Sequence[str] | None = None,
    name: str | None = None,
    version: str | None = None,
) -> Model:
    """Make a Model of an estimator, a torch module, a pipeline of transformers, a function, or any object with predict_proba or predict.

    An object with ``to_model`` (:class:`whybox.typing.ModelSource`) makes its own. No model call is made. What comes back only
    calls; shapes, lengths and finiteness of the outputs are judged by the engine.

    Args:
        obj: the model. A Model comes back with the options below applied.
        output: "probability", "decision" or "value"; "auto" takes a classifier's probabilities (its decision values if it has none),
            a regressor's value, and anything else's only output. For a function it only declares what the outputs are.
        max_batch: the most rows the model takes in one call, or None.
        device: torch modules without parameters only: where rows go. A pipeline stays where it is.
        dtype: torch modules: what every row is converted to; None converts floating rows to the module's floating dtype. Pipelines: the
            dtype of the matrix products, such as "bfloat16".
        output_names: names of the k outputs; None takes the class names, if there are any.
        name: for messages; None takes the name of the function or class.
        version: what identifies the model for checkpoints and caches. None computes it from fitted estimators and from modules when it
            is needed; functions have none.

    Returns:
        The model as the engine calls it.

    Raises:
        InputError: obj is not a model, is a class, or is not fitted.
        OptionError: the model does not have the asked output, or an option does not apply to it.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> clf = LogisticRegression().fit([[0.0], [1.0]], ["no", "yes"])
        >>> as_model(clf).kind, as_model(clf).output_names
        ('probability', ('no', 'yes'))
    """
    options = Options(output=output, device=device, dtype=dtype)
    model = _given(obj, options) if isinstance(obj, Model) else _adapted(obj, options)
    if max_batch is not None:
        given: Any = max_batch
        if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1:
            raise OptionError(f"max_batch: expected a positive integer or None, got {max_batch!r}")
        model = replace(model, max_batch=int(max_batch))
    if output_names is not None:
        names = tuple(str(label) for label in output_names)
        if isinstance(output_names, str) or not names:
            raise OptionError(f"output_names: expected a sequence of names, one an output, got {output_names!r}")
        model = replace(model, output_names=names)
    if name is not None:
        model = replace(model, name=name)
    return model if version is None else replace(model, fingerprint=version)


def _given(model: Model, options: Options) -> Model:
    options.refuse_placement(model.name)
    if options.output not in ("auto", model.kind):
        raise OptionError(f"output={options.output!r} was asked of a Model of kind {model.kind!r}; give output to the first as_model")
    return model


def _adapted(obj: Any, options: Options) -> Model:
    if isinstance(obj, type):
        raise InputError(f"model: expected a fitted object or a function, got the class {obj.__name__}; make and fit an instance of it")
    for matches, adapt in _ADAPTERS:
        if matches(obj):
            return adapt(obj, options)
    raise InputError(
        f"model: expected a function, a scikit-learn estimator, a torch module or an object with predict_proba or predict, "
        f"got {type_name(obj)}; pass a function that takes rows and returns one output a row"
    )
