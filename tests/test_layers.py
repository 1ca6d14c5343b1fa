"""The rules of docs/architecture.md that a source file alone can break, read from the source. Each rule has a saboteur."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "whybox"

# A room may import rooms of earlier lines, and itself. Rooms of one line are siblings: they do not import one another.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "typing"),
    ("_cells",),
    ("_arrays", "_random"),
    ("_buffer", "_devices"),
    ("explanations", "_remote", "_templates", "_torch", "_warn"),
    ("models", "llms", "spaces", "engine"),
    ("samplers", "solvers"),
    ("explainers", "concepts"),
    ("datasets",),
    ("callbacks", "evaluation", "distributed", "plots", "testing"),
    ("__init__",),
)
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}

# Against the direction, each with its reason.
UPWARD = {
    ("explanations", "plots"): "explanation.plot is the door to the plots; it opens, by name, when one is drawn",
}

# What may be imported when whybox is: the core dependencies. Everything else waits for the adapter that needs it.
CORE = {"whybox", "numpy", "scipy", "sklearn", "pandas", "array_api_compat", "tqdm", *sys.stdlib_module_names}

# Rooms and files that may touch an attribute named predict, each with its reason.
PREDICTS = {
    "engine": "the one caller of the model",
    "testing": "check_model asks the bare model, to see what the engine would put right",
}

MAX_LINES = 350


def room(path: Path, root: Path) -> str:
    """The first step below the package: a folder or a module."""
    return path.relative_to(root).parts[0].removesuffix(".py")


def sources(root: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(root.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(node: ast.AST) -> list[str]:
    """Dotted names that an import names, also one by ``import_module``; for ``from a import b`` both a.b, as b may be a module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module or ''}.{alias.name}" for alias in node.names] if not node.level else ["." * node.level + (node.module or "")]
    if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}:
        return [argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)]
    return []


def at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: not the bodies of functions, not ``if TYPE_CHECKING``."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        waiting.extend(ast.iter_child_nodes(node))


def imports_against_the_layers(root: Path) -> Iterator[str]:
    rooms = {room(path, root) for path in root.rglob("*.py")}
    for path, tree in sources(root):
        here = room(path, root)
        if here not in RANK:
            yield f"{path.relative_to(root)}: the room {here!r} has no place in LAYERS"
            continue
        for node in ast.walk(tree):
            for name in imported(node):
                if name.startswith("."):
                    yield f"{path.relative_to(root)}:{node.lineno}: relative import {name}"
                steps = name.split(".")
                if steps[0] != "whybox":
                    continue
                there = steps[1] if len(steps) > 1 and steps[1] in rooms | set(RANK) else "__init__"
                if there == here or (here, there) in UPWARD or RANK.get(there, 99) < RANK[here]:
                    continue
                yield f"{path.relative_to(root)}:{node.lineno}: {here} may not import {there}"


def optional_imports_at_import(root: Path) -> Iterator[str]:
    for path, tree in sources(root):
        for node in at_import(tree):
            for name in imported(node):
                if not name.startswith(".") and name.split(".")[0] not in CORE:
                    yield f"{path.relative_to(root)}:{node.lineno}: {name} is imported at import; move it into the function that needs it"


def generators_made_elsewhere(root: Path) -> Iterator[str]:
    """Any way to make, seed or use a generator other than through _random.generator; naming the type is fine."""
    makers = {"default_rng", "RandomState", "SeedSequence", "PCG64", "Philox", "manual_seed", "seed_all", "check_random_state"}
    torch_draws = {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "Generator", "seed"}
    for path, tree in sources(root):
        if path == root / "_random.py":
            continue
        for node in ast.walk(tree):
            names = imported(node)
            found = [name for name in names if name.split(".")[0] in {"random", "secrets"} or name.startswith("numpy.random")]
            if isinstance(node, ast.Attribute):
                owner = ast.unparse(node.value)
                if (
                    node.attr in makers
                    or (owner in {"np.random", "numpy.random"} and node.attr != "Generator")
                    or (owner == "torch" and node.attr in torch_draws)
                ):
                    found.append(f"{owner}.{node.attr}")
            if isinstance(node, ast.Name) and node.id in makers:
                found.append(node.id)
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("random.Generator"):
                found.append(ast.unparse(node.func))
            for name in found:
                yield f"{path.relative_to(root)}:{node.lineno}: {name}; take an rng, or ask _random.generator for one"


