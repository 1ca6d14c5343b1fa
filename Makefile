# One command a purpose. Each makes the environment that it needs, once, from constraints.txt.
#
#   make demo    explain a model and write report.html
#   make test    lint, type check, tests, doctests, examples: what CI runs
#   make lint    the first two of these
#   make bench   whybox beside its peers, on this machine
#   make docs    the HTML pages, warnings are errors
#   make oldest  the tests with the lower bounds of pyproject.toml (PYTHON=python3.11; downloads several GB)
#   make clean   remove every environment and every built file
#
# PYTHON=python3.12 chooses the interpreter; ARGS="-k lime" goes to pytest, the demo or the benchmarks;
# JOBS=0 runs the tests in one process instead of one a core;
# BENCH=benchmarks/lime_speed.py runs one benchmark (ARGS="--help" tells its options).

PYTHON ?= python3
ARGS ?=
JOBS ?= auto
BENCH ?= $(wildcard benchmarks/[a-z]*.py)

.DEFAULT_GOAL := test
.PHONY: demo test lint bench docs oldest clean

.venv/.installed: EXTRAS = test
.venv-demo/.installed: EXTRAS = plot
.venv-docs/.installed: EXTRAS = docs
.venv-bench/.installed: EXTRAS = bench

.venv/.installed .venv-demo/.installed .venv-docs/.installed .venv-bench/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

demo: .venv-demo/.installed
	.venv-demo/bin/python examples/demo.py --out report.html $(ARGS)

lint: .venv/.installed
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

test: lint
	.venv/bin/python -m pytest -n $(JOBS) $(ARGS)

# These ask for packages or versions that do not install beside the others; what they really need is there already.
bench: .venv-bench/.installed
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps fastshap==0.3.1 dice-ml==0.12 raiutils==0.4.2 NICEx==0.2.3
	for script in $(BENCH); do .venv-bench/bin/python $$script $(ARGS) || exit 1; done

docs: .venv-docs/.installed
	rm -rf docs/generated
	.venv-docs/bin/python -m sphinx -W --keep-going -b html docs docs/_build/html $(ARGS)

# Warnings of old releases about one another are no errors here.
oldest: .venv-oldest/.installed
	.venv-oldest/bin/python -m pytest -n $(JOBS) -W default --deselect "tests/test_docs.py::test_code_of_page_runs[docs/migration.md]" $(ARGS)

.venv-oldest/.installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt \
		-e '.[torch,hf,http,llm,concepts,shap,lime,image,plot,parquet]' pytest pytest-xdist hypothesis array-api-strict packaging
	touch $@

clean:
	rm -rf .venv .venv-oldest .venv-demo .venv-docs .venv-bench build dist docs/_build docs/generated report.html
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests examples docs -name __pycache__ -type d -prune -exec rm -rf {} +
