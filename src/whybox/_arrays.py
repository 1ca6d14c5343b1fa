"""The only file that knows array libraries (NumPy, torch, CuPy, array_api_strict) and containers of rows; devices are in ``_devices``.

A library is looked at only if it has already been imported by the caller: nothing here imports torch or pandas on its own account.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from whybox._cells import cell_texts
from whybox.errors import InputError, RemoteError
from whybox.typing import Array, Rows

__all__ = [
    "cell_hashes",
    "concat_rows",
    "detached",
    "is_array",
    "is_frame",
    "is_numpy",
    "is_out_of_memory",
    "is_series",
    "is_sparse",
    "is_torch",
    "mix",
    "namespace",
    "on_accelerator",
    "promote",
    "row_digests",
    "row_nbytes",
    "take_rows",
    "to_numpy",
    "value_bits",
]


# What allocators say: torch (CPU and CUDA), cuBLAS, C++ libraries such as XGBoost and LightGBM, and XLA.
_MESSAGES = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|not enough memory|unable to allocate|bad_alloc|bad allocation"
    r"|CUBLAS_STATUS_ALLOC_FAILED|RESOURCE_EXHAUSTED",
    re.IGNORECASE,
)


def is_numpy(x: object) -> TypeGuard[NDArray[Any]]:
    """Whether x is a NumPy array."""
    return isinstance(x, np.ndarray)


def is_torch(x: object) -> bool:
    """Whether x is a torch tensor; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def is_frame(x: object) -> bool:
    """Whether x is a pandas DataFrame; pandas is not imported to find out."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(x, pandas.DataFrame)


def is_series(x: object) -> bool:
    """Whether x is a pandas Series; pandas is not imported to find out."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(x, pandas.Series)


def is_sparse(x: object) -> bool:
    """Whether x is a SciPy sparse matrix or array; SciPy is not imported to find out."""
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(x))


def is_array(x: object) -> bool:
    """Whether x is an array of a library that follows the array API standard."""
    return is_numpy(x) or is_torch(x) or hasattr(type(x), "__array_namespace__")


def namespace(x: Array) -> Any:
    """The array API namespace of x.

    Example:
        >>> namespace(np.zeros(3)).__name__.startswith(("numpy", "array_api_compat"))
        True
    """
    import array_api_compat

    return array_api_compat.array_namespace(x)


def to_numpy(x: Array) -> NDArray[Any]:
    """x as a NumPy array on the host, dtype kept (bfloat16, which NumPy lacks, widens exactly to float32)."""
    if is_numpy(x):
        return x
    if is_torch(x):
        x = x.detach()
        if str(x.dtype) == "torch.bfloat16":
            x = x.float()
        result: NDArray[Any] = x.resolve_conj().resolve_neg().cpu().numpy()
        return result
    if hasattr(x, "get") and type(x).__module__.split(".")[0] == "cupy":
        return np.asarray(x.get())
    if type(x).__module__.split(".")[0] == "array_api_strict":
        return np.asarray(np.from_dlpack(x.to_device(namespace(x).Device("CPU_DEVICE"))))
    return np.asarray(x)


def detached(x: Array) -> Array:
    """x without the history that torch keeps for gradients."""
    return x.detach() if is_torch(x) else x


def on_accelerator(x: object) -> bool:
    """Whether x is an array whose memory is not the host's."""
    if is_numpy(x) or not is_array(x):
        return False
    if is_torch(x):
        return str(x.device.type) not in ("cpu", "mps")  # type: ignore[attr-defined]  # mps has no float64: it answers on the host
    return type(x).__module__.split(".")[0] == "cupy"


def take_rows(rows: Rows, index: NDArray[np.int64]) -> Rows:
    """Chosen rows of any container of rows, as a copy."""
    if is_frame(rows):
        return rows.iloc[index].reset_index(drop=True)
    if is_numpy(rows):
        return rows[index]
    if is_torch(rows):
        torch = sys.modules["torch"]
        return rows[torch.from_numpy(np.ascontiguousarray(index)).to(rows.device)]
    if is_array(rows):
        xp = namespace(rows)
        return xp.take(rows, xp.asarray(index, device=rows.device), axis=0)
    return [rows[i] for i in index.tolist()]


