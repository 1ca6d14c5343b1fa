"""The project's own files agree with one another."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
FOR_DEVELOPERS = {"serve", "all", "bench", "dev", "docs", "test"}


def pins(text: str) -> dict[str, Version]:
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return {name: Version(version) for name, version in (line.split("==") for line in lines if line)}


PINS = pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))


def requirements() -> list[Requirement]:
    return [Requirement(line) for line in PROJECT["dependencies"] + [line for lines in EXTRAS.values() for line in lines]]


def unpinned(wanted: list[Requirement], pinned: dict[str, Version]) -> list[str]:
    return [str(r) for r in wanted if r.name != "whybox" and (r.name not in pinned or pinned[r.name] not in r.specifier)]


def test_every_requirement_is_pinned_within_its_range():
    assert unpinned(requirements(), PINS) == []


@pytest.mark.parametrize("line", ["nosuchpackage>=1", "numpy>=99"])
def test_missing_or_outdated_pin_is_caught(line):
    assert unpinned([Requirement(line)], PINS) == [line]


def test_pins_are_sorted_and_single():
    names = [line.split("==")[0] for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line]
    assert names == sorted(set(names))


def test_the_oldest_versions_are_the_lower_bounds():
    """``make oldest`` tests what pyproject.toml promises. A few pins are above: the first release that works with the others."""
    lines = [line.split("#") for line in (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()]
    oldest = {Requirement(line[0]).name: (Requirement(line[0]), len(line) > 1) for line in lines if line[0].strip()}
    extras = ("torch", "hf", "http", "concepts", "shap", "lime", "image", "plot", "parquet")
    for wanted in [Requirement(line) for line in PROJECT["dependencies"] + [line for extra in extras for line in EXTRAS[extra]]]:
        if wanted.name == "whybox":
            continue
        pinned, explained = oldest[wanted.name]
        (bound,), (pin,) = ([Version(part.version) for part in r.specifier] for r in (wanted, pinned))
        assert pin == bound or (pin > bound and explained), wanted.name


def test_extra_all_holds_every_extra_of_a_user():
    (line,) = EXTRAS["all"]
    assert Requirement(line).extras == set(EXTRAS) - FOR_DEVELOPERS


def test_extras_named_in_errors_exist():
    """The command that MissingDependencyError tells people to run must work."""
    named = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("MissingDependencyError"):
                extra = node.args[1] if len(node.args) > 1 else next(k.value for k in node.keywords if k.arg == "extra")
                if isinstance(extra, ast.Constant):
                    named.add(extra.value)
    assert named <= set(EXTRAS)


def test_version_heads_the_changelog():
    (first, *_) = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert first in {PROJECT["version"], "Unreleased"}


def test_ci_runs_the_command_of_the_readme():
    script = ROOT / ".ci" / "run"
    commands = [line for line in script.read_text(encoding="utf-8").splitlines() if line.startswith("exec ")]
    assert commands == ["exec make test </dev/null"]
    assert os.access(script, os.X_OK)
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test", "lint", "bench", "docs", "clean"):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
        assert f"make {target} " in makefile, f"{target} is not in the head comment"


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout: there is no list of committed files")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_committed_files_name_no_machine():
    """A path of somebody's machine works nowhere else."""
    pattern = re.compile(r"(?<![\w.])/(?:work|home|Users|opt)/[\w.-]+|\.\./shared\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked()
        if path != Path(__file__) and path.suffix in {".py", ".md", ".toml", ".txt", ".yml", ".ipynb", ""}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_committed_files_are_small():
    assert [str(path.relative_to(ROOT)) for path in tracked() if path.stat().st_size > 500_000] == []
