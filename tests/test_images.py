"""Images explained from end to end: right values, lime's own weights, results that keep the image, and pictures that show it."""

import copy
import io
import pickle
import re
import warnings
from base64 import b64decode
from itertools import combinations
from math import factorial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import whybox as wb
from whybox.engine import Engine
from whybox.errors import MissingDependencyError, OptionError
from whybox.explainers import ExactSHAP, KernelSHAP, Occlusion, PermutationSHAP
from whybox.explanations import Attribution
from whybox.explanations import _overlay as draw
from whybox.models import as_model
from whybox.plots import _figure as fig
from whybox.solvers.local_linear import fit_local
from whybox.spaces import Segments
from whybox.spaces._coalition_neighborhood import CoalitionNeighborhood
from whybox.testing import RecordingModel
from whybox.typing import Ask

RNG = np.random.default_rng(3)
LABELS = np.array([[0, 0, 1, 1, -1, -1], [0, 2, 2, 1, 3, 3], [4, 4, 2, 1, 3, 3]])
X = RNG.random((3, 3, 6, 3)).astype(np.float32)


def game(rows):
    """Interactions of segments; every row alone, so that bits do not depend on the batch."""
    a = rows.astype(np.float64).mean(axis=3)
    return a[:, 0, 0] * a[:, 0, 2] + a[:, 1, 1] * a[:, 2, 4] * a[:, 2, 0] - a[:, 0, 5] + 2.0 * a[:, 1, 4] * a[:, 0, 3]


def shapley_by_definition(predict, image, labels, fills):
    """All coalitions of one image, each composed pixel by pixel."""
    d = labels.max() + 1
    worth = {}
    for size in range(d + 1):
        for kept in combinations(range(d), size):
            on = np.isin(labels, [*kept, -1])[..., None]
            worth[kept] = np.mean([predict(np.where(on, image, fill)[None])[0] for fill in fills])
    values = np.zeros(d)
    for kept, before in worth.items():
        for j in set(range(d)) - set(kept):
            weight = factorial(len(kept)) * factorial(d - len(kept) - 1) / factorial(d)
            values[j] += weight * (worth[tuple(sorted((*kept, j)))] - before)
    return values, worth[()]


# --- values ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", ["blur", "mean", 0.5, "images"])
def test_shapley_values_are_those_of_the_definition(fill):
    given = RNG.random((2, *X.shape[1:])).astype(np.float32) if isinstance(fill, str) and fill == "images" else fill
    space = Segments(LABELS, fill=given, channels="last")
    bound = space.bind(X, as_model(game))
    for explainer in (ExactSHAP(game, space=space), KernelSHAP(game, space=space)):
        e = explainer.explain(X)
        for i in range(len(X)):
            fills = bound.fill.of(bound.images, i, bound._map(i))
            values, base = shapley_by_definition(game, X[i], LABELS, fills)
            np.testing.assert_allclose(e.values[i], values, atol=1e-12)
            np.testing.assert_allclose(e.base_values[i], base, atol=1e-12)
    found = PermutationSHAP(game, space=space).explain(X[:1], budget=400)
    values, _ = shapley_by_definition(game, X[0], LABELS, bound.fill.of(bound.images, 0, bound._map(0)))
    assert (np.abs(found.values[0] - values) <= 5 * found.std_error[0] + 1e-12).all()


def test_occlusion_takes_away_one_segment():
    e = Occlusion(game, space=Segments(LABELS, fill=0.0, channels="last")).explain(X)
    for i, image in enumerate(X):
        for segment in range(5):
            without = np.where((segment == LABELS)[..., None], np.float32(0.0), image)
            assert e.values[i][segment] == pytest.approx(game(image[None])[0] - game(without[None])[0])


def test_images_with_other_numbers_of_segments_are_explained_together_as_alone():
    maps = [LABELS, np.where(LABELS > 2, 2, LABELS), np.zeros_like(LABELS)]
    space = Segments(maps, fill=0.2, channels="last")
    recorder = RecordingModel(game)
    together = KernelSHAP(recorder, space=space, engine=Engine(batch_size=64)).explain(X)
    assert [len(row) for row in together.values] == [5, 3, 1]
    assert max(recorder.batch_sizes) == 30 + 6 + 1  # the coalitions of 5 and of 3 segments share a batch, and a control row
    for i in range(3):
        alone = KernelSHAP(game, space=Segments([maps[i]], fill=0.2, channels="last")).explain(X[i : i + 1])
        assert np.array_equal(alone.values[0], together.values[i])


