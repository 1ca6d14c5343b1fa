"""scikit-learn estimators and pipelines, and what shows their face: XGBoost, LightGBM, searches, meta-estimators.

A DataFrame reaches the estimator as it is: strings, categories, nullable types, dates and NaN are the estimator's to handle. Two flags tell
the space what to compose: ``feature_names`` are the columns the estimator was fitted on (``feature_names_in_``), and ``wants_frame`` says
that it was fitted on a frame, so that rows which come as an array are given these column names before the call.
"""

from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from whybox.errors import InputError, OptionError
from whybox.models._options import Options, Output, type_name
from whybox.models.duck import method
from whybox.typing import Model, Rows

_OUTPUT_OF = {"predict_proba": "probability", "decision_function": "decision", "predict": "value"}
_MARGIN = {"xgboost": {"output_margin": True}, "lightgbm": {"raw_score": True}}  # their predict gives the decision value when asked so
_CHECKED = ("sklearn", "xgboost", "lightgbm")  # packages whose estimators say reliably whether they are fitted


def matches(obj: Any) -> bool:
    """Whether the object is a scikit-learn estimator, or a method of one, without importing scikit-learn."""
    base = getattr(sys.modules.get("sklearn.base"), "BaseEstimator", None)
    return base is not None and isinstance(obj.__self__ if inspect.ismethod(obj) else obj, base)


def adapt(obj: Any, options: Options) -> Model:
    """A Model that calls one method of a fitted estimator.

    ========== ====================== =====================================================================
    output     needs                  answers
    ========== ====================== =====================================================================
    auto       a fitted estimator     probability if a classifier has it, else its decision; others: value
    probability a classifier          ``predict_proba``, one output a class, named by the class
    decision   classifier or detector ``decision_function`` (XGBoost, LightGBM: the margin of ``predict``)
    value      a regressor            ``predict``
    ========== ====================== =====================================================================

    A method of an estimator (``clf.predict_log_proba``) is called as it is, and brings the estimator's column and class names along.

    Args:
        obj: a fitted estimator, pipeline, search or meta-estimator, or one of its methods.
        options: device and dtype are refused.

    Raises:
        InputError: it is not fitted, or has nothing to explain (a transformer).
        OptionError: it does not have the asked output.
    """
    estimator, named = (obj.__self__, obj.__name__) if inspect.ismethod(obj) else (obj, None)
    name = type_name(estimator)
    options.refuse_placement(name)
    _refuse_unfitted(estimator, name)
    model = _of_method(estimator, obj, named, options) if named else _of_estimator(estimator, options)
    columns = _columns(estimator)
    return replace(
        model,
        name=f"{name}.{named}" if named else name,
        feature_names=columns,
        wants_frame=columns is not None,
        identify=partial(_fingerprint, estimator, named or model.kind),
    )


def _of_method(estimator: Any, call: Callable[..., Any], named: str, options: Options) -> Model:
    kind = _OUTPUT_OF.get(named, "unknown")
    if kind == "value" and _is_classifier(estimator):
        kind = "label"
    if options.output not in ("auto", kind):
        raise OptionError(
            f"output={options.output!r} was asked of the method {named}, which answers with {kind!r}; "
            "pass the estimator itself, or leave output out"
        )
    names = _class_names(estimator, "probability") if named in ("predict_proba", "predict_log_proba") else None
    names = _class_names(estimator, "decision") if named == "decision_function" else names
    return Model(predict=Columns(call) if named.endswith("_proba") else call, kind=kind, output_names=names)


def _of_estimator(estimator: Any, options: Options) -> Model:
    classifier = _is_classifier(estimator)
    there = _outputs(estimator, classifier)
    name = type_name(estimator)
    if options.output == "auto":
        if there:
            kind, call = next(iter(there.items()))
        elif classifier:
            raise InputError(
                f"{name} is a classifier with predict only, and its labels are not numbers to explain. Calibrate it "
                "(CalibratedClassifierCV), or pass a function that makes scores: lambda rows: "
                "(clf.predict(rows)[:, None] == clf.classes_).astype(float)"
            )
        else:
            raise InputError(f"{name} has no predict_proba, decision_function or predict of a value; pass a fitted model or a function")
    elif options.output in there:
        kind, call = options.output, there[options.output]
    else:
        have = ", ".join(repr(k) for k in there) or "none of them"
        hint = "; labels can be explained by passing the method clf.predict itself" if classifier and options.output == "value" else ""
        raise OptionError(f"output={options.output!r} is not something that {name} has; it has {have}{hint}")
    if kind == "probability":
        call = Columns(call)
    return Model(predict=call, kind=kind, output_names=_class_names(estimator, kind) if classifier or kind == "probability" else None)


