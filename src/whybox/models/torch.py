"""Torch modules: rows become tensors where the module lives; eval mode and no_grad during the call, everything as it was afterwards.

torch is only looked up in ``sys.modules``: a module cannot exist before torch was imported.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from whybox._arrays import is_array, is_frame
from whybox._devices import carried
from whybox._torch import evaluating, first_tensor, module_digest
from whybox.errors import InputError, OptionError, SchemaError
from whybox.models._options import Options, type_name
from whybox.typing import Array, Model, Rows

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import Module


def matches(obj: Any) -> bool:
    """Whether the object is a torch module, without importing torch."""
    module_type = getattr(getattr(sys.modules.get("torch"), "nn", None), "Module", None)
    return module_type is not None and isinstance(obj, module_type)


def adapt(obj: Module, options: Options) -> Model:
    """A Model that calls a torch module and returns its raw output tensor.

    Rows are sent to the device of the module's first parameter. Floating rows are converted to the module's floating dtype (a float64
    table reaches a float32 module as float32); integers and booleans stay what they are, as embeddings need them, unless ``dtype`` says
    otherwise. Device and dtype are looked up at every call, so the module may be moved between calls.

    Args:
        obj: the module. It is neither moved nor changed.
        options: ``device`` is for modules without parameters; ``dtype`` converts every array, integers too.

    Raises:
        OptionError: output="probability" (a module does not say whether it ends in a softmax), or a device where the module is not.
    """
    import torch

    name = type_name(obj)
    if options.output == "probability":
        raise OptionError(
            f"{name} is a torch module: its raw output is explained, and whether that is a probability cannot be told. Leave output out; "
            "if it returns logits and probabilities are wanted, pass torch.nn.Sequential(module, torch.nn.Softmax(dim=1))"
        )
    if options.dtype is not None and not isinstance(options.dtype, torch.dtype):
        raise OptionError(f"dtype: expected a torch dtype such as torch.float32, got {options.dtype!r}")
    here = first_tensor(obj)
    device = None if options.device is None else torch.device(options.device)
    if device is not None and here is not None and not _same_device(device, here.device):
        raise OptionError(f"device: {name} is on {here.device}, not on {device}; move it yourself with module.to({str(device)!r})")
    call = TorchCall(obj, device=device, dtype=options.dtype)
    kind = "unknown" if options.output == "auto" else options.output
    return Model(predict=call, name=name, kind=kind, place=call.place, identify=call.fingerprint)


@dataclass(frozen=True, eq=False)
class TorchCall:
    """Calls a module on rows.

    Args:
        module: the module.
        device: where rows go if the module has no parameters or buffers.
        dtype: what every array is converted to, or None for the rule of :func:`adapt`.
    """

    module: Module
    device: torch.device | None = None
    dtype: torch.dtype | None = None

    def __call__(self, rows: Rows) -> Any:
        """The module's output for rows: arrays and numeric frames as tensors, anything else (texts, say) as it is."""
        import torch

        given = _numbers(rows) if is_frame(rows) else rows
        ready = self.place(given) if is_array(given) else given
        with evaluating(self.module), torch.no_grad():
            try:
                out = self.module(ready)
            except Exception as error:
                if isinstance(ready, torch.Tensor) and not ready.is_floating_point():
                    error.add_note(f"whybox: the rows are {ready.dtype}; if the module wants floats, pass dtype= to as_model")
                if isinstance(rows, list) and rows and isinstance(rows[0], str):
                    error.add_note("whybox: the rows are texts; for a model of transformers pass TransformersClassifier(model, tokenizer)")
                raise
        return out.detach() if isinstance(out, torch.Tensor) else out

    def place(self, array: Array) -> Tensor:
        """A tensor of an array's numbers on the module's device.

        NumPy memory is shared where neither dtype nor device changes and the array is writable and contiguous.

        Args:
            array: NumPy array, tensor, or another array that speaks DLPack.

        Raises:
            InputError: torch has no dtype for the array (objects, strings, dates).
        """
        tensor = _tensor(array)
        first = first_tensor(self.module)
        device = first.device if first is not None else self.device
        dtype = self.dtype
        if dtype is None and tensor.is_floating_point():
            dtype = _float_dtype(self.module)
        tensor = tensor if dtype is None else tensor.to(dtype)
        return tensor if device is None or device == tensor.device else carried(tensor, device)

    def fingerprint(self) -> str:
        """Hash of weights, buffers and the printed structure. The code of ``forward`` is not part of it."""
        return f"torch:{module_digest(self.module)}"


def _float_dtype(module: Module) -> torch.dtype | None:
    return next((t.dtype for t in chain(module.parameters(), module.buffers()) if t.is_floating_point()), None)


def _same_device(asked: torch.device, there: torch.device) -> bool:
    first: int | None = asked.index  # torch's own annotation leaves the None of a plain "cuda" out
    second: int | None = there.index
    return asked.type == there.type and (first is None or second is None or first == second)


def _tensor(array: Array) -> Tensor:
    import torch

    if isinstance(array, torch.Tensor):
        return array
    if not isinstance(array, np.ndarray):
        return torch.utils.dlpack.from_dlpack(array)
    if array.dtype.kind not in "biufc" or array.dtype.itemsize > 16 - 8 * (array.dtype.kind != "c"):
        raise InputError(
            f"a torch module takes numbers; got an array of dtype {array.dtype}. Encode the columns first, or pass a function that does"
        )
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    # torch warns of read-only memory and refuses negative strides; both are copied
    return torch.from_numpy(native if native.flags.writeable and native.flags.c_contiguous else native.copy(order="C"))


def _numbers(frame: Any) -> np.ndarray[Any, Any]:
    bad = [str(name) for name, dtype in frame.dtypes.items() if getattr(dtype, "kind", "O") not in "biuf"]
    if bad:
        raise SchemaError(
            f"a torch module takes numbers; columns {', '.join(bad[:5])} are not numeric. Encode them first, or pass a function that does"
        )
    if all(isinstance(dtype, np.dtype) for dtype in frame.dtypes):
        return np.array(frame.to_numpy())
    return np.asarray(frame.to_numpy(dtype=np.float64, na_value=np.nan))  # nullable columns: missing values become NaN
