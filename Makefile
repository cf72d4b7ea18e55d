# The two commands are `make demo` and `make test`. Everything they need is installed in .venv.
PYTHON ?= python3.11
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RECIPE ?= recipes/socratic-tutor
TESTERS ?= 2

.PHONY: help demo test slow check install install-dev vllm unsloth docs clean

help:  ## Show this help.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# Status 3 is a verdict other than ship: the bake ran to its end, and says what is missing.
demo: install  ## Bake the shipped recipe: documents and prompt in, an adapter and its verdict out.
	$(BIN)/tuning-room advise $(RECIPE)
	$(BIN)/tuning-room bake $(RECIPE) || test $$? -eq 3

test: install-dev  ## Run the tests in two processes of one thread each; takes minutes.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(TESTERS) --dist loadfile --no-loadscope-reorder

slow: install-dev  ## Run the slow tests too: the full bake, vLLM.
	$(BIN)/python -m pytest -m slow

check: install-dev  ## Run ruff, mypy and the architecture tests.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/unit/test_architecture.py

vllm:  ## Install vLLM's CPU build in .venv-vllm.
	bash scripts/install_vllm.sh

unsloth:  ## Install Unsloth for CPUs in .venv-unsloth, for its slow test and benchmark.
	bash scripts/install_unsloth.sh

docs: install-dev  ## Regenerate the generated parts of the docs.
	$(BIN)/python scripts/write_docs.py
	$(BIN)/python scripts/write_licences.py
	$(BIN)/python scripts/draw_architecture.py

clean:  ## Delete caches and runs; .venv stays.
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache .hypothesis

install: .venv/.installed
install-dev: .venv/.installed-dev

.venv/.installed: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "error: Python 3.11 is required; set PYTHON=..."; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (2.5 GB; takes a few minutes)"
	$(PIP) install torch==2.13.0
	$(PIP) install --no-deps --requirement requirements.txt
	$(PIP) install --no-deps --editable .
	touch $@

.venv/.installed-dev: .venv/.installed requirements-dev.txt
	$(PIP) install --no-deps --requirement requirements-dev.txt
	touch $@