def test_images_of_several_shapes_are_explained_by_a_model_of_lists():
    images = [RNG.random((6, 9, 3)), RNG.random((5, 7, 3)), RNG.random((6, 9, 3))]
    seen = []

    def model(rows):
        seen.append(type(rows))
        return np.array([row[:3].mean() * row[:, 3:].mean() for row in rows])

    e = KernelSHAP(model, space=Segments(n_segments=6)).explain(images)
    assert set(seen) == {list}
    np.testing.assert_allclose([b + row.sum() for b, row in zip(e.base_values, e.values, strict=True)], model(images))
    assert [mark.shape for mark in e.marks] == [(6, 9), (5, 7), (6, 9)]


def test_batches_of_listed_images_keep_to_the_memory_of_a_batch():
    images = [np.zeros((256, 256, 3)), np.zeros((250, 256, 3))]
    recorder = RecordingModel(lambda rows: np.array([row.mean() for row in rows]), keep=False)
    Occlusion(recorder, space=Segments(n_segments=64, fill=1.0)).explain(images)
    assert max(recorder.batch_sizes) <= (12 << 20) // (250 * 256 * 3 * 8)


def test_torch_modules_get_channels_first_tensors_and_agree_with_numpy():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 48, 2))
    module = module.double()
    images = RNG.random((2, 3, 6, 8))

    def plain(rows):
        with torch.no_grad():
            return module(torch.from_numpy(np.ascontiguousarray(np.moveaxis(rows, -1, 1)))).numpy()

    first = KernelSHAP(module, space=Segments(n_segments=6)).explain(torch.from_numpy(images))
    last = KernelSHAP(plain, space=Segments(n_segments=6)).explain(np.moveaxis(images, 1, -1))
    numpy_rows = KernelSHAP(module, space=Segments(n_segments=6)).explain(images)
    for i in range(2):
        np.testing.assert_allclose(first.values[i], last.values[i], atol=1e-12)
        assert np.array_equal(first.values[i], numpy_rows.values[i])
        assert np.array_equal(first.inputs[i], last.inputs[i])


def test_segments_that_the_fill_leaves_as_they_are_cost_nothing():
    image = np.zeros((1, 8, 8))
    image[0, 2:4, 2:4] = 1.0  # a black image with one lit patch, filled with black
    recorder = RecordingModel(lambda rows: rows.mean(axis=(1, 2)))
    e = KernelSHAP(recorder, space=Segments(n_segments=16, fill=0.0)).explain(image, budget=600)
    assert recorder.n_rows <= 4  # the image itself, and black
    np.testing.assert_allclose(e.values[0], np.where(np.arange(16) == 5, 4 / 64, 0.0), atol=1e-12)


# --- LIME -----------------------------------------------------------------------------------------------------------------------------


def test_the_weights_are_limes_for_limes_own_rows():
    """lime's masks, through our composition, kernel and regression: lime's images, weights and coefficients."""
    lime_image = pytest.importorskip("lime.lime_image")
    image, labels = RNG.random((12, 12, 3)), np.arange(12)[:, None] // 4 * 3 + np.arange(12)[None] // 4
    theirs = []

    def predict(rows):
        theirs.append(np.array(rows))
        return np.stack([rows[:, :6].mean(axis=(1, 2, 3)) ** 2, rows[:, 6:, :, 0].mean(axis=(1, 2))], axis=1)

    explainer = lime_image.LimeImageExplainer(random_state=0)
    masks = {}
    inner = explainer.data_labels

    def spy(*args, **options):
        masks["data"], masks["labels"] = inner(*args, **options)
        return masks["data"], masks["labels"]

    explainer.data_labels = spy
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = explainer.explain_instance(
            image, predict, labels=(0, 1), hide_color=0, num_samples=300, segmentation_fn=lambda _: labels, num_features=100
        )
    codes = masks["data"].astype(bool)
    bound = Segments(labels, fill=0.0).bind(image[None], as_model(predict))
    ours = bound.compose(Ask(np.array([0]), codes), 0, len(codes))
    assert np.array_equal(ours, np.concatenate(theirs))
    near = CoalitionNeighborhood(bound.design, bound.kernel_width)
    z = near.features(np.array([0]), codes[1:])  # their first row is the image itself
    w = near.weights(z, np.array([0]))
    fit = fit_local(
        z.astype(np.float64),
        w,
        masks["labels"][None, 1:],
        np.ones((1, 9)),
        masks["labels"][None, 0],
        alpha=1.0,
        k=None,
        how="none",
        known=None,
    )
    for output in (0, 1):
        expected = dict(found.local_exp[output])
        np.testing.assert_allclose(fit.values[0, :, output], [expected[j] for j in range(9)], atol=1e-10)
        np.testing.assert_allclose(fit.intercept[0, output], found.intercept[output], atol=1e-10)
    np.testing.assert_allclose(fit.score[0, 1], found.score[1] if isinstance(found.score, dict) else found.score, atol=1e-9)