def _outputs(estimator: Any, classifier: bool) -> dict[Output, Callable[..., Any]]:
    """The outputs that an estimator has, best first."""
    from sklearn.base import is_regressor

    proba, decision, predict = (method(estimator, key) for key in _OUTPUT_OF)
    margin = _MARGIN.get(_package(final_step(estimator)))
    there: dict[Output, Callable[..., Any]] = {}
    if predict is not None and is_regressor(estimator):
        there["value"] = predict
    if proba is not None:
        there["probability"] = proba
    if decision is not None:
        there["decision"] = decision
    elif classifier and predict is not None and margin is not None:
        there["decision"] = partial(predict, **margin)
    if not there and predict is not None and not classifier and not _is_clusterer(estimator):
        there["value"] = predict
    return there


@dataclass(frozen=True)
class Columns:
    """predict_proba of a classifier with several targets answers with a list of (n, k_i) arrays: here they stand side by side.

    Args:
        call: the method.
    """

    call: Callable[..., Any]

    def __call__(self, rows: Rows) -> Any:
        """(n, k) outputs for rows."""
        out = self.call(rows)
        return np.concatenate(out, axis=1) if isinstance(out, list) else out


def final_step(estimator: Any) -> Any:
    """The estimator that answers: the last step of a pipeline, the best of a search; itself otherwise."""
    while True:
        steps = getattr(estimator, "steps", None)
        inner = steps[-1][1] if isinstance(steps, list) else getattr(estimator, "best_estimator_", None)
        if inner is None or isinstance(inner, str):
            return estimator
        estimator = inner


def _package(obj: Any) -> str:
    return type(obj).__module__.partition(".")[0]


def _is_classifier(estimator: Any) -> bool:
    from sklearn.base import is_classifier

    return bool(is_classifier(estimator))


def _is_clusterer(estimator: Any) -> bool:
    import sklearn.base

    told = getattr(sklearn.base, "is_clusterer", None)  # since scikit-learn 1.6
    return bool(told(estimator)) if told is not None else getattr(estimator, "_estimator_type", None) == "clusterer"


def _class_names(estimator: Any, kind: str) -> tuple[str, ...] | None:
    """Names of the outputs: the classes; the second of two for a decision value; "target=class" for several targets."""
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return None
    final = final_step(estimator)
    if isinstance(classes, (list, tuple)) and len(classes) and isinstance(classes[0], (np.ndarray, list)):
        if type_name(final) == "ClassifierChain" or kind == "decision":
            return None  # one column a target, whose names the estimator does not know
        return tuple(f"{target}={label}" for target, labels in enumerate(classes) for label in labels)
    names = tuple(str(label) for label in classes)
    if kind == "decision" and len(names) == 2:
        return names[1:]
    if kind == "decision" and getattr(final, "decision_function_shape", None) == "ovo":
        return None  # one column a pair of classes
    return names


def _columns(estimator: Any) -> tuple[str, ...] | None:
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        return None
    columns = tuple(str(name) for name in names)
    invented = tuple(f"Column_{i}" for i in range(len(columns)))  # older LightGBM gives these out when it was fitted on an array
    return None if _package(final_step(estimator)) == "lightgbm" and columns == invented else columns


def _refuse_unfitted(estimator: Any, name: str) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    # a class of the user's own may keep its state elsewhere, and is taken at its word
    if _package(estimator) not in _CHECKED or _package(final_step(estimator)) not in _CHECKED:
        return
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise InputError(f"{name} is not fitted; call its fit first") from None


def _fingerprint(estimator: Any, output: str) -> str | None:
    """Hash of the estimator's whole state, parameters such as n_jobs included, or None if it cannot be pickled (it holds a lambda, say).

    A fitted estimator and the same one loaded from a file hash differently (strides of empty arrays, order of attributes); after one
    more round trip they are alike.
    """
    import joblib

    try:
        loaded = pickle.loads(pickle.dumps(estimator))  # noqa: S301 - our own bytes, made on this line
    except (pickle.PicklingError, TypeError, AttributeError, NotImplementedError, RuntimeError):
        return None
    return f"sklearn:{output}:{joblib.hash(loaded)}"
