"""Plain functions and other callables: called as they are."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from whybox.errors import InputError
from whybox.models._options import Options, type_name
from whybox.typing import Model


def matches(obj: Any) -> bool:
    """Whether the object can be called and is not a class."""
    return callable(obj) and not isinstance(obj, type)


def adapt(obj: Any, options: Options) -> Model:
    """A Model that calls the function itself.

    Nothing is known about a function's outputs, so ``output`` only declares what they are. A function has no fingerprint of its own:
    its code can be the same while the model that it calls is another; pass ``version=`` to :func:`whybox.as_model`.

    Args:
        obj: the function: rows in, one output a row out.
        options: device and dtype are refused.

    Raises:
        InputError: the function is a coroutine or a generator function, which answers with something other than outputs.
    """
    name = _name(obj)
    options.refuse_placement(name)
    for function in (obj, type(obj).__call__):
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise InputError(
                f"{name} is an async or generator function; expected one that returns its outputs. "
                "Wrap it, for example: lambda rows: asyncio.run(f(rows))"
            )
    return Model(predict=obj, name=name, kind="unknown" if options.output == "auto" else options.output)


def _name(obj: Any) -> str:
    while isinstance(obj, functools.partial):
        obj = obj.func
    name = getattr(obj, "__qualname__", None)
    return name if isinstance(name, str) else type_name(obj)