def concat_rows(parts: Sequence[Rows]) -> Rows:
    """Containers of rows of one kind, one after the other."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    if is_frame(first):
        return sys.modules["pandas"].concat(parts, ignore_index=True)
    if is_array(first):
        return np.concatenate(parts) if is_numpy(first) else namespace(first).concat(list(parts), axis=0)
    return [row for part in parts for row in part]


def row_nbytes(rows: Rows) -> int:
    """Bytes of one row, at least 1; for texts the mean number of characters, for a list of arrays the mean of theirs."""
    n = len(rows) if not is_array(rows) else int(rows.shape[0])
    if n == 0:
        return 1
    if is_frame(rows):
        return max(int(rows.memory_usage(index=False, deep=False).sum()) // n, 1)
    if is_array(rows):
        itemsize = rows.dtype.itemsize if is_numpy(rows) or is_torch(rows) else 8
        return max(int(np.prod(rows.shape[1:], dtype=np.int64)) * int(itemsize), 1)
    if is_array(rows[0]):  # images of several shapes
        return max(sum(row_nbytes(row[None, ...]) for row in rows) // n, 1)
    return max(sum(map(len, rows)) // n, 1) if isinstance(rows[0], str) else 64


def promote(a: NDArray[Any], b: NDArray[Any], what: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both arrays in a dtype that holds every value of both exactly.

    Args:
        a: any shape.
        b: any shape.
        what: names both for the message.

    Raises:
        InputError: no dtype holds both exactly, such as int64 above 2**53 beside fractions.

    Example:
        >>> a, b = promote(np.array([1, 2]), np.array([0.5]), "x and background")
        >>> a.dtype == b.dtype == np.float64
        True
    """
    if a.dtype == b.dtype:
        return a, b
    if "O" in (a.dtype.kind, b.dtype.kind) or a.dtype.kind in "US" or b.dtype.kind in "US":
        if a.dtype.kind in "US" and b.dtype.kind in "US":
            common = np.result_type(a.dtype, b.dtype)
            return a.astype(common), b.astype(common)
        return a.astype(object), b.astype(object)
    try:
        common = np.result_type(a.dtype, b.dtype)
    except TypeError as exc:
        raise InputError(f"{what}: dtypes {a.dtype} and {b.dtype} have no common dtype; convert one of them") from exc
    out = []
    for array in (a, b):
        cast = array.astype(common)
        with np.errstate(all="ignore"):
            back = (cast.real if cast.dtype.kind == "c" and array.dtype.kind != "c" else cast).astype(array.dtype)
        same = (back == array) | ((array != array) & (cast != cast))
        if not bool(np.all(same)):
            raise InputError(
                f"{what}: {array.dtype} values such as {array[~same].ravel()[0]!r} cannot be held exactly by {common}, the common "
                f"dtype of {a.dtype} and {b.dtype}; convert both to one dtype before explaining"
            )
        out.append(cast)
    return out[0], out[1]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a call failed for want of memory, so that half the batch may pass.

    Args:
        error: what the model raised. The exceptions that it was explicitly raised from are looked at as well.

    Returns:
        True for MemoryError, torch's OutOfMemoryError, and any other Exception whose message says that memory could not be had.

    Example:
        >>> is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")), is_out_of_memory(ValueError("bad row"))
        (True, False)
    """
    torch_error = getattr(sys.modules.get("torch"), "OutOfMemoryError", None)  # torch cannot have raised it without being loaded
    if isinstance(error, RemoteError):  # another machine's memory: the size of a request decides, not that of the batch
        return False
    seen: set[int] = set()
    link: BaseException | None = error
    while isinstance(link, Exception) and id(link) not in seen:
        if isinstance(link, MemoryError) or (torch_error is not None and isinstance(link, torch_error)) or _MESSAGES.search(str(link)):
            return True
        seen.add(id(link))
        link = link.__cause__
    return False


def mix(bits: NDArray[np.uint64], salt: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): spreads bits so that sums of cells collide only by chance, 1 in 2**128."""
    with np.errstate(over="ignore"):
        z = bits + salt
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def cell_hashes(codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(rows, d) cells to (rows, d, 2) hashes, other for each column."""
    columns = np.arange(codes.shape[1], dtype=np.uint64)
    halves = []
    for half in (1, 2):
        salt = mix(columns * np.uint64(2) + np.uint64(half), np.uint64(0x9E3779B97F4A7C15 * half % 2**64))
        halves.append(mix(mix(codes, salt), salt))
    return np.stack(halves, axis=-1)


def value_bits(a: NDArray[Any]) -> NDArray[np.uint64]:
    """Fixed-width values as integers, equal exactly when the bits are."""
    a = np.ascontiguousarray(a)
    if a.dtype == bool:
        return a.astype(np.uint64)
    return a.view(f"u{a.dtype.itemsize}").astype(np.uint64, copy=False)


def row_digests(rows: Rows) -> NDArray[np.uint64]:
    """(n, 2) 128-bit digests of rows by content, the same in every process; equal for identical rows of one dtype.

    Args:
        rows: array, DataFrame, or sequence of texts or other objects.

    Raises:
        InputError: an object can be told apart by its address only.
    """
    if is_frame(rows):
        pandas = sys.modules["pandas"]
        keys = ("0123456789abcdef", "fedcba9876543210")
        told = _told(rows)
        halves = [pandas.util.hash_pandas_object(told, index=False, hash_key=key, categorize=True).to_numpy() for key in keys]
        kinds = _text_digest(repr([(str(name), str(dtype)) for name, dtype in rows.dtypes.items()]))
        return np.stack(halves, axis=1).astype(np.uint64) ^ kinds
    if is_array(rows):
        host = to_numpy(rows)
        if host.dtype.kind in "biufmM" and host.dtype.itemsize <= 8:
            cells = value_bits(host).reshape(len(host), -1)
            return np.asarray(cell_hashes(cells).sum(axis=1, dtype=np.uint64)) ^ _text_digest(repr((host.dtype.str, host.shape[1:])))
        rows = host.tolist()
    return np.stack([_text_digest(text) for text in cell_texts(rows, lasting=True)])


def _told(frame: Any) -> Any:
    """A frame with the objects in it as texts, because pandas hashes 1, 1.0 and True, and 1 and "1" in one column, alike."""
    from pandas.api import types

    told = {}
    for j, dtype in enumerate(frame.dtypes):
        column = frame.iloc[:, j]
        objects = types.is_object_dtype(dtype) or (hasattr(dtype, "categories") and types.is_object_dtype(dtype.categories.dtype))
        told[j] = cell_texts(column, lasting=True) if objects else column
    return sys.modules["pandas"].DataFrame(told, index=frame.index)


def _text_digest(text: str) -> NDArray[np.uint64]:
    return np.frombuffer(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16], dtype=np.uint64)
