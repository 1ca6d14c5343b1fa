"""An explanation's numbers as arrays of the caller's library, on the caller's device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from whybox._arrays import is_array, is_frame, is_numpy
from whybox._devices import send
from whybox.errors import InputError
from whybox.typing import Array

if TYPE_CHECKING:
    from whybox.explanations.attribution import Attribution


class Arrays(NamedTuple):
    """What :meth:`Attribution.to_arrays` gives; shapes are those of the explanation.

    Args:
        values: attributions.
        base_values: what they start from.
        predictions: of the model.
        std_error: of each value, or None.
        data: the explained rows, or None where they are no numbers.
    """

    values: Array
    base_values: Array
    predictions: Array
    std_error: Array | None
    data: Array | None


def to_arrays(e: Attribution, like: Array, dtype: Any) -> Arrays:
    """See :meth:`Attribution.to_arrays`."""
    if not is_array(like):
        raise InputError(f"like: expected an array of the library and on the device that is wanted, got {type(like).__name__}")
    if e.ragged:
        raise InputError("to_arrays: each row has features of its own, so there is no array of all; take one row, e[0].to_arrays(like)")

    def there(host: Any) -> Any:
        host = np.array(host)
        return host.astype(host.dtype if dtype is None else dtype) if is_numpy(like) else send(host, like, dtype)

    numbers = e.data is not None and not is_frame(e.data) and e.data.dtype.kind in "biuf"
    return Arrays(
        there(e.values),
        there(e.base_values),
        there(e.predictions),
        None if e.std_error is None else there(e.std_error),
        there(e.data) if numbers else None,
    )
