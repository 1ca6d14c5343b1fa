"""What tells one explainer from another: a digest of its settings and of its model's version, the same in every process."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Set
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from whybox._arrays import is_array, is_frame, is_series, row_digests, to_numpy
from whybox.engine import Engine
from whybox.errors import InputError, WhyboxError
from whybox.models import as_model
from whybox.typing import Model

_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic)


class UnidentifiedModelWarning(UserWarning):
    """Nothing tells the explainer's model from another one, so a job that goes on cannot notice that the model has changed."""


class UnidentifiedError(Exception):
    """An object has no content that a digest could be made of: a function, an open connection."""


@dataclass(frozen=True)
class Identity:
    """What an explainer is, for a job that goes on another day.

    Args:
        method: the explainer's class.
        model: the model's name and version; None if nothing identifies the model.
        settings: digest of everything else; None if something in it cannot be told apart.
    """

    method: str
    model: str | None
    settings: str | None

    @staticmethod
    def of(explainer: Any) -> Identity:
        """The identity of an explainer, computed from its present content."""
        method = f"{type(explainer).__module__}.{type(explainer).__qualname__}"
        try:
            version, skip = _model(explainer), ("model",) if hasattr(explainer, "model") else ()
        except UnidentifiedError:
            version, skip = None, ("model",)
        try:
            settings = digest(explainer, skip=skip)
        except UnidentifiedError:
            settings = None
        return Identity(method, version if skip else "part of the settings", settings)


def model_of(explainer: Any) -> Model | None:
    """The explainer's model as the engine calls it; None for one of a kind that only this explainer knows."""
    try:
        return as_model(explainer.model, output=getattr(explainer, "output", "auto"))
    except (AttributeError, WhyboxError):
        return None


def _model(explainer: Any) -> str | None:
    if not hasattr(explainer, "model"):
        return None
    try:
        model = as_model(explainer.model, output=getattr(explainer, "output", "auto"))
    except WhyboxError as error:  # a model of a kind that only this explainer knows
        try:
            return digest(explainer.model)
        except UnidentifiedError:
            raise UnidentifiedError(str(error)) from error
    version = model.identity()
    return None if version is None else f"{model.name} {model.kind} {version}"


def digest(value: Any, *, skip: tuple[str, ...] = ()) -> str:
    """SHA-256 of an object's content.

    Args:
        value: numbers, texts, arrays, frames, containers and dataclasses of these; anything else that can be pickled.
        skip: fields of a dataclass, or attributes, that do not count.

    Raises:
        UnidentifiedError: it holds a function, or something that cannot be pickled.
    """
    state = hashlib.sha256()
    _feed(state, value, skip)
    return state.hexdigest()


def _feed(state: Any, value: Any, skip: tuple[str, ...] = ()) -> None:
    state.update(f"\n{type(value).__module__}.{type(value).__qualname__} ".encode())
    if isinstance(value, _PLAIN):
        state.update(repr(value).encode())
    elif isinstance(value, type):
        state.update(f"{value.__module__}.{value.__qualname__}".encode())
    elif isinstance(value, Engine):
        state.update(repr(value.on_nan).encode())  # the rest says how the model is called, not what comes out
    elif isinstance(value, Model):
        _feed(state, value.identity() or _nothing(value))
    elif is_frame(value) or is_series(value):
        frame = value.to_frame() if is_series(value) else value
        state.update(repr([(str(name), str(kind)) for name, kind in frame.dtypes.items()]).encode())
        state.update(_rows(frame))
    elif is_array(value):
        host = to_numpy(value)
        state.update(repr((host.dtype.str, host.shape)).encode())
        if not host.dtype.hasobject:
            state.update(np.ascontiguousarray(host).data if host.size else b"")
        else:
            state.update(_rows(host.reshape(len(host), -1)))
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            _feed(state, key)
            _feed(state, value[key])
    elif isinstance(value, (tuple, list)):
        for item in value:
            _feed(state, item)
        state.update(f" {len(value)}".encode())
    elif isinstance(value, Set):
        _feed(state, sorted(value, key=repr))
    elif is_dataclass(value):
        for item in fields(value):
            if item.name not in skip:
                state.update(f"\n{item.name}".encode())
                _feed(state, getattr(value, item.name))
    else:
        _feed_object(state, value, skip)


def _rows(rows: Any) -> bytes:
    try:
        return row_digests(rows).tobytes() if len(rows) else b""
    except InputError as error:  # objects that only their address tells apart
        raise UnidentifiedError(str(error)) from error


def _feed_object(state: Any, value: Any, skip: tuple[str, ...]) -> None:
    """Anything else: the version that a model has, or the hash of what pickle sees."""
    import joblib

    if skip and hasattr(value, "__dict__"):
        _feed(state, {name: item for name, item in vars(value).items() if name not in skip})
        return
    if callable(value) and not hasattr(value, "__dict__"):
        _nothing(value)
    if getattr(value, "__code__", None) is not None:  # its code can be the same while what it calls is another
        _nothing(value)
    try:
        loaded = pickle.loads(pickle.dumps(value))  # noqa: S301  # our own bytes, made on this line; one round trip makes hashes alike
    except Exception as error:
        raise UnidentifiedError(f"{type(value).__name__} cannot be pickled: {error}") from error
    state.update(str(joblib.hash(loaded)).encode())


def _nothing(value: Any) -> Any:
    raise UnidentifiedError(f"nothing identifies the content of {type(value).__name__}")
