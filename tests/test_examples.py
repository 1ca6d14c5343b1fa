"""Every example runs, quickly, in an interpreter of its own, without a warning."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from whybox.explanations import Attribution

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(script: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", str(script), "--quick"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(script, tmp_path):
    done = run(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "an example prints what it found"


@pytest.mark.parametrize("fault", ["raise SystemExit(3)", "import warnings; warnings.warn('careful')", "import no_such_module"])
def test_broken_example_is_caught(fault, tmp_path):
    script = tmp_path / "broken.py"
    script.write_text(fault + "\n", encoding="utf-8")
    assert run(script, tmp_path).returncode != 0


def test_the_demos_table_has_the_errors_of_the_bar_plot():
    pytest.importorskip("matplotlib")
    importance = runpy.run_path(str(ROOT / "examples" / "demo.py"))["importance"]
    values = np.array([[1.0, -2.0], [1.0, 4.0]])
    parts = {"values": values, "base_values": [0.0, 0.0], "predictions": values.sum(axis=1), "feature_names": ("a", "b"), "method": "m"}
    e = Attribution(**parts, std_error=np.full((2, 2), 0.1))
    assert importance(e, e[:, ["b", "a"]]).to_numpy().tolist() == [
        ["b", "3.0000 ± 0.1960", "3.0000", 1],
        ["a", "1.0000 ± 0.1960", "1.0000", 2],
    ]


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_in_the_gallery(script):
    assert script.name in (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
