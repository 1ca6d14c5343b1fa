"""How much of a torch model's speed on a device reaches the user, beside the model alone and beside a loop that composes on the host.

Two models in bfloat16 (float32 on a CPU, which may have no fast arithmetic for less), a 4-layer MLP and a small transformer over features.
Measured in turn, in rows of the model a second:

- the model alone, on rows that are ready on the device, in its fastest batch of several;
- ``KernelSHAP`` and ``PermutationSHAP``, from the call to the result, and what part of that the engine spent with the model;
- a loop over explained rows that composes coalitions in NumPy, sends them over, and fetches outputs, in its fastest batch; the values
  themselves are not even estimated there.

Then float64 and float32 networks are explained on the device and on the host, and their values compared. How many rows are explained
follows from the model's own speed, so that every measurement takes about ``--seconds`` of it, and at most three times as long in all.

    python benchmarks/gpu_throughput.py --out benchmarks/results          (under 8 minutes on one GPU)
    python benchmarks/gpu_throughput.py --device cpu --quick              (the same code on the host, for a look at it)
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from _measure import conditions, save, spread, table
from torch import nn

import whybox as wb

D = 32
WANTED_OF_PURE, WANTED_OVER_HOST, WANTED_DIFFERENCE = 0.8, 5.0, 1e-9


def mlp(width: int) -> nn.Module:
    layers = [nn.Linear(D, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 2)]
    return nn.Sequential(*layers)


class Transformer(nn.Module):
    """Each feature is a token; two layers, four heads, the mean token is the answer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.randn(D, width)), nn.Parameter(torch.randn(D, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, D) features to (n, 2) outputs."""
        return self.head(self.encoder(x[:, :, None] * self.scale + self.shift).mean(1))


@dataclass(frozen=True)
class Case:
    """What one model is measured with."""

    net: nn.Module
    device: torch.device
    dtype: torch.dtype
    background: np.ndarray
    coalitions: int

    @property
    def per_row(self) -> int:
        """Rows of the model for one explained row."""
        return self.coalitions * len(self.background)


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def fastest(sizes: list[int], run: Callable[[int], float]) -> tuple[int, float]:
    """The size with the most rows a second; sizes that do not fit the memory are left out."""
    found: dict[int, float] = {}
    for size in sizes:
        try:
            run(size)  # warm
            found[size] = max(run(size) for _ in range(2))
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
    best = max(found, key=found.__getitem__)
    return best, found[best]


def pure(case: Case, size: int, seconds: float = 0.1) -> float:
    """Rows a second of the model alone."""
    rows = torch.randn(size, D, device=case.device).to(case.dtype)
    with torch.no_grad():
        finish(case.device)
        began, calls = time.perf_counter(), 0
        while calls == 0 or time.perf_counter() - began < seconds:
            case.net(rows)
            finish(case.device)
            calls += 1
    return size * calls / (time.perf_counter() - began)


def host_loop(case: Case, x: np.ndarray, size: int, masks: np.ndarray) -> float:
    """Rows a second of a loop that composes every coalition of an explained row on the host."""
    began = time.perf_counter()
    for row in x:
        rows = np.where(masks[:, None, :], row, case.background).reshape(-1, D)
        out = []
        with torch.no_grad():
            for i in range(0, len(rows), size):
                given = torch.from_numpy(rows[i : i + size]).to(device=case.device, dtype=case.dtype)
                out.append(case.net(given).float().cpu().numpy())
        np.concatenate(out).reshape(len(masks), len(case.background), -1).mean(1)
    return len(x) * len(masks) * len(case.background) / (time.perf_counter() - began)


def explained(make: Any, case: Case, x: np.ndarray) -> dict[str, float]:
    """Rows a second that the model answered, from the call to the result."""
    explainer = make(case.net, case.background)
    finish(case.device)
    began = time.perf_counter()
    e = explainer.explain(x, budget=case.coalitions)
    seconds = time.perf_counter() - began
    return {"rate": e.stats.n_queries / seconds, "share": e.stats.model_seconds / seconds, "batch": e.stats.batch_size}


def measure(name: str, case: Case, given: argparse.Namespace) -> tuple[list[list[str]], dict[str, Any]]:
    """The rows of the table, and every number."""
    rng = np.random.default_rng(1)
    masks = rng.random((case.coalitions, D)) < 0.5
    most = 13 if given.quick else 21
    best, speed = fastest([2**k for k in range(10, most + 1)], lambda size: pure(case, size))
    n = int(np.clip(given.seconds * speed / case.per_row, 4, 4000))
    x = rng.normal(size=(n, D)).astype(np.float32)
    few = x[: max(n // 8, 1)]
    host, _ = fastest([2**k for k in range(10, min(most, 18) + 1)], lambda size: host_loop(case, few[:1], size, masks))
    methods = {
        "KernelSHAP": wb.KernelSHAP,
        "KernelSHAP, least squares": partial(wb.KernelSHAP, estimator="least squares"),
        "PermutationSHAP": wb.PermutationSHAP,
    }
    rows_of = {}
    for method, make in methods.items():
        explained(make, case, few[:4])  # kernels are chosen, memory is reserved
        rate = explained(make, case, few)["rate"]
        rows_of[method] = int(
            np.clip(3 * given.seconds * rate / case.per_row, 4, n)
        )  # a solver that is slower than the model has its limit
    runs: dict[str, list[Any]] = {"alone": [], "host loop": [], **{method: [] for method in methods}}
    for _ in range(given.repeats):
        runs["alone"].append(pure(case, best, min(given.seconds, 2.0)))
        for method, make in methods.items():
            runs[method].append(explained(make, case, x[: rows_of[method]]))
        runs["host loop"].append(host_loop(case, x[:8], host, masks))
    rows = [[name, "the model alone", f"{best:,}", spread(runs["alone"]), "1", "", ""]]
    alone, loop = np.median(runs["alone"]), np.median(runs["host loop"])
    for method in methods:
        rates, share = [run["rate"] for run in runs[method]], np.median([run["share"] for run in runs[method]])
        batch = int(np.median([run["batch"] for run in runs[method]]))
        rate = np.median(rates)
        rows.append(
            [
                name,
                f"{method}, {rows_of[method]:,} rows",
                f"{batch:,}",
                spread(rates),
                f"{rate / alone:.2f}",
                f"{rate / loop:.1f}",
                f"{share:.2f}",
            ]
        )
    rows.append([name, "host loop", f"{host:,}", spread(runs["host loop"]), f"{loop / alone:.3f}", "1", ""])
    return rows, runs


def agreement(device: torch.device, quick: bool) -> tuple[list[list[str]], dict[str, float]]:
    """The largest difference of values on the device and on the host, against the largest value."""
    rows, found = [], {}
    rng = np.random.default_rng(2)
    x, background = rng.normal(size=(8 if quick else 64, D)), rng.normal(size=(50, D))
    for (name, make), dtype in itertools.product({"MLP": mlp, "transformer": Transformer}.items(), (torch.float64, torch.float32)):
        torch.manual_seed(0)
        net = make(64).to(dtype).eval()
        places = (torch.device("cpu"), device)
        values = [wb.KernelSHAP(net.to(where), background).explain(x, budget=128).values for where in places]
        difference = float(np.abs(values[0] - values[1]).max() / np.abs(values[0]).max())
        found[f"{name} {dtype}"] = difference
        rows.append([name, str(dtype).removeprefix("torch."), f"{difference:.1e}"])
    return rows, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", help='"cuda" or "cpu"; left out: cuda, where there is one')
    parser.add_argument("--seconds", type=float, default=4.0, help="of the model's own time, for each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="narrow models, few rows, once")
    parser.add_argument("--out", help="folder for gpu_throughput.md and .json")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    device = torch.device(given.device or "cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        missing = "no CUDA device here, nothing was measured; --device cpu --quick runs the same code on the host"
        print(missing)
        raise SystemExit(0 if given.device is None else 1)  # `make bench` runs every benchmark, wherever it is
    coalitions, background, widths = (64, 16, (64, 16)) if given.quick else (512, 512, (1024, 64))
    if given.quick:
        given.seconds, given.repeats = 0.1, 1
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    began = time.perf_counter()
    reference = np.random.default_rng(0).normal(size=(background, D)).astype(np.float32)
    rows, data = [], dict[str, Any]()
    for name, make, width in (("4-layer MLP", mlp, widths[0]), ("transformer", Transformer, widths[1])):
        torch.manual_seed(0)
        net = make(width).to(device=device, dtype=dtype).eval()
        more, data[name] = measure(name, Case(net, device, dtype, reference, coalitions), given)
        rows += more
    same, data["agreement"] = agreement(device, given.quick)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else "the host's processor as the device"
    command = " ".join(["python benchmarks/gpu_throughput.py", *sys.argv[1:]])
    named = str(dtype).removeprefix("torch.")
    kinds = f"{named}, {D} features, {coalitions} coalitions, {background} background rows, widths {widths[0]:,} and {widths[1]}"
    worst = max(value for key, value in data["agreement"].items() if "float64" in key)
    lines = [
        "# gpu_throughput",
        "",
        conditions(["whybox", "torch", "numpy"], command),
        f"Device: {machine}, CUDA {torch.version.cuda}. {kinds}. {given.repeats} run(s) in turn, median (least to most).",
        "",
        table(
            ["model", "what", "largest batch", "model rows a second", "of the model alone", "over host loop", "share in the model"], rows
        ),
        "",
        f"Wanted: {WANTED_OF_PURE} of the model alone, {WANTED_OVER_HOST:g} times the host loop.",
        "",
        table(["model", "dtype", f"largest difference, {device.type} and cpu, relative"], same),
        "",
        f"float64: {worst:.1e}, {'within' if worst <= WANTED_DIFFERENCE else 'BEYOND'} the {WANTED_DIFFERENCE:g} that rounding explains.",
        f"Took {time.perf_counter() - began:.0f} s.",
    ]
    save("gpu_throughput", "\n".join(lines), data, given.out)
    if worst > WANTED_DIFFERENCE:
        raise SystemExit("values on the device are not those on the host")


if __name__ == "__main__":
    main()
