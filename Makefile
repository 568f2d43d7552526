# Everything a developer does with this project has a word here; continuous integration says the
# same words. `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV ?= .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
# The Python that the environment is made from: make setup PYTHON=/path/to/python3.12
PYTHON ?=
# Further arguments for pip, for instance a wheel folder or the index of another torch build.
PIP_ARGS ?=
# Versions that pip keeps to, and the torch of `make test-torch TORCH=2.12.0`.
CONSTRAINTS ?= constraints.txt
TORCH ?=
# How many processes run the tests, and further arguments for pytest.
JOBS ?= 2
ARGS ?=

FAST := not slow and not exhaustive and not browser and not distributed and not integration
REQUIREMENTS := pyproject.toml constraints.txt
PYTEST := $(PY) -m pytest

.PHONY: help setup demo studies test test-ranks test-integrations test-torch test-all check fmt bench exhaustive docs \
  notebooks dist try-wheel release-check constraints clean

help: ## List these targets
	@echo "DeepHochuli: make TARGET"
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort \
	  | awk -F ':.*## ' '{ printf "  %-18s %s\n", $$1, $$2 }'
	@echo "Variables: PYTHON=python3.12  VENV=.venv  PIP_ARGS='...'  JOBS=2  ARGS='extra arguments'"

setup: $(VENV)/.installed-dev ## Make .venv and install the package with all development tools

demo: $(VENV)/.installed-demo ## Train, record and report a small residual CNN in three precisions
	@echo "==> Training, recording and reporting (examples/demo.py)"
	@$(PY) examples/demo.py $(ARGS)

studies: $(VENV)/.installed-studies ## Measure the founding claims again; ARGS=--quick takes three minutes
	@echo "==> All studies; what was measured before is not measured again (runs/studies)"
	@$(BIN)/deephochuli study all --to runs/studies --html runs/studies.html $(ARGS)

test: $(VENV)/.installed-dev ## Run the fast tests, and the examples in docstrings
	@echo "==> Fast tests ($(FAST)), $(JOBS) processes"
	@$(PYTEST) -m "$(FAST)" -n $(JOBS) $(ARGS)

test-ranks: $(VENV)/.installed-dev ## Run the tests that start several processes on this machine
	@echo "==> Tests of several ranks"
	@$(PYTEST) -m "distributed and not slow" $(ARGS)

test-integrations: $(VENV)/.installed-dev ## Run the tests with real trainers and trackers
	@echo "==> Trainers and trackers"
	@$(PYTEST) -m "integration and not slow" tests/e2e/integrations $(ARGS)

# Its torch comes from PyPI, on Linux with the libraries for GPUs: some gigabytes.
test-torch: ## Run the fast tests with another torch, in build/: make test-torch TORCH=2.12.0
	@test -n "$(TORCH)" || { echo "Which torch? make test-torch TORCH=2.12.0" >&2; exit 1; }
	@mkdir -p build
	@sed -E 's/^torch==.*/torch==$(TORCH)/' constraints.txt > build/torch-$(TORCH).txt
	@$(MAKE) --no-print-directory test VENV=build/torch-$(TORCH) CONSTRAINTS=build/torch-$(TORCH).txt

test-all: $(VENV)/.installed-dev ## Run every test but the exhaustive ones
	@echo "==> All tests, $(JOBS) processes"
	@HYPOTHESIS_PROFILE=thorough $(PYTEST) -m "not exhaustive" -n $(JOBS) $(ARGS)

check: $(VENV)/.installed-dev ## Check format, lint, types, import floors and vocabulary
	@echo "==> Format (ruff format --check)"
	@$(BIN)/ruff format --check .
	@echo "==> Lint (ruff check)"
	@$(BIN)/ruff check .
	@echo "==> Types (pyright, strict)"
	@$(BIN)/pyright --pythonpath $(PY)
	@echo "==> Architecture and vocabulary"
	@$(PYTEST) -q tests/architecture

fmt: $(VENV)/.installed-dev ## Format the code and repair what the linter can
	@$(BIN)/ruff check --fix-only --exit-zero .
	@$(BIN)/ruff format .

