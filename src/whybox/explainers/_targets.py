"""Which outputs of the model are explained."""

from __future__ import annotations

from typing import Any

import numpy as np

from whybox.errors import OptionError, OutputShapeError
from whybox.typing import Floats, Ints, Model, Target


def check_names(model: Model, k: int) -> None:
    """One name an output.

    Raises:
        OutputShapeError: the model has another number of outputs than names.
    """
    names = model.output_names
    if names is not None and len(names) != k:
        raise OutputShapeError(f"{model.name}: has {len(names)} output names {list(names)[:5]} and answers with {k} outputs a row")


def resolve_target(target: Target, full: Floats, model: Model) -> tuple[Any, Ints | None]:
    """Which output each distinct row explains: None for all, otherwise (u,) positions.

    Raises:
        OptionError: an unknown name, or a position that does not exist.
    """
    n, k = full.shape
    if target is None:
        return None, None
    if isinstance(target, str) and target == "predicted":
        return "predicted", np.argmax(full, axis=1).astype(np.int64)
    if isinstance(target, str):
        names = model.output_names or ()
        if target not in names:
            raise OptionError(f'target: {target!r} is no output; expected "predicted", a position below {k}, or one of {list(names)}')
        return target, np.full(n, names.index(target), dtype=np.int64)
    if isinstance(target, (int, np.integer)) and not isinstance(target, bool):
        if not -k <= target < k:
            raise OptionError(f"target: the model has {k} outputs, got position {target}{_meant(target, model)}")
        found, named = (model.output_names or ("",) * k)[target], str(int(target))
        if named in (model.output_names or ()) and found != named:  # classes 1, 2, 3, or -1 and 1
            raise OptionError(
                f"target: position {target} is output {found!r}, and another output is named {named!r}; pass the name you mean"
            )
        return int(target), np.full(n, int(target) % k, dtype=np.int64)
    got = repr(target) if isinstance(target, (bool, np.bool_, float)) else f"a {type(target).__name__}"
    several = "; each call explains one output or all of them" if np.ndim(target) else ""
    raise OptionError(
        f'target: expected None, "predicted", an output\'s name or position, got {got}{several}{_meant(target, model)}{_named(model)}'
    )


def _meant(target: Any, model: Model) -> str:
    """The output whose name is how this prints, where there is one: a class label."""
    names = model.output_names or ()
    found = [name for name in names if np.ndim(target) == 0 and name == str(target)]
    return f"; for the class pass its name: target={found[0]!r}" if found else ""


def _named(model: Model) -> str:
    names = model.output_names
    return "" if not names else f"; the outputs are {', '.join(map(repr, names[:8]))}{', ...' if len(names) > 8 else ''}"
