"""Segments bound to images: codes to composed images, keys, and where each segment lies."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import cell_hashes, concat_rows, is_array, is_numpy, is_torch, namespace, value_bits
from whybox._devices import send
from whybox.spaces._blocks import blocks
from whybox.spaces._canvas import Canvas, Layout, canvas
from whybox.spaces._fills import Fill
from whybox.spaces._images import Images
from whybox.spaces._label_maps import LabelMap, tree
from whybox.spaces.marginal import average
from whybox.typing import Array, Ask, Floats, Ints, Model, Rows

_HELD_BYTES = 128 << 20
_Hashes = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]


@dataclass(frozen=True)
class Pixels:
    """Images ready to be composed: the explained ones and what fills them, as cells of one canvas.

    Args:
        canvas: their library and shape.
        kept: (n_i, b or 1, cells), as :meth:`Canvas.against` gives them.
        filled: (n_i or 1, b, cells).
    """

    canvas: Canvas
    kept: Array
    filled: Array


@dataclass(frozen=True)
class SegmentsBound:
    """A segments space bound to images, see :class:`whybox.typing.Bound`.

    Args:
        images: the explained images as they came.
        placed: the same where the model wants them: an array, or a list where shapes differ.
        maps: one label map for all images, or one for each.
        fill: what stands in for a segment that is left out.
        model: for its place.
    """

    images: Images
    placed: Any
    maps: tuple[LabelMap, ...]
    fill: Fill
    model: Model
    members: None = None
    design: Literal["bernoulli"] = "bernoulli"
    kernel_width: float = 0.25
    _held: dict[int, Pixels] = field(default_factory=dict, repr=False, compare=False)
    _filled: dict[int, Array] = field(default_factory=dict, repr=False, compare=False)
    _layouts: dict[int, Layout] = field(default_factory=dict, repr=False, compare=False)
    _hashes: dict[int, _Hashes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def n(self) -> int:
        """Images."""
        return self.images.n

    @property
    def draws(self) -> int:
        """Background images."""
        return self.fill.draws

    @property
    def shared_empty(self) -> bool:
        """Whether nothing of an image is left where every segment is left out."""
        return self._one_map and self.fill.given is not None and bool((self.maps[0].labels >= 0).all())

    @property
    def _one_map(self) -> bool:
        return len(self.maps) == 1 and not isinstance(self.images.items, list)

    def _map(self, instance: int) -> LabelMap:
        return self.maps[instance if len(self.maps) > 1 else 0]

    def n_features(self, instance: int) -> int:
        """Segments of an image."""
        return self._map(instance).d

    def feature_names(self, instance: int) -> tuple[str, ...]:
        """Names of an image's segments."""
        return self._map(instance).names

    def inputs(self, instance: int) -> NDArray[Any]:
        """(h, w) or (h, w, c) the image, channels last."""
        return self.images.host(instance)

    def data(self, instance: int) -> NDArray[Any]:
        """(d,) mean pixel of each segment, over all channels."""
        found, image = self._map(instance), self.images.host(instance)
        pixels = image.reshape(found.labels.size, -1).mean(axis=1, dtype=np.float64)
        at = found.labels.reshape(-1)
        return np.bincount(at[at >= 0], weights=pixels[at >= 0], minlength=found.d) / np.bincount(at[at >= 0], minlength=found.d)

    def marks(self, instance: int) -> Ints:
        """(h, w) the segment of each pixel; -1 where a pixel belongs to none."""
        return self._map(instance).labels

    def tree(self, instance: int) -> Any:
        """Segments in nested halves, cut across the longer side; leaves are positions of segments."""
        found = self._map(instance)
        return tree(found.labels, found.d)

    def plain(self, start: int, stop: int) -> Rows:
        """Explained images as the model takes them."""
        if isinstance(self.placed, list):
            return [_copy(image) for image in self.placed[start:stop]]
        return self.placed[start:stop, ...]

    def row_keys(self) -> NDArray[np.uint64] | None:
        """Digests of the images, and of their label maps where each has its own."""
        keys = np.empty((self.n, 2), dtype=np.uint64)
        for i in range(self.n):
            image = self.images.raw(i)
            state = hashlib.blake2b(repr((image.shape, image.dtype.str)).encode(), digest_size=16)
            state.update(image.tobytes())
            if len(self.maps) > 1:
                state.update(self.maps[i].labels.tobytes())
            keys[i] = np.frombuffer(state.digest(), dtype=np.uint64)
        return keys

    def digest(self) -> str:
        """Identifies images, segments and fill."""
        keys = self.row_keys()
        assert keys is not None
        state = hashlib.sha256(keys.tobytes())
        for found in self.maps:
            state.update(repr((found.labels.shape, found.names)).encode())
            state.update(found.labels.tobytes())
        state.update(repr((self.fill.kind, self.draws, self.images.channels)).encode())
        if self.fill.given is not None:
            state.update(np.ascontiguousarray(self.fill.given).tobytes())
        return state.hexdigest()

    def compose(self, ask: Ask, start: int, stop: int) -> Rows:
        """Images start to stop of an ask."""
        parts = []
        for rows, codes, draws in blocks(start, stop, len(ask.codes), self.draws):
            instances = ask.instances[rows]
            for some in [instances] if self._one_map else np.split(instances, len(instances)):
                pixels, layout = self._pixels(some, draws), self._layout(int(some[0]))
                mask = pixels.canvas.mask(ask.codes[codes], layout)
                made = pixels.canvas.choose(mask[None, :, None, :], pixels.kept[:, None, ...], pixels.filled[:, None, ...])
                parts.append(self._rows(pixels.canvas, made))
        return concat_rows(parts)

    def take(self, ask: Ask, index: Ints) -> Rows:
        """Chosen images of an ask, an instance after the other."""
        code, draw = np.divmod(index, self.draws)
        instance, code = np.divmod(code, len(ask.codes))
        parts = []
        for position in np.unique(instance):
            at = instance == position
            i = int(ask.instances[position])
            pixels = self._pixels(np.array([i]), slice(0, self.draws))
            mask = pixels.canvas.mask(ask.codes[code[at]], self._layout(i))
            kept, filled = (_drawn(part[0, ...], draw[at]) for part in (pixels.kept, pixels.filled))
            parts.append(self._rows(pixels.canvas, pixels.canvas.choose(mask, kept, filled)))
        return concat_rows(parts)

    def _rows(self, drawn: Canvas, cells: Array) -> Rows:
        rows = drawn.rows(cells)
        return list(rows) if isinstance(self.placed, list) else rows

    def _pixels(self, instances: Ints, draws: slice) -> Pixels:
        """Explained and filling cells of instances that share canvas and label map; those of a single image are held for the next batch."""
        first, alone = int(instances[0]), len(instances) == 1
        if not alone or first not in self._held:
            like = self.placed[first] if isinstance(self.placed, list) else self.placed
            drawn = canvas(like, tuple(like.shape) if isinstance(self.placed, list) else tuple(like.shape[1:]))
            filled = [self._filling(int(i), drawn) for i in (instances[:1] if self.fill.given is not None else instances)]
            stacked = filled[0][None, ...] if len(filled) == 1 else namespace(filled[0]).stack(filled)
            found = Pixels(drawn, drawn.against(drawn.cells(self._some(instances)), stacked), stacked)
            if not alone:
                return _cut(found, draws)
            self._held.clear()
            self._held[first] = found
        return _cut(self._held[first], draws)

    def _some(self, instances: Ints) -> Array:
        """Placed images, stacked."""
        first = int(instances[0])
        if isinstance(self.placed, list):
            return self.placed[first][None, ...]
        if len(instances) == 1:
            return self.placed[first : first + 1, ...]
        if is_numpy(self.placed):
            return self.placed[instances]
        return namespace(self.placed).take(self.placed, send(instances, self.placed), axis=0)

    def _filling(self, i: int, drawn: Canvas) -> Array:
        """(b, cells) what fills image i, held for the next batch within a byte limit."""
        at = 0 if self.fill.given is not None and self._one_map else i
        if at not in self._filled:
            host = self.fill.of(self.images, i, self._map(i))
            like = self.placed[i] if isinstance(self.placed, list) else self.placed
            made = drawn.cells(_placed_like(host, like, self.model))
            if is_numpy(made) and len(self._filled) * host.nbytes > _HELD_BYTES:  # what a device may still be reading stays
                self._filled.clear()
            self._filled[at] = made
        return self._filled[at]

    def _layout(self, i: int) -> Layout:
        """Segments of the cells of image i."""
        at = i if len(self.maps) > 1 else 0
        if at not in self._layouts:
            found, shape = self._map(i), self.images.raw(i).shape
            labels = np.where(found.labels >= 0, found.labels, found.d)
            spread = labels[..., None] if self.images.channels == "last" else labels
            if len(self._layouts) * labels.nbytes > _HELD_BYTES:
                self._layouts.clear()
            self._layouts[at] = Layout(np.broadcast_to(spread, shape).reshape(-1), found.d)
        return self._layouts[at]

    def keys(self, ask: Ask) -> NDArray[np.uint64] | None:
        """A row's key is the sum of its segments' hashes, kept or filled: segments that the fill leaves as they are make no difference."""
        n, m, b = len(ask.instances), len(ask.codes), self.draws
        keys = np.empty((n, m, b, 2), dtype=np.uint64)
        on = ask.codes.astype(np.uint64)
        off = np.uint64(1) - on
        for position, i in enumerate(ask.instances.tolist()):
            kept, filled, fixed = self._hashed(i)
            for half in (0, 1):
                keys[position, :, :, half] = (on @ kept[:, half])[:, None] + off @ filled[:, :, half].T + fixed[half]
        return keys.reshape(-1, 2)

    def _hashed(self, i: int) -> _Hashes:
        """Hashes of image i: (d, 2) of its segments, (b, d, 2) of what fills them, (2,) of the rest."""
        if i not in self._hashes:
            image, layout = self.images.raw(i), self._layout(i)
            order = np.argsort(layout.cells, kind="stable")
            starts = np.searchsorted(layout.cells[order], np.arange(layout.d + 1))
            starts = starts[: layout.d + bool(starts[-1] < len(order))]

            def sums(cells: NDArray[Any]) -> NDArray[np.uint64]:
                cells = cells.reshape(-1)
                if self._one_map:  # identical rows have identical segments
                    pieces = np.split(cells[order], starts[1:])
                    digests = (hashlib.blake2b(piece.tobytes(), digest_size=16, key=b"%d" % j) for j, piece in enumerate(pieces))
                    return np.frombuffer(b"".join(digest.digest() for digest in digests), dtype=np.uint64).reshape(-1, 2)
                return np.add.reduceat(cell_hashes(value_bits(cells[None]))[0, order], starts, axis=0)

            kept = sums(image)
            filled = np.stack([sums(one) for one in self.fill.of(self.images, i, self._map(i))])
            shape = hashlib.blake2b(repr(image.shape).encode(), digest_size=16).digest()
            fixed = kept[layout.d :].sum(axis=0, dtype=np.uint64) + np.frombuffer(shape, dtype=np.uint64)
            self._hashes[i] = kept[: layout.d], filled[:, : layout.d], fixed
        return self._hashes[i]

    def fold(self, ask: Ask, outputs: Floats) -> Floats:
        """Mean over the background images."""
        return average(outputs)


