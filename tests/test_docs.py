"""The pages say what the code does: their Python runs here, and what they point at exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# ```python and ```{code-cell} run; what is only shown is written ```{code-block} python.
RUNS = re.compile(r"^```(?:python|\{code-cell\}[^\n]*)\n(?::[^\n]*\n|---\n.*?---\n)*(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]+)(?:#[^)]*)?\)")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def script(page: Path) -> str:
    """All runnable blocks of a page, one after the other, as a reader would type them."""
    return "\n".join(RUNS.findall(page.read_text(encoding="utf-8")))


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-"], input=code, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("page", [page for page in PAGES if script(page)], ids=name)
def test_code_of_page_runs(page, tmp_path):
    done = run(script(page), tmp_path)
    assert done.returncode == 0, done.stderr


def test_wrong_code_of_a_page_is_caught(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\n\nand\n\n```{code-cell} ipython3\n:tags: [hide]\nassert x == 2\n```\n", encoding="utf-8")
    assert "AssertionError" in run(script(page), tmp_path).stderr


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_of_page_lead_somewhere(page):
    dead = [target for target in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / target).exists()]
    assert dead == []


def test_readme_has_a_short_quickstart():
    first = RUNS.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert first is not None
    assert len(first.group(1).splitlines()) <= 20


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=name)
def test_page_is_in_the_table_of_contents(page):
    toctree = re.findall(r"```\{toctree\}\n(.*?)```", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert page.stem == "index" or page.stem in "\n".join(toctree).split()
