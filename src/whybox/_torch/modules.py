"""Torch modules: their modes during a call, their devices and dtypes, and what identifies them."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Any

from whybox.errors import OptionError

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import Module

_lock = threading.Lock()
_paused: dict[int, tuple[Module, int]] = {}  # submodules taken out of training mode now, and by how many calls


@contextmanager
def evaluating(module: Module) -> Iterator[None]:
    """Every submodule in eval mode; afterwards each has its own flag back, also after an exception.

    Flags are set one by one rather than by ``eval()``, which some modules override with lasting effects (merging adapters into weights)
    or refuse (exported graphs). Calls are counted, so that a thread that is done does not switch training on under one that is not.
    """
    held: list[Module] = []
    try:
        with _lock:
            for sub in module.modules():
                if sub.training or id(sub) in _paused:
                    _paused[id(sub)] = (sub, _paused.get(id(sub), (sub, 0))[1] + 1)
                    held.append(sub)
                    sub.training = False
        yield
    finally:
        with _lock:
            for sub in held:
                count = _paused[id(sub)][1] - 1
                if count:
                    _paused[id(sub)] = (sub, count)
                else:
                    del _paused[id(sub)]
                    sub.training = True


def first_tensor(module: Module) -> Tensor | None:
    """The first parameter or buffer, which tells where the module is; None without any."""
    return next(chain(module.parameters(), module.buffers()), None)


def dtype_named(dtype: Any) -> torch.dtype | None:
    """A torch dtype from its name, such as "bfloat16"; torch dtypes and None come back as they are.

    Raises:
        OptionError: no floating dtype has this name.
    """
    import torch

    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found is not None and not (isinstance(found, torch.dtype) and found.is_floating_point):
        found = None
    if found is None and dtype is not None:
        raise OptionError(f'dtype: expected a floating dtype such as "bfloat16" or torch.bfloat16, got {dtype!r}')
    return found


def half_precision(module: Module, dtype: torch.dtype | None) -> bool:
    """Whether the module computes in 16 bits or fewer: in its own weights, or under autocast to a dtype."""
    here = first_tensor(module)
    return any(d is not None and d.is_floating_point and d.itemsize <= 2 for d in (dtype, None if here is None else here.dtype))


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    """Matrix products in another dtype, while weights stay what they are; None changes nothing."""
    import torch

    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def module_digest(module: Module) -> str:
    """Hash of weights, buffers and the printed structure. The code of ``forward`` is not part of it."""
    import torch

    digest = hashlib.sha256()
    structure = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(module))
    digest.update(f"{type(module).__module__}.{type(module).__qualname__}\n{structure}".encode())
    for key, value in sorted(module.state_dict().items()):
        digest.update(f"\n{key} ".encode())
        if isinstance(value, torch.Tensor):
            digest.update(f"{value.dtype} {tuple(value.shape)} ".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()
