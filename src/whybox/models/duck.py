"""Objects that are not scikit-learn estimators but answer by its methods: Keras, CatBoost, LightGBM's Booster, or a class of one's own.

The declared protocol is one method that takes rows and returns one output a row: ``predict_proba`` (probabilities; ``classes_`` names
them when it is there), ``decision_function`` or ``predict``. Which one is called follows ``output``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from whybox.errors import InputError, OptionError
from whybox.models._options import Options, type_name
from whybox.typing import Model

_METHODS = {"probability": "predict_proba", "decision": "decision_function", "value": "predict"}


def method(obj: Any, name: str) -> Callable[..., Any] | None:
    """A method of an object, or None.

    A protocol check would not do: from Python 3.12 on it finds methods that scikit-learn's ``available_if`` hides on an instance.
    """
    found = getattr(obj, name, None)
    return found if callable(found) else None


def matches(obj: Any) -> bool:
    """Whether the object has one of the protocol's methods and is not a class."""
    return not isinstance(obj, type) and any(method(obj, name) is not None for name in _METHODS.values())


def adapt(obj: Any, options: Options) -> Model:
    """A Model that calls the object's predict_proba, decision_function or predict, in this order of preference.

    Args:
        obj: an object of the protocol above.
        options: device and dtype are refused.

    Raises:
        OptionError: the asked output has no method.
        InputError: the object is known not to take rows (an XGBoost Booster takes a DMatrix).
    """
    name = type_name(obj)
    options.refuse_placement(name)
    package = type(obj).__module__.partition(".")[0]
    if package == "xgboost":
        raise InputError(
            "an xgboost Booster takes a DMatrix, not rows; pass the XGBClassifier or XGBRegressor, "
            "or a function such as lambda rows: booster.inplace_predict(rows)"
        )
    kinds = [options.output] if options.output != "auto" else list(_METHODS)
    kind = next((kind for kind in kinds if method(obj, _METHODS[kind]) is not None), None)
    if kind is None:
        there = [m for m in _METHODS.values() if method(obj, m) is not None]
        raise OptionError(
            f"output={options.output!r} needs {name}.{_METHODS[options.output]}, which is not there; it has {', '.join(there)}. "
            "Leave output out, or pass a function"
        )
    call = method(obj, _METHODS[kind])
    assert call is not None
    if any(cls.__module__.partition(".")[0] == "keras" for cls in type(obj).__mro__):
        call = partial(call, verbose=0)  # Keras draws a progress bar for every call otherwise
    if options.output == "auto" and kind == "value":
        kind = "unknown"  # predict of an unknown object may be anything
    classes = getattr(obj, "classes_", None) if kind == "probability" else None
    return Model(predict=call, name=name, kind=kind, output_names=None if classes is None else tuple(str(label) for label in classes))
