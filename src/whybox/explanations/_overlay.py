"""An image with its segments coloured by their attributions, as pixels and as PNG. Needs no plotting library."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox.typing import Floats

Picture = NDArray[np.uint8]  # (h, w, 3)

# The ends of the plots' signed colours: blue and vermilion, told apart by every common form of colour blindness.
POSITIVE, NEGATIVE = (207, 79, 26), (31, 111, 184)
_DEEPEST = 0.82  # of a colour over the image, so that what the segment shows is never quite gone


def visible(image: NDArray[Any]) -> Floats:
    """An image as (h, w, 3) between 0 and 1, whatever its dtype, range and channels.

    Integers of one byte count to 255 and floats between 0 and 1 to 1; anything else is stretched from its least to its greatest pixel.
    Transparent pixels show white. Images of neither 1, 3 nor 4 channels show the mean of their channels.
    """
    wide = image.astype(np.float64)
    if image.dtype == np.uint8:
        wide /= 255.0
    elif image.size and not (np.nanmin(wide, initial=0.0) >= 0.0 and np.nanmax(wide, initial=1.0) <= 1.0):
        finite = wide[np.isfinite(wide)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        wide = (np.clip(wide, low, high) - low) / ((high - low) or 1.0)
    wide = np.where(np.isnan(wide), 0.5, wide)
    if wide.ndim == 3 and wide.shape[2] == 4:
        wide = wide[..., :3] * wide[..., 3:] + 1.0 - wide[..., 3:]
    if wide.ndim == 2 or wide.shape[2] != 3:
        grey = wide if wide.ndim == 2 else wide.mean(axis=2)
        wide = np.repeat(grey[..., None], 3, axis=2)
    return wide


def pixels(shown: Floats) -> Picture:
    """Numbers between 0 and 1 as bytes."""
    return np.rint(np.clip(shown, 0.0, 1.0) * 255.0).astype(np.uint8)


def spread(labels: NDArray[Any], values: Floats) -> Floats:
    """(h, w) the value of each pixel's segment; 0 where a pixel belongs to none, or the value is NaN."""
    known = np.append(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), 0.0)
    return np.asarray(known[labels])


def overlay(image: NDArray[Any], labels: NDArray[Any], values: Floats, limit: float) -> Picture:
    """The image in light grey, each segment tinted by its value: vermilion raises the output, blue lowers it.

    Args:
        image: (h, w) or (h, w, c).
        labels: (h, w) the position of each pixel's segment among the values, -1 for none.
        values: (d,) attributions.
        limit: the size of the deepest tint.
    """
    grey = visible(image) @ np.array([0.299, 0.587, 0.114])
    share = np.clip(spread(labels, values) / limit, -1.0, 1.0) if limit > 0 else np.zeros(labels.shape)
    tint = np.where((share > 0)[..., None], POSITIVE, NEGATIVE) / 255.0
    depth = (_DEEPEST * np.abs(share))[..., None]
    under = (0.66 + 0.32 * grey)[..., None]
    return pixels((1.0 - depth) * under + depth * tint * (0.9 + 0.2 * grey[..., None]))


def edges(labels: NDArray[Any], chosen: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """(h, w) the pixels of chosen segments that lie at most so many pixels from another segment, or from the border of the image."""
    padded = np.pad(labels, width, constant_values=-2)
    inner = labels >= 0
    h, w = labels.shape
    for down in range(-width, width + 1):
        for across in range(-width, width + 1):
            inner &= padded[width + down : width + down + h, width + across : width + across + w] == labels
    return np.asarray(np.append(chosen, False)[labels] & ~inner)


def strongest(image: NDArray[Any], labels: NDArray[Any], values: Floats, top: int) -> Picture:
    """The image with all but its strongest segments faded, and these outlined in the colour of their sign.

    Args:
        image: as for :func:`overlay`.
        labels: as for :func:`overlay`.
        values: (d,) attributions.
        top: how many segments.
    """
    shown = visible(image)
    sizes = np.abs(np.nan_to_num(values, nan=0.0))
    order = np.argsort(-sizes, kind="stable")[:top]
    chosen = np.zeros(len(values), dtype=bool)
    chosen[order[sizes[order] > 0]] = True
    kept = np.append(chosen, False)[labels]
    faded = 0.22 * shown + 0.78 * 0.93
    result = np.where(kept[..., None], shown, faded)
    width = max(min(labels.shape) // 120, 1)
    for sign, colour in ((1, POSITIVE), (-1, NEGATIVE)):
        result[edges(labels, chosen & (np.sign(values) == sign), width)] = np.array(colour) / 255.0
    return pixels(result)


def fitted(picture: NDArray[Any], least: int = 224, most: int = 640) -> NDArray[Any]:
    """A picture whose longer side is between these, by repeating or leaving out whole pixels, so that edges of segments stay sharp."""
    side = max(picture.shape[:2])
    if side < least:
        times = -(-least // side)
        return picture.repeat(times, axis=0).repeat(times, axis=1)
    step = -(-side // most)
    return picture[::step, ::step]


def png(picture: Picture) -> bytes:
    r"""A picture as PNG (W3C PNG specification, third edition): 8 bits a channel, RGB, each pixel less its left neighbour.

    Example:
        >>> png(np.zeros((1, 1, 3), dtype=np.uint8))[:8]
        b'\x89PNG\r\n\x1a\n'
    """
    h, w = picture.shape[:2]
    rows = np.ones((h, 1 + 3 * w), dtype=np.uint8)  # filter 1, "Sub"
    rows[:, 1:4] = picture[:, 0]
    rows[:, 4:] = (picture[:, 1:] - picture[:, :-1]).reshape(h, -1)  # modulo 256

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)) + chunk(b"IEND", b"")


def beside(parts: list[Picture], gap: int = 8) -> Picture:
    """Pictures of one height side by side, with white between them."""
    space = np.full((parts[0].shape[0], gap, 3), 255, dtype=np.uint8)
    joined = [parts[0]]
    for part in parts[1:]:
        joined += [space, part]
    return np.concatenate(joined, axis=1)


def below(parts: list[Picture], gap: int = 8) -> Picture:
    """Pictures one below the other, with white between them and where they are narrower."""
    wide = max(part.shape[1] for part in parts)
    padded = [np.pad(part, ((0, gap), (0, wide - part.shape[1]), (0, 0)), constant_values=255) for part in parts]
    return np.concatenate(padded)[:-gap]