def predicts(tree: ast.Module) -> list[ast.Attribute]:
    """Where a model's methods are named, apart from whybox.engine.Run.predict: the engine at work."""
    methods = {"predict", "predict_proba", "decision_function"}
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in methods]
    return [node for node in found if ast.unparse(node.value).split(".")[-1] != "run"]


def models_called_elsewhere(root: Path) -> Iterator[str]:
    """Also an alias (``f = model.predict``) counts: what is not named cannot be called."""
    for path, tree in sources(root):
        if room(path, root) in PREDICTS or path.relative_to(root).as_posix() in PREDICTS:
            continue
        for node in predicts(tree):
            yield f"{path.relative_to(root)}:{node.lineno}: {ast.unparse(node)}; only the engine calls the model"


def long_files(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob("*.py")):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MAX_LINES:
            yield f"{path.relative_to(root)}: {lines} lines, more than {MAX_LINES}; split it by responsibility"


RULES = (imports_against_the_layers, optional_imports_at_import, generators_made_elsewhere, models_called_elsewhere, long_files)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_source_keeps_rule(rule):
    assert not (found := list(rule(SOURCE))), "\n".join(found)


def test_every_exception_is_used():
    """An exception that nobody needs any longer hides the next mistake."""
    used = set()
    for path, tree in sources(SOURCE):
        used |= {
            (room(path, SOURCE), name.split(".")[1]) for node in ast.walk(tree) for name in imported(node) if name.startswith("whybox.")
        }
    assert set(UPWARD) <= used
    touching = [
        name for path, tree in sources(SOURCE) for name in (room(path, SOURCE), path.relative_to(SOURCE).as_posix()) if predicts(tree)
    ]
    assert set(PREDICTS) <= set(touching)


def test_architecture_page_draws_these_layers():
    page = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert " <- ".join(", ".join(rooms) for rooms in LAYERS) in " ".join(page.split())