def test_lime_draws_half_of_the_segments_and_finds_an_additive_model():
    recorder = RecordingModel(lambda rows: rows[:, :4].mean(axis=(1, 2)) - rows[:, 4:].mean(axis=(1, 2)), keep=True)
    image = np.ones((1, 8, 8))
    e = wb.LIME(recorder, space=Segments(n_segments=16, fill=0.0), engine=Engine(controls=False), alpha=1e-6).explain(image, budget=600)
    kept = np.concatenate(recorder.batches[1:]).mean()
    assert abs(kept - 0.5) < 0.03
    np.testing.assert_allclose(e.values[0], np.repeat([1 / 8, -1 / 8], 8), atol=1e-4)
    assert e.score[0] > 0.999


# --- results --------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def e():
    def two(rows):
        return np.stack([game(rows), 1.0 - game(rows)], axis=1)

    model = as_model(two, output_names=["cat", "dog"])
    return KernelSHAP(model, space=Segments(LABELS, fill=0.0, channels="last")).explain(X)


def test_explanations_keep_the_image_and_where_its_segments_lie(e, tmp_path):
    assert e.ragged
    assert np.array_equal(e.inputs[1], X[1])
    assert np.array_equal(e[1].marks, LABELS)
    assert e[1].feature_names == tuple(f"segment {j}" for j in range(5))
    np.testing.assert_allclose(e[1].data[2], X[1][LABELS == 2].mean(), rtol=1e-6)
    e.save(tmp_path / "e.npz")
    for twin in (Attribution.load(tmp_path / "e.npz"), pickle.loads(pickle.dumps(e)), copy.deepcopy(e)):
        for i in range(3):
            assert np.array_equal(twin.values[i], e.values[i])
            assert np.array_equal(twin.inputs[i], e.inputs[i])
            assert twin.inputs[i].dtype == np.float32
            assert np.array_equal(twin.marks[i], e.marks[i])
    e[2].save(tmp_path / "row.npz")
    assert np.array_equal(Attribution.load(tmp_path / "row.npz").marks, LABELS)


def test_rows_outputs_and_segments_can_be_chosen(e):
    assert len(e[1:].marks) == 2
    assert e.output("dog").inputs[0].shape == (3, 6, 3)
    some = e[0][[3, 1]]
    assert some.feature_names == ("segment 3", "segment 1")
    assert np.array_equal(some.marks, np.select([LABELS == 3, LABELS == 1], [0, 1], -1))


def test_shap_reads_it(e):
    pytest.importorskip("shap")
    theirs = e.output("cat").to_shap()
    assert [len(row) for row in theirs.values] == [5, 5, 5]
    assert theirs[0].feature_names[0] == "segment 0"


# --- pictures -------------------------------------------------------------------------------------------------------------------------


def decoded(data):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)))


