"""Objects that make a Model of themselves: this library's own adapters with settings, and anyone else's."""

from __future__ import annotations

from typing import Any

from whybox.errors import InputError, OptionError
from whybox.models._options import Options, type_name
from whybox.typing import Model, ModelSource


def matches(obj: Any) -> bool:
    """Whether the object has ``to_model`` and is not a class."""
    return not isinstance(obj, type) and isinstance(obj, ModelSource)


def adapt(obj: ModelSource, options: Options) -> Model:
    """The object's own Model.

    Raises:
        OptionError: device or dtype were given here rather than to the object.
        InputError: ``to_model`` returned something else.
    """
    name = type_name(obj)
    if options.device is not None or options.dtype is not None:
        raise OptionError(f"device and dtype: {name} makes its own model; give them to {name} itself")
    model = obj.to_model(options.output)
    if not isinstance(model, Model):
        raise InputError(f"{name}.to_model returned {type_name(model)}; expected a whybox.typing.Model")
    return model
