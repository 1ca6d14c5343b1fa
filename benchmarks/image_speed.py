"""Explaining an image: whybox beside lime and captum, on the same network, image, segments and number of samples.

A small convolutional network on a 224 x 224 colour image, cut into a 7 x 7 grid that every library gets. The network's own time is that of
the same number of rows, ready in memory, in its fastest batch; what a library takes beyond the time it spends in the network is
"outside". Every measurement is a process of its own on one thread, and the libraries take turns.

    python benchmarks/image_speed.py --samples 1000 --repeats 3 --out benchmarks/results
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from typing import Any

import numpy as np
from _measure import conditions, in_fresh_process, reset_peak, resident, save, spread, table

LIBRARIES = (
    "lime",
    "captum Lime",
    "captum KernelShap",
    "captum ShapleyValueSampling",
    "whybox LIME",
    "whybox LIME, NumPy",
    "whybox KernelSHAP",
    "whybox PermutationSHAP",
)


def make(size: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """A network, an image (h, w, c) between 0 and 1, and its label map."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    layers = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        layers += [torch.nn.Conv2d(before, after, 3, stride=2, padding=1), torch.nn.ReLU()]
    network = torch.nn.Sequential(
        *layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(64, 10), torch.nn.Softmax(dim=1)
    )
    network.eval()
    down, across = np.mgrid[0:size, 0:size] / size
    image = np.stack([down, across, 0.5 + 0.5 * np.sin(20 * down * across)], axis=-1).astype(np.float32)
    side = -(-size // 7)
    labels = (np.arange(size)[:, None] // side) * 7 + np.arange(size)[None] // side
    return network, image, labels


class Counted:
    """Counts rows, calls and CPU seconds of a network's forward pass."""

    def __init__(self, network: Any) -> None:
        self.rows, self.calls, self.seconds, self._began = 0, 0, 0.0, 0.0
        network.register_forward_pre_hook(self._before)
        network.register_forward_hook(self._after)

    def _before(self, *_: Any) -> None:
        self._began = time.process_time()

    def _after(self, _: Any, inputs: Any, __: Any) -> None:
        self.seconds += time.process_time() - self._began
        self.rows += len(inputs[0])
        self.calls += 1


def explain(library: str, network: Any, image: np.ndarray, labels: np.ndarray, samples: int) -> Any:
    import torch

    as_rows = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 0)))[None]

    def predict(rows: np.ndarray) -> np.ndarray:  # images with channels last, as lime hands them over
        with torch.no_grad():
            return network(torch.from_numpy(np.asarray(rows, dtype=np.float32)).permute(0, 3, 1, 2)).numpy()

    top = int(predict(image[None]).argmax())
    if library == "lime":
        from lime.lime_image import LimeImageExplainer

        explainer = LimeImageExplainer(random_state=0)
        return explainer.explain_instance(image, predict, hide_color=0, num_samples=samples, segmentation_fn=lambda _: labels)
    if library.startswith("captum"):
        import captum.attr

        mask = torch.from_numpy(labels)[None, None]
        method = getattr(captum.attr, library.split()[1])(network)
        count = {"n_samples": -(-samples // 49), "perturbations_per_eval": 4} if "Sampling" in library else {"n_samples": samples}
        if "Sampling" not in library:
            count["perturbations_per_eval"] = 4  # the network's best batch
        with torch.no_grad():
            return method.attribute(as_rows, target=top, feature_mask=mask, **count)
    import whybox as wb

    space = wb.spaces.Segments(labels, fill=0.0)
    if library.endswith("NumPy"):
        return wb.LIME(predict, space=space, min_score=None).explain(image[None], budget=samples)
    method = getattr(wb, library.split()[1])
    options = {"min_score": None} if method is wb.LIME else {}
    return method(network, space=space, **options).explain(as_rows, budget=samples, target="predicted")


def best_batch(network: Any, size: int, rows: int) -> tuple[int, float]:
    """Rows a batch, and CPU seconds a row, where the network is fastest."""
    import torch

    found: dict[int, float] = {}
    for batch in (1, 2, 4, 8, 16, 32):
        ready = torch.rand(batch, 3, size, size)
        seconds = []
        for _ in range(max(rows // batch // 6, 3)):
            began = time.process_time()
            with torch.no_grad():
                network(ready)
            seconds.append((time.process_time() - began) / batch)
        found[batch] = float(np.median(seconds))
    return min(found.items(), key=lambda item: item[1])


def measure(library: str, size: int, samples: int) -> dict[str, float]:
    """In this process: warm up, then explain."""
    warnings.simplefilter("ignore")
    network, image, labels = make(size)
    explain(library, network, image, labels, 120)
    batch, seconds = best_batch(network, size, min(samples, 400))
    counted = Counted(network)
    before, began = reset_peak(), time.process_time()
    explain(library, network, image, labels, samples)
    cpu = time.process_time() - began
    own = seconds * counted.rows
    return {
        "rows": counted.rows,
        "calls": counted.calls,
        "cpu": cpu,
        "inside": counted.seconds,
        "outside": (cpu - counted.seconds) / own,
        "total": cpu / own,
        "best_batch": batch,
        "row_ms": 1e3 * seconds,
        "memory": resident("VmHWM") - before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--sizes", type=int, nargs="*", default=[224])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--libraries", nargs="*", default=list(LIBRARIES), choices=LIBRARIES)
    parser.add_argument("--quick", action="store_true", help="one repetition of 200 samples")
    parser.add_argument("--out")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], int(options.one[1]), int(options.one[2]))))
        return
    if options.quick:
        options.repeats, options.samples = 1, 200
    results: dict[str, list[dict[str, Any]]] = {}
    for _ in range(options.repeats):
        for size in options.sizes:
            for library in options.libraries:
                found = in_fresh_process(sys.argv[0], ["--one", library, str(size), str(options.samples)])
                results.setdefault(f"{size}/{library}", []).append(found)
                print(size, library, found, file=sys.stderr)
    lines = []
    for key, runs in results.items():
        size, library = key.split("/")
        good = [run for run in runs if "failed" not in run]
        if not good:
            lines.append([size, library, "failed: " + runs[0]["failed"][:60], "", "", "", ""])
            continue
        columns = [spread([run[name] for run in good]) for name in ("outside", "total", "cpu", "memory")]
        lines.append([f"{size} x {size}", library, str(good[0]["rows"]), *columns])
    head = [
        "image",
        "library",
        "rows",
        "outside the network, in units of its own time",
        "in all, in these units",
        "CPU seconds",
        "peak memory, MB",
    ]
    text = table(head, lines)
    packages = ("whybox", "lime", "captum", "torch", "numpy")
    text += (
        "\n\n"
        + conditions(packages, "python benchmarks/image_speed.py " + " ".join(sys.argv[1:]))
        + " Median (least to most) of the repetitions."
    )
    save("image_speed", text, {"results": results}, options.out)


if __name__ == "__main__":
    main()