# A clean tree, and for each rule the ways to break it. Each saboteur must be reported by its rule and by no other.
CLEAN = {
    "__init__.py": "from whybox.explainers import kernel\n",
    "errors.py": "class WhyboxError(Exception): ...\n",
    "_random.py": "import numpy as np\ndef generator(seed):\n    return np.random.default_rng(seed)\n",
    "engine/run.py": "from whybox.errors import WhyboxError\ndef run(model, x):\n    return model.predict(x)\n",
    "spaces/marginal.py": "import numpy as np\ndef draw(rng: np.random.Generator):\n    return rng.random()\n",
    "solvers/wls.py": "from whybox.engine import run\nfrom whybox.spaces.marginal import draw\n",
    "explainers/own.py": "from whybox.engine import Run\ndef f(run: Run, x):\n    return run.predict(x)\n",
    "explainers/kernel.py": (
        "from typing import TYPE_CHECKING\nimport scipy.linalg\nfrom whybox.solvers import wls\n"
        "if TYPE_CHECKING:\n    import torch\ndef f():\n    import shap\n    return shap\n"
    ),
}
SABOTEURS: dict[str, tuple[Callable[[Path], Iterator[str]], str, str]] = {
    "a lower room imports a higher one": (imports_against_the_layers, "engine/bad.py", "from whybox.explainers import kernel\n"),
    "a sibling imports a sibling": (imports_against_the_layers, "spaces/bad.py", "import whybox.engine.run\n"),
    "a room imports a higher one inside a function": (
        imports_against_the_layers,
        "spaces/bad.py",
        "def f():\n    from whybox.solvers import wls\n    return wls\n",
    ),
    "a room imports a higher one for its types": (
        imports_against_the_layers,
        "engine/bad.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from whybox.explainers import kernel\n",
    ),
    "a room imports the package itself": (imports_against_the_layers, "engine/bad.py", "import whybox\n"),
    "a room imports a public name of the package": (imports_against_the_layers, "engine/bad.py", "from whybox import KernelSHAP\n"),
    "a room imports a higher one from the package": (imports_against_the_layers, "engine/bad.py", "from whybox import explainers\n"),
    "a room imports a higher one by its name": (
        imports_against_the_layers,
        "engine/bad.py",
        "from importlib import import_module\ndef f():\n    return import_module('whybox.explainers')\n",
    ),
    "a relative import hides the direction": (imports_against_the_layers, "engine/bad.py", "from ..explainers import kernel\n"),
    "a room that is in no layer": (imports_against_the_layers, "utils.py", "x = 1\n"),
    "an optional library at the top": (optional_imports_at_import, "models/bad.py", "import torch\n"),
    "an optional library in a try": (
        optional_imports_at_import,
        "models/bad.py",
        "try:\n    from torch import nn\nexcept ImportError:\n    nn = None\n",
    ),
    "an optional library in a class body": (optional_imports_at_import, "models/bad.py", "class A:\n    import shap\n"),
    "an optional library beside TYPE_CHECKING": (
        optional_imports_at_import,
        "models/bad.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    import shap\n",
    ),
    "a generator made in a solver": (generators_made_elsewhere, "solvers/bad.py", "import numpy as np\nrng = np.random.default_rng(0)\n"),
    "a generator imported": (generators_made_elsewhere, "solvers/bad.py", "from numpy.random import Generator\n"),
    "a generator built from its bits": (
        generators_made_elsewhere,
        "solvers/bad.py",
        "import numpy as np\ndef f(bits):\n    return np.random.Generator(bits)\n",
    ),
    "the global generator seeded": (generators_made_elsewhere, "solvers/bad.py", "import numpy as np\nnp.random.seed(0)\n"),
    "the global generator used": (generators_made_elsewhere, "solvers/bad.py", "import numpy as np\nx = np.random.normal()\n"),
    "Python's generator": (generators_made_elsewhere, "solvers/bad.py", "import random\n"),
    "torch's generator seeded": (generators_made_elsewhere, "models/bad.py", "def f():\n    import torch\n    torch.manual_seed(0)\n"),
    "torch's generator used": (generators_made_elsewhere, "models/bad.py", "def f():\n    import torch\n    return torch.randn(3)\n"),
    "an explainer calls the model": (models_called_elsewhere, "explainers/bad.py", "def f(model, x):\n    return model.predict(x)\n"),
    "an explainer calls the model by another name": (
        models_called_elsewhere,
        "explainers/bad.py",
        "def f(model, x):\n    g = model.predict\n    return g(x)\n",
    ),
    "a metric calls the estimator": (models_called_elsewhere, "evaluation/bad.py", "def f(model, x):\n    return model.predict_proba(x)\n"),
    "a file grows without end": (long_files, "solvers/bad.py", "x = 1\n" * (MAX_LINES + 1)),
}


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_clean_tree_passes_every_rule(tmp_path):
    root = plant(tmp_path, CLEAN)
    assert [found for rule in RULES for found in rule(root)] == []


@pytest.mark.parametrize("saboteur", SABOTEURS)
def test_saboteur_is_caught_by_its_rule_alone(saboteur, tmp_path):
    rule, name, text = SABOTEURS[saboteur]
    root = plant(tmp_path, CLEAN | {name: text})
    caught = {other.__name__: found for other in RULES if (found := list(other(root)))}
    assert set(caught) == {rule.__name__}, caught
    assert [line.split(":")[0] for line in caught[rule.__name__]] == [name]
