"""Images: which parts of a picture speak for its class.

A small network learns scikit-learn's handwritten digits on the spot; KernelSHAP and LIME say which 2 x 2 patches decide, filled by other
digits and by a blur. Where scikit-image is installed (pip install 'whybox[image]'), its photograph of an astronaut is cut into superpixels.
The overlays are written as PNG and HTML files.

    python examples/explain_image.py --quick
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import whybox as wb


def digits(folder: Path, rows: int) -> None:
    images, classes = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)  # 0 to 16
    train, test = images[:1200], images[1200 : 1200 + rows]
    network = MLPClassifier((64,), max_iter=500, alpha=1.0, tol=1e-3, random_state=0).fit(train.reshape(len(train), -1), classes[:1200])

    def predict(rows):
        return network.predict_proba(rows.reshape(len(rows), -1))

    model = wb.as_model(predict, output_names=[str(digit) for digit in network.classes_])
    print(f"accuracy {np.mean(predict(images[1200:]).argmax(axis=1) == classes[1200:]):.2f}")

    # What is left out shows other digits, over which the answers are averaged.
    patches = wb.spaces.Segments(n_segments=16, fill=train[:20])
    e = wb.KernelSHAP(model, space=patches).explain(test, target="predicted", budget=500)
    print(e[0])
    print(e[0].to_text(max_display=4))
    e.to_png(folder / "digits.png")

    # The same patches in LIME's way: blurred, and weighed by how much of the image is left.
    lime = wb.LIME(model, space=wb.spaces.Segments(n_segments=16, fill="blur"), min_score=None).explain(test, budget=500)
    print(f"LIME: R2 {lime.score.mean():.2f}, strongest patch of the first digit: {lime[0].as_list()[0]}")
    (folder / "digits.html").write_text(lime.to_html(max_display=3), encoding="utf-8")


def astronaut(folder: Path, budget: int) -> None:
    try:
        from skimage.data import astronaut as photograph
    except ImportError:
        print("the astronaut is left out: it needs scikit-image (pip install 'whybox[image]')")
        return
    image = photograph()[::2, ::2]  # (256, 256, 3) uint8

    def orange(rows):  # how much of a picture is as orange as a space suit
        red, green, blue = (rows[..., channel].astype(np.float32) for channel in range(3))
        return ((red > 150) & (green < 0.62 * red) & (blue < 0.5 * red)).mean(axis=(1, 2))

    space = wb.spaces.Segments("slic", n_segments=40, fill=(128, 128, 128))  # what is left out is grey
    e = wb.KernelSHAP(wb.as_model(orange, name="orange"), space=space).explain(image[None], budget=budget)
    print(e)
    e.to_png(folder / "astronaut.png")
    e.plot.image(view="strongest", top=6).savefig(folder / "astronaut_strongest.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two digits and few samples")
    parser.add_argument("--out", help="folder for the pictures; by default they are thrown away")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.out or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        digits(folder, 2 if options.quick else 6)
        astronaut(folder, 120 if options.quick else 1000)
        print("pictures:", ", ".join(sorted(path.name for path in folder.glob("*.*"))))


if __name__ == "__main__":
    main()