@settings(max_examples=30, deadline=None)
@given(picture=hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_png_is_read_back_to_the_bit(picture):
    pytest.importorskip("PIL")
    assert np.array_equal(decoded(draw.png(picture)), picture)


@settings(max_examples=50, deadline=None)
@given(
    image=st.one_of(
        hnp.arrays(np.uint8, (4, 5, 3)),
        hnp.arrays(np.float32, (4, 5), elements=st.floats(width=32)),
        hnp.arrays(np.float64, (4, 5, 4), elements=st.floats(0, 1)),
        hnp.arrays(np.int64, (4, 5, 7), elements=st.integers(-1000, 1000)),
        hnp.arrays(bool, (4, 5, 1)),
    ),
    values=hnp.arrays(np.float64, 3, elements=st.floats(-1e6, 1e6) | st.just(np.nan)),
)
def test_any_image_can_be_shown(image, values):
    labels = np.array([[0, 1, 1, 2, -1]] * 4)
    limit = float(np.nanmax(np.abs(values), initial=0.0))
    for picture in (draw.overlay(image, labels, values, limit), draw.strongest(image, labels, values, 2), draw.pixels(draw.visible(image))):
        assert picture.shape == (4, 5, 3)
        assert picture.dtype == np.uint8


def test_colours_say_sign_and_size():
    labels = np.arange(5)[None].repeat(4, axis=0)
    picture = draw.overlay(np.full((4, 5), 0.5), labels, np.array([1.0, 0.5, 0.0, -0.5, -1.0]), 1.0).astype(int)
    red, _, blue = (picture[0, :, channel] for channel in range(3))
    assert (np.diff(red - blue) < 0).all()
    assert red[2] == blue[2]
    assert red[0] > blue[0]
    assert blue[4] > red[4]
    swapped = draw.overlay(np.full((4, 5), 0.5), labels, np.array([-1.0, -0.5, 0.0, 0.5, 1.0]), 1.0)
    assert np.array_equal(swapped[:, ::-1], picture)


def test_strongest_segments_stay_as_they_are_inside_their_outline():
    image, labels = RNG.random((30, 40, 3)), np.arange(30)[:, None] // 10 * 4 + np.arange(40)[None] // 10
    values = np.zeros(12)
    values[[5, 7]] = 1.0, -2.0
    picture = draw.strongest(image, labels, values, 3)
    assert np.array_equal(picture[12:18, 12:18], draw.pixels(image)[12:18, 12:18])
    assert tuple(picture[10, 12]) == draw.POSITIVE
    assert tuple(picture[15, 30]) == draw.NEGATIVE
    assert not np.array_equal(picture[2:8, 2:8], draw.pixels(image)[2:8, 2:8])


def test_pictures_are_enlarged_and_reduced_by_whole_pixels():
    assert draw.fitted(np.zeros((8, 8))).shape == (224, 224)
    assert draw.fitted(np.zeros((8, 6, 3))).shape == (224, 168, 3)
    assert draw.fitted(np.zeros((300, 200))).shape == (300, 200)
    assert draw.fitted(np.zeros((4000, 3000))).shape == (572, 429)
    labels = RNG.integers(0, 5, (8, 8))
    assert np.array_equal(draw.fitted(labels)[::28, ::28], labels)


def test_to_png_shows_every_image_beside_its_overlays(e, tmp_path):
    pytest.importorskip("PIL")
    e.to_png(tmp_path / "e.png")
    picture = decoded((tmp_path / "e.png").read_bytes())
    assert picture.shape == (3 * 114 + 2 * 8, 3 * 228 + 2 * 8, 3)  # 3 x 6 pixels 38 times as large; the image and two outputs
    assert np.array_equal(picture[:114:38, :228:38], draw.pixels(draw.visible(X[0])))
    e.output("cat")[1].to_png(tmp_path / "row.png")
    assert decoded((tmp_path / "row.png").read_bytes()).shape == (114, 2 * 228 + 8, 3)


def test_html_holds_image_and_overlay_as_png(e):
    pytest.importorskip("PIL")
    cat = e.output("cat")
    for page, count in ((cat[0].to_html(), 2), (cat.to_html(), 6), (e[0].to_html(), 4), (cat.to_html(max_display=2), 4)):
        found = re.findall(r'src="data:image/png;base64,([^"]*)"', page)
        assert len(found) == count
        assert all(decoded(b64decode(source)).ndim == 3 for source in found)
        assert not re.search(r"<script|https?://", page)
    assert "1 more image" in cat.to_html(max_display=2)
    assert np.array_equal(
        decoded(b64decode(re.findall(r'src="data:image/png;base64,([^"]*)"', cat[0].to_html())[0]))[::38, ::38],
        draw.pixels(draw.visible(X[0])),
    )


def test_image_plot_is_a_grid_of_images_and_outputs(e):
    mpl = pytest.importorskip("matplotlib")
    before = dict(mpl.rcParams)
    figure = e.plot.image()
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert sum(title.startswith("row ") for title in titles) == 3
    assert sum(title.startswith("cat: ") for title in titles) == sum(title.startswith("dog: ") for title in titles) == 3
    assert [ax.get_ylabel() for ax in figure.axes].count("attribution") == 1
    assert fig.png(figure).startswith(b"\x89PNG")
    assert dict(mpl.rcParams) == before
    first = max((0, 1), key=lambda k: e.predictions[0, k])
    assert titles[1].startswith(["cat", "dog"][first])
    strongest = e[0].output("cat").plot.image(view="strongest", top=2)
    assert len(strongest.axes) == 2
    assert len(e.plot.image(max_display=2, outputs=1).axes) == 5


def test_explanations_of_tables_have_no_picture(tmp_path):
    table = Attribution(values=[[1.0]], base_values=[0.0], predictions=[1.0], feature_names=("a",), method="m")
    for call in (lambda: table.to_png(tmp_path / "x.png"), lambda: table.plot.image()):
        with pytest.raises(OptionError, match="Segments"):
            call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"view": "heat"}, {"top": 0}, {"max_display": True}, {"outputs": 1.5}], ids=str)
def test_plot_options_that_do_not_exist_are_refused(e, options):
    with pytest.raises(OptionError, match=next(iter(options))):
        e.plot.image(**options)


def test_without_matplotlib_the_plot_names_the_extra_and_the_png_is_written(e, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"whybox\[plot\]"):
        e.plot.image()
    e.to_png(tmp_path / "e.png")
    assert "base64" in e.to_html()


def test_report_shows_images(e, tmp_path):
    pytest.importorskip("matplotlib")
    e.output("cat").report(tmp_path / "report.html")
    assert "data:image/png" in (tmp_path / "report.html").read_text(encoding="utf-8")
