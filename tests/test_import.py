"""What ``import whybox`` costs and brings, and what the public names promise."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import whybox

ROOT = Path(__file__).parents[1]
HEAVY = {
    "aiohttp",
    "captum",
    "lightgbm",
    "lime",
    "matplotlib",
    "networkx",
    "numba",
    "pandas",
    "pyspark",
    "ray",
    "shap",
    "shapiq",
    "skimage",
}
HEAVY |= {"sklearn", "torch", "transformers", "xgboost"}
MOST_SECONDS = 0.3  # beyond numpy, of this process alone

PROBE = """
import json, sys, time
import numpy
before, start = set(sys.modules), time.process_time()
import {module}
print(json.dumps({{"seconds": time.process_time() - start, "modules": sorted(set(sys.modules) - before)}}))
"""


def probe(module: str) -> dict:
    """CPU seconds and new modules of one import in a fresh interpreter that has NumPy already."""
    run = subprocess.run([sys.executable, "-W", "error", "-c", PROBE.format(module=module)], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_import_brings_no_optional_library():
    brought = {name.split(".")[0] for name in probe("whybox")["modules"]}
    assert not brought & HEAVY, f"import whybox imports {sorted(brought & HEAVY)}; import them where they are used"


def test_import_is_fast():
    # The least of five: what else the machine does can only add.
    seconds = min(probe("whybox")["seconds"] for _ in range(5))
    assert seconds < MOST_SECONDS, f"import whybox takes {seconds:.3f} s beyond numpy; allowed are {MOST_SECONDS} s"


def test_probe_sees_a_slow_import():
    slow = probe("sklearn.base")
    assert "sklearn" in {name.split(".")[0] for name in slow["modules"]} & HEAVY
    assert slow["seconds"] > MOST_SECONDS / 10


def test_public_names_are_one_sorted_list_and_exist():
    order = sorted(set(whybox.__all__), key=lambda name: (not name.isupper(), not name[0].isupper(), name))  # as ruff sorts them
    assert list(whybox.__all__) == order
    missing = [name for name in whybox.__all__ if not hasattr(whybox, name)]
    assert missing == []
    assert set(whybox.__all__) <= set(dir(whybox))


PACKAGES = ["whybox", *(f"whybox.{name}" for name in whybox.__all__ if inspect.ismodule(getattr(whybox, name)))]
PACKAGES += ["whybox.engine", "whybox.explainers", "whybox.explanations", "whybox.plots", "whybox.testing"]


def strangers(module) -> list[str]:
    """Names that tab completion shows and that are neither public nor a module of the package."""
    public = getattr(module, "__all__", None)
    if public is None:  # errors: every class of its own
        public = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    shown = [name for name in dir(module) if not name.startswith("_") and name not in public]
    return [name for name in shown if f"{module.__name__}.{name}" not in sys.modules]


@pytest.mark.parametrize("name", PACKAGES)
def test_tab_completion_shows_public_names(name):
    module = importlib.import_module(name)
    assert strangers(module) == []
    assert set(getattr(module, "__all__", ())) <= set(dir(module))
    assert {"__doc__", "__name__", "__file__"} <= set(dir(module))


def test_tab_completion_of_whybox_itself_shows_nothing_else():
    assert {name for name in dir(whybox) if not name.startswith("__")} == set(whybox.__all__)


def test_saboteur_name_is_caught():
    stranger = types.ModuleType("whybox.stranger")
    stranger.__all__, stranger.Any, stranger.fine = ["fine"], object, 1
    assert strangers(stranger) == ["Any"]


def test_public_names_are_in_the_api_page():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    written = set(re.findall(r"^   ([\w.]+)$", page, flags=re.MULTILINE))
    public = [*whybox.__all__, *(f"spaces.{name}" for name in whybox.spaces.__all__)]
    public += [f"errors.{name}" for name, value in vars(whybox.errors).items() if inspect.isclass(value)]
    assert [name for name in public if name not in written] == []


def public_objects() -> list[tuple[str, object]]:
    """Public classes and functions, also those of the public submodules, by the name that a user types."""
    found = []
    for name in whybox.__all__:
        value = getattr(whybox, name)
        if inspect.ismodule(value):
            found += [(f"{name}.{inner}", getattr(value, inner)) for inner in getattr(value, "__all__", ())]
        else:
            found.append((name, value))
    return [(name, value) for name, value in found if inspect.isclass(value) or inspect.isfunction(value)]


def own_arguments(value: object) -> list[str]:
    """Arguments that a caller may pass, in order."""
    try:
        parameters = inspect.signature(value).parameters.values()  # type: ignore[arg-type]
    except ValueError:
        return []
    return [parameter.name for parameter in parameters if parameter.name not in {"self", "cls", "args", "kwargs", "kwds"}]


def docstring_faults(name: str, value: object) -> list[str]:
    """What a docstring lacks: a first line that is a sentence, each argument under Args, an example that doctest runs."""
    own = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__  # a class without one would show its base's
    text = inspect.cleandoc(own) if own else None
    if text is None or text.startswith(f"{getattr(value, '__name__', '')}("):  # a dataclass makes up the latter
        return [f"{name}: no docstring"]
    faults = []
    if not text.splitlines()[0].rstrip().endswith("."):
        faults.append(f"{name}: the first line is no sentence")
    if inspect.isclass(value) and issubclass(value, BaseException):
        return faults  # an error's page says what was wrong; it is not called by users
    faults += [
        f"{name}: {argument} is not under Args"
        for argument in own_arguments(value)
        if not re.search(rf"^\s+\*?{argument}\b.*:", text, re.MULTILINE)
    ]
    if not (inspect.isclass(value) and getattr(value, "_is_protocol", False)) and ">>> " not in text:
        faults.append(f"{name}: no example")
    return faults


def test_public_objects_are_documented():
    assert [fault for name, value in public_objects() for fault in docstring_faults(name, value)] == []


def no_docstring(x): ...


def no_sentence(x):
    """Adds

    Args:
        x: a number.

    Example:
        >>> 1
        1
    """


def no_argument(x, y):
    """Add.

    Args:
        x: a number.

    Example:
        >>> 1
        1
    """


def no_example(x):
    """Add.

    Args:
        x: a number.
    """


@pytest.mark.parametrize("saboteur", [no_docstring, no_sentence, no_argument, no_example], ids=lambda value: value.__name__)
def test_saboteur_docstring_is_caught(saboteur):
    assert len(docstring_faults(saboteur.__name__, saboteur)) == 1
