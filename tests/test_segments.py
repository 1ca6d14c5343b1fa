"""Segments of images: every library, dtype and layout, exactly; what cannot be explained is refused by name."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from whybox.errors import InputError, MissingDependencyError, OptionError, SchemaError, ShapeError
from whybox.models import as_model
from whybox.spaces import Segments, _segments_bound
from whybox.spaces._canvas import LibraryCanvas
from whybox.spaces._label_maps import grid
from whybox.typing import Ask, Model

RNG = np.random.default_rng(5)


def bind(space, x, model=None):
    return space.bind(x, Model(predict=lambda rows: rows) if model is None else model)


def composed(bound, codes, instances=None):
    """Every row of an ask, as one NumPy array where the rows are one."""
    instances = np.arange(bound.n) if instances is None else np.asarray(instances)
    ask = Ask(instances, np.asarray(codes, dtype=bool))
    return bound.compose(ask, 0, len(instances) * len(codes) * bound.draws)


def by_definition(images, labels, fills, codes):
    """Pixel by pixel: images (n, h, w, ...), labels (h, w), fills (b, h, w, ...)."""
    rows = []
    for image in images:
        for code in codes:
            for fill in fills:
                row = image.copy()
                for i, j in np.ndindex(labels.shape):
                    if labels[i, j] >= 0 and not code[labels[i, j]]:
                        row[i, j] = fill[i, j]
                rows.append(row)
    return np.stack(rows).astype(images.dtype)


def bits(array):
    return np.ascontiguousarray(array).view(np.uint8)


# --- composition ----------------------------------------------------------------------------------------------------------------------

LABELS = np.array([[0, 0, 1, -1, 2], [0, 3, 3, -1, 2], [4, 4, 3, 1, 1]])
SHAPES = {"none": (3, 5), "last": (3, 5, 3), "first": (3, 3, 5)}
DTYPES = ["bool", "uint8", "int16", "uint16", "int32", "int64", "float16", "float32", "float64"]


@settings(max_examples=25, deadline=None)
@given(data=st.data(), dtype=st.sampled_from(DTYPES), channels=st.sampled_from(["none", "last", "first"]), b=st.integers(1, 3))
def test_composed_images_are_those_of_the_definition_in_every_dtype_and_layout(data, dtype, channels, b):
    numbers = {"allow_nan": True, "allow_infinity": True} if "f" in dtype else {}
    elements = hnp.from_dtype(np.dtype(dtype), **numbers)
    shape = SHAPES[channels]
    x = data.draw(hnp.arrays(dtype, (2, *shape), elements=elements))
    fill = data.draw(hnp.arrays(dtype, (b, *shape), elements=elements))
    codes = data.draw(hnp.arrays(bool, (data.draw(st.integers(1, 4)), 5)))
    bound = bind(Segments(LABELS, fill=fill, channels=channels), x)
    rows = composed(bound, codes)
    assert rows.dtype == x.dtype
    assert rows.shape[1:] == shape
    last = (lambda a: np.moveaxis(a, 1, -1)) if channels == "first" else (lambda a: a)
    assert np.array_equal(bits(last(rows)), bits(by_definition(last(x), LABELS, last(fill), codes)))
    # any range, and any choice, of the rows
    ask = Ask(np.arange(2), codes)
    start, stop = sorted(data.draw(st.lists(st.integers(0, len(rows)), min_size=2, max_size=2, unique=True)))
    assert np.array_equal(bits(bound.compose(ask, start, stop)), bits(rows[start:stop]))
    index = np.array(sorted(data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1))))
    assert np.array_equal(bits(bound.take(ask, index)), bits(rows[index]))
    # equal keys exactly for identical rows
    keys = bound.keys(ask)
    same = (keys[:, None] == keys[None]).all(axis=2)
    assert np.array_equal(same, (bits(rows.reshape(len(rows), -1))[:, None] == bits(rows.reshape(len(rows), -1))[None]).all(axis=2))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "float16", "bfloat16", "float32", "float64"])
def test_torch_images_stay_tensors_of_their_dtype(dtype):
    x = torch.from_numpy(RNG.integers(0, 2, (2, 3, 3, 5))).to(getattr(torch, dtype))
    fill = 1 - x if dtype != "bool" else ~x
    codes = RNG.random((3, 5)) < 0.5
    rows = composed(bind(Segments(LABELS, fill=fill[:1], channels="first"), x), codes)
    assert rows.dtype == x.dtype
    expected = composed(
        bind(Segments(LABELS, fill=fill[:1].to(torch.float64).numpy(), channels="first"), x.to(torch.float64).numpy()), codes
    )
    assert np.array_equal(rows.to(torch.float64).numpy(), expected)


def test_other_libraries_compose_by_their_own_where():
    xp = pytest.importorskip("array_api_strict")
    x, fill, codes = RNG.normal(size=(2, 3, 3, 5)), RNG.normal(size=(2, 3, 3, 5)), RNG.random((3, 5)) < 0.5
    bound = bind(Segments(LABELS, fill=xp.asarray(fill), channels="first"), xp.asarray(x))
    expected = composed(bind(Segments(LABELS, fill=fill, channels="first"), x), codes)
    rows = composed(bound, codes)
    assert type(rows) is type(xp.asarray(x))
    assert np.array_equal(np.from_dlpack(rows), expected)
    index = np.array([0, 3, 4, 11])
    assert np.array_equal(np.from_dlpack(bound.take(Ask(np.arange(2), codes), index)), expected[index])


def test_library_and_host_compose_the_same_tensors(monkeypatch):
    """The path that a GPU takes, on CPU tensors."""
    x, fill, codes = torch.rand(3, 3, 3, 5), torch.rand(2, 3, 3, 5), RNG.random((4, 5)) < 0.5
    host = bind(Segments(LABELS, fill=fill, channels="first"), x)
    there = bind(Segments(LABELS, fill=fill, channels="first"), x)
    ask, index = Ask(np.arange(3), codes), np.array([0, 1, 9, 10, 23])
    expected = host.compose(ask, 0, 24), host.compose(ask, 5, 19), host.take(ask, index)
    monkeypatch.setattr(_segments_bound, "canvas", lambda like, shape: LibraryCanvas(shape, like))
    for rows, wanted in zip((there.compose(ask, 0, 24), there.compose(ask, 5, 19), there.take(ask, index)), expected, strict=True):
        assert torch.equal(rows, wanted)


@pytest.mark.parametrize("layout", ["Fortran", "strided", "read-only", "reversed", "big-endian"])
def test_layout_in_memory_changes_nothing(layout):
    x = RNG.normal(size=(2, 3, 5, 3)).astype(np.float32)
    codes = RNG.random((4, 5)) < 0.5
    variants = {
        "Fortran": np.asfortranarray(x),
        "strided": np.repeat(x, 2, axis=2)[:, :, ::2],
        "read-only": x.copy(),
        "big-endian": x.astype(">f4"),
        "reversed": x[:, ::-1].copy()[:, ::-1],
    }
    same = variants[layout]
    same.setflags(write=layout != "read-only")
    for fill in ("blur", "mean", 0.5):
        assert np.array_equal(
            composed(bind(Segments(LABELS, fill=fill, channels="last"), same), codes),
            composed(bind(Segments(LABELS, fill=fill, channels="last"), x), codes),
        )


def test_rows_are_the_models_own():
    x, fill = RNG.normal(size=(2, 4, 6)), RNG.normal(size=(4, 6))
    for given_x in (x.copy(), torch.from_numpy(x.copy())):
        bound = bind(Segments(n_segments=6, fill=fill), given_x)
        rows = composed(bound, np.ones((1, 6)))
        rows[:] = 7.0
        assert np.array_equal(np.asarray(given_x), x)
        assert np.array_equal(composed(bound, np.zeros((1, 6)))[0], fill)
    several = [x[0].copy(), x[1, :3].copy()]
    for rows in bind(Segments(n_segments=6, fill=0.0), several).plain(0, 2):
        rows[:] = 7.0
    assert np.array_equal(several[0], x[0])


def test_images_of_several_shapes_reach_the_model_as_a_list():
    x = [RNG.normal(size=(6, 9, 3)), RNG.normal(size=(5, 5, 3))]
    bound = bind(Segments(n_segments=7, fill=(0.0, 1.0, 2.0)), x)
    assert [bound.n_features(i) for i in (0, 1)] == [8, 6]
    rows = composed(bound, np.zeros((2, 8)), [0]) + composed(bound, np.zeros((1, 6)), [1])
    assert [row.shape for row in rows] == [(6, 9, 3), (6, 9, 3), (5, 5, 3)]
    assert all((row == [0.0, 1.0, 2.0]).all() for row in rows)
    assert not bound.shared_empty
    alike = bind(Segments(n_segments=7, fill=0.0), [x[0], x[0] + 1])
    assert composed(alike, np.ones((1, 8))).shape == (2, 6, 9, 3)


def test_image_placed_by_the_model_is_composed_in_its_dtype():
    module = torch.nn.Conv2d(3, 1, 1)
    x = RNG.random((2, 3, 4, 6))
    rows = composed(bind(Segments(n_segments=6, fill=0.25), x, as_model(module)), np.zeros((1, 6)))
    assert rows.dtype == torch.float32
    assert (rows == 0.25).all()


def test_each_image_may_have_its_own_map():
    x = RNG.normal(size=(2, 2, 6))
    maps = np.array([[[0, 0, 0, 1, 1, 1]] * 2, [[5, 5, 7, 7, 9, 9]] * 2])
    bound = bind(Segments(maps, fill=0.0), x)
    assert [bound.feature_names(i) for i in (0, 1)] == [("segment 0", "segment 1"), ("segment 5", "segment 7", "segment 9")]
    assert np.array_equal(bound.marks(1), maps[1] // 2 - 2)
    assert np.array_equal(composed(bound, [[0, 1]], [0])[0], np.where(maps[0] == 1, x[0], 0.0))
    assert np.array_equal(composed(bound, [[0, 1, 0]], [1])[0], np.where(maps[1] == 7, x[1], 0.0))
    keys = [bound.keys(Ask(np.array([i]), np.zeros((1, d), dtype=bool))) for i, d in ((0, 2), (1, 3))]
    assert np.array_equal(*keys)  # nothing is left of either
    own = bind(Segments(lambda image: (image > np.median(image)).astype(int), fill=0.0), x)
    assert np.array_equal(own.marks(0), x[0] > np.median(x[0]))


# --- fills ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_mean_fill_is_limes(dtype):
    image = (255 * RNG.random((6, 8, 3))).astype(dtype)
    labels = grid((6, 8), 12).labels
    fudged = image.copy()
    for segment in range(12):
        fudged[labels == segment] = (
            np.rint(image[labels == segment].mean(axis=0, dtype=np.float64))
            if dtype == "uint8"
            else image[labels == segment].mean(axis=0, dtype=np.float64)
        )
    rows = composed(bind(Segments(labels, fill="mean"), image[None]), np.zeros((1, 12)))
    np.testing.assert_allclose(rows[0], fudged, rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(x=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, min_side=5, max_side=9)), fill=st.sampled_from(["blur", "mean"]))
def test_averages_stay_within_the_range_of_the_image(x, fill):
    bound = bind(Segments(fill=fill, channels="none"), x)
    rows = composed(bound, np.zeros((1, bound.n_features(0))))
    assert rows.dtype == np.uint8
    for image, row in zip(x, rows, strict=True):
        assert image.min() <= row.min()
        assert row.max() <= image.max()


def test_blur_leaves_nothing_of_what_a_segment_shows():
    board = np.indices((64, 64)).sum(axis=0) // 4 % 2 * 1.0  # a chess board of squares that are half a segment wide
    rows = composed(bind(Segments(n_segments=64, fill="blur"), board[None]), np.zeros((1, 64)))
    assert np.ptp(rows[0][16:-16, 16:-16]) < 0.01
    assert abs(rows[0].mean() - 0.5) < 0.01


def test_blur_is_the_same_in_both_channel_orders():
    x = RNG.random((2, 6, 8, 3))
    last = composed(bind(Segments(n_segments=12), x), np.zeros((1, 12)))
    first = composed(bind(Segments(n_segments=12), np.moveaxis(x, -1, 1)), np.zeros((1, 12)))
    assert np.array_equal(np.moveaxis(first, 1, -1), last)


def test_colours_mean_the_nearest_value_of_the_dtype_and_channels_are_theirs():
    x = np.zeros((1, 5, 6, 3), dtype=np.float32)
    rows = composed(bind(Segments(n_segments=6, fill=(0.1, 0.2, 0.3)), x), np.zeros((1, 6)))
    assert np.array_equal(rows[0, 0, 0], np.array([0.1, 0.2, 0.3], dtype=np.float32))
    rgba = composed(bind(Segments(n_segments=6, fill=(9, 8, 7, 255)), np.zeros((1, 5, 6, 4), dtype=np.uint8)), np.zeros((1, 6)))
    assert np.array_equal(rgba[0, 4, 5], [9, 8, 7, 255])
    first = composed(bind(Segments(n_segments=6, fill=[1, 2, 3]), np.zeros((1, 3, 5, 6), dtype=np.uint8)), np.zeros((1, 6)))
    assert np.array_equal(first[0, :, 2, 2], [1, 2, 3])


# --- segments -------------------------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(h=st.integers(1, 60), w=st.integers(1, 60), asked=st.integers(1, 80))
def test_grid_covers_the_image_with_rectangles_of_about_one_size(h, w, asked):
    asked = min(asked, h * w)
    found = grid((h, w), asked)
    sizes = np.bincount(found.labels.reshape(-1), minlength=found.d)
    assert found.labels.shape == (h, w)
    assert sizes.min() >= 1
    assert len(sizes) == found.d <= max(2 * asked, asked + 1)
    for segment in range(0, found.d, max(found.d // 4, 1)):
        rows, columns = np.nonzero(found.labels == segment)
        assert np.ptp(rows) < -(-h // 1)
        assert (np.ptp(rows) + 1) * (np.ptp(columns) + 1) == sizes[segment]


def test_superpixels_are_scikit_images():
    segmentation = pytest.importorskip("skimage.segmentation")
    image = np.kron(RNG.random((4, 4, 3)), np.ones((8, 8, 1)))
    expected = segmentation.slic(image, n_segments=12, start_label=0, channel_axis=-1)
    assert np.array_equal(bind(Segments("slic", n_segments=12), image[None]).marks(0), expected)
    assert np.array_equal(bind(Segments("slic", n_segments=12), np.moveaxis(image, -1, 0)[None]).marks(0), expected)
    shift = segmentation.quickshift(image, kernel_size=4, max_dist=200, ratio=0.2)
    assert np.array_equal(bind(Segments("quickshift"), image[None]).marks(0), shift)
    for other in (
        image[..., 0],
        image[..., :1],
        np.concatenate([image, image[..., :1]], axis=2),
        (255 * image).astype(np.uint8),
        9 * image - 4,
    ):
        for by in ("slic", "quickshift"):
            bound = bind(Segments(by, channels=None if other.ndim == 3 else "none"), other[None])
            assert bound.n_features(0) > (by == "slic")


def test_missing_scikit_image_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skimage", None)
    with pytest.raises(MissingDependencyError, match=re.escape("whybox[image]")):
        bind(Segments("slic"), RNG.random((1, 8, 8)))


@settings(max_examples=50, deadline=None)
@given(labels=hnp.arrays(np.int64, (4, 5), elements=st.integers(-1, 6)).filter(lambda a: (a >= 0).any()))
def test_tree_holds_every_segment_once_in_halves(labels):
    bound = bind(Segments(labels, fill=0.0), np.zeros((1, 4, 5)))

    def leaves(node):
        if isinstance(node, int):
            return [node]
        assert len(node) == 2
        left, right = map(leaves, node)
        assert abs(len(left) - len(right)) <= 1
        return left + right

    assert sorted(leaves(bound.tree(0))) == list(range(bound.n_features(0)))


def test_one_segment_is_a_feature():
    bound = bind(Segments(n_segments=1, fill=0), np.ones((1, 4, 6), dtype=np.uint8))
    assert bound.n_features(0) == 1
    assert composed(bound, [[0]]).sum() == 0
    assert bound.tree(0) == 0


def test_row_keys_tell_images_maps_and_shapes_apart():
    x = np.zeros((3, 4, 6))
    x[2, 0, 0] = 1.0
    keys = bind(Segments(fill=0.0), x).row_keys()
    assert (keys[0] == keys[1]).all()
    assert (keys[0] != keys[2]).any()
    maps = np.stack([np.zeros((4, 6), dtype=int), np.arange(24).reshape(4, 6), np.zeros((4, 6), dtype=int)])
    keys = bind(Segments(maps, fill=0.0), np.zeros((3, 4, 6))).row_keys()
    assert (keys[0] == keys[2]).all()
    assert (keys[0] != keys[1]).any()
    shapes = bind(Segments(fill=0.0), [np.zeros((4, 6)), np.zeros((6, 4))]).row_keys()
    assert (shapes[0] != shapes[1]).any()


def test_digest_is_of_everything_that_makes_the_rows():
    x = RNG.random((2, 4, 6))
    spaces = [Segments(), Segments(n_segments=6), Segments(fill="mean"), Segments(fill=0.0), Segments(fill=1.0), Segments(fill=x)]
    digests = {bind(space, x).digest() for space in spaces} | {bind(Segments(), x + 1).digest()}
    assert len(digests) == 7
    assert bind(Segments(), x).digest() == bind(Segments(), x.copy()).digest()


# --- refused by name --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"by": "watershed"}, "grid"),
        ({"by": 3}, "label maps"),
        ({"n_segments": 0}, "at least 1"),
        ({"n_segments": True}, "at least 1"),
        ({"by": "quickshift", "n_segments": 9}, "leave it out"),
        ({"by": LABELS, "n_segments": 9}, "leave it out"),
        ({"fill": "zoom"}, "blur"),
        ({"fill": None}, "blur"),
        ({"channels": "middle"}, "last"),
        ({"shape": 8}, r"\(8, 8\)"),
        ({"shape": (8, 0)}, r"\(8, 8\)"),
    ],
    ids=str,
)
def test_options_that_do_not_exist_are_refused(options, match):
    with pytest.raises(OptionError, match=match):
        Segments(**options)


X = np.zeros((2, 6, 8))
COLOUR = np.zeros((2, 6, 8, 3))


@pytest.mark.parametrize(
    ("x", "space", "error", "match"),
    [
        (None, Segments(), InputError, "expected images"),
        ("photo.png", Segments(), InputError, "expected images"),
        (3.0, Segments(), InputError, "expected images"),
        ([], Segments(), InputError, "no images"),
        (X[:0], Segments(), InputError, "no images"),
        (X[:, :0], Segments(), InputError, "no pixels"),
        (np.zeros(5), Segments(), ShapeError, "expected images"),
        (np.zeros((2, 5)), Segments(), ShapeError, r"x\[None\]"),
        (COLOUR[0], Segments(), ShapeError, "one colour image or 6 grey"),
        (torch.zeros(3, 8, 8), Segments(), ShapeError, "one colour image or 3 grey"),
        (COLOUR[None], Segments(), ShapeError, "2 or 3 axes"),
        (np.zeros((2, 3, 8, 3)), Segments(), ShapeError, 'channels="last"'),
        (np.zeros((2, 8, 8, 5)), Segments(), ShapeError, 'channels="first"'),
        (X, Segments(channels="last"), ShapeError, "no axis"),
        (COLOUR, Segments(channels="none"), ShapeError, "three axes"),
        ([np.zeros((5, 5, 3)), np.zeros((3, 5, 5))], Segments(), ShapeError, "one layout"),
        ([np.zeros((5, 5, 3)), np.zeros((5, 5, 4))], Segments(), ShapeError, "one number"),
        ([np.zeros((4, 5)), torch.zeros(4, 4)], Segments(), InputError, "several array libraries"),
        ([np.zeros((4, 5)), np.zeros(4)], Segments(), ShapeError, r"got shapes"),
        ([["a", "b"]], Segments(), InputError, "numbers"),
        (np.zeros((2, 6, 8), dtype=complex), Segments(), InputError, "complex128"),
        (np.ma.masked_equal(X, 0), Segments(), InputError, "masked"),
        (np.zeros((2, 63)), Segments(shape=(8, 8)), SchemaError, "64 numbers"),
        (X, Segments(shape=(8, 8)), ShapeError, "flattened"),
        (X, Segments(np.zeros((6, 7), dtype=int)), ShapeError, r"\(6, 8\)"),
        (X, Segments(np.zeros((6, 8))), InputError, "whole numbers"),
        (X, Segments(np.full((6, 8), -1)), InputError, "covers nothing"),
        (X, Segments(np.zeros((3, 6, 8), dtype=int)), ShapeError, "one for each of the 2 images"),
        (X, Segments(lambda image: image[0]), InputError, "labels of image 0"),
        (X, Segments(n_segments=49), InputError, "48 pixels"),
        ([X[0], X[0, 1:]], Segments(np.zeros((6, 8), dtype=int)), ShapeError, "several sizes"),
        (X + np.nan, Segments(), InputError, "NaN"),
        (X + np.inf, Segments(fill="mean"), InputError, "infinite"),
        (X + np.nan, Segments("slic", fill=0.0), InputError, "NaN"),
        (X > 0, Segments(), InputError, "True and False"),
        (COLOUR, Segments(fill=(1, 2)), ShapeError, "3 channels"),
        (np.zeros((1, 6, 8, 4)), Segments(fill=(1, 2, 3)), ShapeError, "opaque"),
        (COLOUR, Segments(fill=np.zeros((6, 8))), ShapeError, "an image of shape"),
        (COLOUR, Segments(fill=np.zeros((0, 6, 8, 3))), ShapeError, "an image of shape"),
        (COLOUR.astype(np.uint8), Segments(fill=0.5), InputError, "uint8"),
        (COLOUR.astype(np.uint8), Segments(fill=256), InputError, "uint8"),
        (COLOUR.astype(np.uint8), Segments(fill=-1), InputError, "uint8"),
        (COLOUR.astype(np.float32), Segments(fill=np.full((6, 8, 3), 0.1)), InputError, "float32"),
        ([X[0], X[0, 1:]], Segments(fill=X[0]), ShapeError, "several shapes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_explained_is_refused_by_name(x, space, error, match):
    with pytest.raises(error, match=match) as caught:
        bind(space, x)
    assert type(caught.value) is error


def test_nan_pixels_are_kept_where_nothing_is_averaged():
    x = np.full((1, 4, 6), np.nan)
    x[0, 0, 0] = 1.0
    rows = composed(bind(Segments(n_segments=6, fill=2.0), x), [[1, 0, 0, 0, 0, 1]])
    assert rows[0, 0, 0] == 1.0
    assert np.isnan(rows[0]).sum() == 7
    assert (rows[0] == 2.0).sum() == 16


def test_channels_are_found_where_they_can_be():
    for shape, expected in {(6, 8, 3): "last", (6, 8, 4): "last", (3, 6, 8): "first", (1, 6, 8): "first", (6, 8): "none"}.items():
        assert bind(Segments(fill=0), np.zeros((2, *shape))).images.channels == expected
    assert bind(Segments(fill=0, channels="last"), np.zeros((2, 6, 8, 5))).marks(0).shape == (6, 8)
    assert bind(Segments(fill=0, channels="none"), np.zeros((6, 8, 3))).n == 6
    assert bind(Segments(fill=0), X.tolist()).n == 2