bench: $(VENV)/.installed-bench ## Measure what recording costs, beside other tools
	@echo "==> Overhead (benchmarks/overhead.py); many interleaved pairs, this takes a while"
	@$(PY) benchmarks/overhead.py $(ARGS)
	@echo "==> Kernels (benchmarks/kernels.py)"
	@$(PY) benchmarks/kernels.py
	@echo "==> Rounding tensors (benchmarks/rounding.py)"
	@$(PY) benchmarks/rounding.py
	@echo "==> Emulated products (benchmarks/products.py)"
	@$(PY) benchmarks/products.py

exhaustive: $(VENV)/.installed-dev ## Walk all 2^32 binary32 patterns through the rounding oracle
	@echo "==> Exhaustive rounding tests; this takes a while"
	@$(PYTEST) -m exhaustive -s tests/reference $(ARGS)

docs: $(VENV)/.installed-dev ## Check links, commands and code of the documentation; build the site
	@echo "==> Links, commands and pages"
	@$(PYTEST) -q tests/architecture/test_documentation.py docs/_ext $(ARGS)
	@echo "==> The code that the pages show"
	@$(PYTEST) -q tests/docs -n $(JOBS) $(ARGS)
	@echo "==> The site (Sphinx; a warning is an error)"
	@$(BIN)/sphinx-build -E -W -q --keep-going docs docs/_build/html
	@echo "==> docs/_build/html/index.html"

notebooks: $(VENV)/.installed-dev ## Write examples/notebooks from the scripts of the tutorials
	@$(PY) docs/_ext/notebooks.py

dist: $(VENV)/.installed-dev ## Build wheel and source archive; check that they are whole and repeat
	@echo "==> dist/ (tools/build_dist.py)"
	@$(PY) tools/build_dist.py

try-wheel: dist ## Install the wheel into an empty environment, try it as a new user; write dist/sbom.json
	@echo "==> An empty environment (tools/try_wheel.py); this downloads what a new user downloads"
	@$(PY) tools/try_wheel.py -- $(PIP_ARGS)

release-check: $(VENV)/.installed-dev ## Check that code, changelog, citation and tag name one version
	@$(PY) tools/check_release.py

# triton has no pin: each torch for GPUs needs one version of it, another than the next torch.
constraints: $(VENV)/.installed-dev $(VENV)/.installed-bench ## Write constraints.txt from .venv
	@$(PY) -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9_.-]+==' | grep -v '^triton==' \
	  | sed -E 's/\+[a-z0-9.]+$$//' | LC_ALL=C sort -f > constraints.txt
	@echo "==> constraints.txt: $$(wc -l < constraints.txt) packages"

clean: ## Remove what tests and tools left behind, not the environment
	rm -rf .pytest_cache .ruff_cache .hypothesis build dist .bench

# An environment that cannot start its own Python (moved, half made, too old) is made anew.
$(VENV)/.made:
	@if $(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    && $(PY) -m pip --version >/dev/null 2>&1; then \
	  echo "==> Using the environment in $(VENV)"; \
	else \
	  found=""; \
	  for candidate in $(if $(PYTHON),"$(PYTHON)",python3.11 python3.12 python3.13 python3 python); do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	      found="$$candidate"; break; \
	    fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "DeepHochuli needs Python 3.11 or newer, and $(if $(PYTHON),$(PYTHON) is not one,none was found on PATH)." >&2; \
	    echo "Install one, or name it: make setup PYTHON=/path/to/python3.11" >&2; \
	    exit 1; \
	  fi; \
	  echo "==> Making the environment in $(VENV) with $$("$$found" --version)"; \
	  "$$found" -m venv --clear $(VENV); \
	fi
	@touch $@

# torch is named with its pin in the same pip call, so that pip never weighs another version.
$(VENV)/.installed-%: $(REQUIREMENTS) | $(VENV)/.made
	@echo "==> Installing deephochuli[$*] into $(VENV) (pins: $(CONSTRAINTS))"
	@$(PY) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) \
	  --constraint $(CONSTRAINTS) "$$(grep '^torch==' $(CONSTRAINTS))" --editable ".[$*]"
	@touch $@
