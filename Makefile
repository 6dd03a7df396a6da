# `make demo` and `make test` set up all they need; `make` alone lists what there is.
PYTHON ?= python3
VENV ?= .venv
DEMO_OUT = runs/demo
DEMO = maximize -g avatars-gan -s attribute:glasses --held-out attribute-judge:glasses \
	-m gradient -p step=0.05 -p batch=64 -n 1000 --seed 0 --out $(DEMO_OUT)
PYTEST_ARGS ?= -n 2
MUTANTS_ARGS ?=
FAULTS_ARGS ?=

BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet -c constraints.txt
READY_VENV = $(VENV)/.ready-venv
READY_USE = $(VENV)/.ready-use
READY_DEV = $(VENV)/.ready-dev
READY_MUTANTS = $(VENV)/.ready-mutants

.DEFAULT_GOAL = help
.PHONY: help demo test check types bench faults mutants docs clean

help:  ## list these targets
	@echo "usage: make TARGET"
	@grep -E '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):.*## */  \1\t/'
	@echo "variables: PYTHON (python3), VENV (.venv), PYTEST_ARGS (-n 2), MUTANTS_ARGS, FAULTS_ARGS"

demo: $(READY_USE)  ## install, maximise a score over a shipped generator, write a page
	@rm -rf -- $(DEMO_OUT)
	$(BIN)/zmax $(DEMO)
	@test -f $(DEMO_OUT)/report.html || $(BIN)/zmax report $(DEMO_OUT)
	@echo "the page: file://$(abspath $(DEMO_OUT))/report.html"

test: $(READY_DEV)  ## install and run the whole test suite
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(READY_DEV)  ## style, types, law tests, documentation with strict links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory -j 2 types docs
	$(BIN)/python -m pytest -q tests/test_laws.py $(PYTEST_ARGS)

types: $(READY_DEV)
	$(BIN)/mypy

bench: $(READY_DEV)  ## run the benchmarks; figures go to benchmarks/results
	@set -e; for file in $$(grep -l '__main__' benchmarks/*.py | grep -v faults); do \
		echo "$$file"; $(BIN)/python -m "benchmarks.$$(basename "$$file" .py)"; done

faults: $(READY_DEV)  ## kill runs at every write, resume and compare them; FAULTS_ARGS=--help
	$(BIN)/python -m benchmarks.faults $(FAULTS_ARGS)

mutants: $(READY_MUTANTS)  ## break the source at random and count what no test notices; MUTANTS_ARGS=--help
	$(BIN)/python -m benchmarks.mutants $(MUTANTS_ARGS)

docs: $(READY_DEV)  ## build the documentation into docs/_build/html
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "the documentation: file://$(abspath docs/_build/html)/index.html"

clean:  ## remove the environment, caches, built files and the demo's run
	rm -rf -- $(VENV) $(DEMO_OUT) docs/_build docs/reference dist build .mypy_cache .ruff_cache .pytest_cache .mutants.json
	find src zoo tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY_VENV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "zmax needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 || echo missing)."; \
		echo "Install one and name it: make PYTHON=python3.12 $(firstword $(MAKECMDGOALS))"; exit 2; } >&2
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: its venv or ensurepip module is missing."; \
		echo "On Debian or Ubuntu: apt install python3-venv"; exit 2; } >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@touch $@

$(READY_USE): $(READY_VENV) pyproject.toml constraints.txt
	@echo "installing zmax into $(VENV) (torch is the large part)"
	$(PIP) torch
	$(PIP) -e .
	@touch $@

$(READY_DEV): $(READY_USE)
	@echo "installing the tools for development into $(VENV)"
	$(PIP) -e '.[dev]'
	@touch $@

$(READY_MUTANTS): $(READY_DEV)
	@echo "installing what breaks the source into $(VENV)"
	$(PIP) -e '.[mutants]'
	@touch $@