def _cut(pixels: Pixels, draws: slice) -> Pixels:
    """Some of the draws."""
    b = pixels.filled.shape[1]
    if draws == slice(0, b):
        return pixels
    kept = pixels.kept[:, draws, :] if pixels.kept.shape[1] == b else pixels.kept
    return Pixels(pixels.canvas, kept, pixels.filled[:, draws, :])


def _drawn(cells: Array, draw: Ints) -> Array:
    """Cells (b, cells) of the draw of each row; what is the same for all draws stays one."""
    if cells.shape[0] == 1:
        return cells
    return cells[draw] if is_numpy(cells) else namespace(cells).take(cells, send(draw, cells), axis=0)


def _copy(image: Array) -> Array:
    return image.clone() if is_torch(image) else namespace(image).asarray(image, copy=True)


def _placed_like(host: NDArray[Any], like: Array, model: Model) -> Array:
    """A host array in the library, dtype and device of the placed images."""
    if is_numpy(like):
        return host
    if model.place is not None:
        placed = model.place(np.array(host))
        return placed if not is_torch(placed) else placed.to(like.dtype)
    return send(host, like, like.dtype)


def place(images: Images, model: Model) -> Any:
    """The images where the model wants them."""
    if model.place is None:
        return images.items
    if isinstance(images.items, list):
        return [model.place(image) for image in images.items]
    assert is_array(images.items)
    return model.place(images.items)
