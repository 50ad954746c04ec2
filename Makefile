# Everything here runs from a fresh clone with nothing installed but Python 3.11, 3.12 or 3.13.

VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(SUITABLE)' 2>/dev/null && echo $$python && break; done)

.PHONY: conformance programs help demo test lint types bench clean

help:
	@echo "make demo    train a digit classifier (installs what it needs into $(VENV), no PyTorch)"
	@echo "make test    run the test suite, with PyTorch as the oracle"
	@echo "make programs  2,000 random programs on ToRSh and on PyTorch, compared"
	@echo "make conformance  PyTorch's operator database, all of it; fails on any difference from the expected table"
	@echo "make lint    ruff and the import contracts"
	@echo "make types   mypy"
	@echo "make bench   side by side with PyTorch"
	@echo "make clean   remove $(VENV) and the caches of the tools"

demo: $(VENV)/.extra-demo
	$(BIN)/torsh train digits

test: $(VENV)/.extra-test
	$(BIN)/python -m pytest -n $(WORKERS)

programs: $(VENV)/.extra-test
	TORSH_PROGRAMS=2000 $(BIN)/python -m pytest tests/tensor/test_programs.py

conformance: $(VENV)/.extra-test
	$(BIN)/python -m tests.conformance --check --jobs $(WORKERS)

lint: $(VENV)/.extra-dev
	$(BIN)/ruff check
	$(BIN)/lint-imports

types: $(VENV)/.extra-dev
	$(BIN)/mypy

bench: $(VENV)/.extra-test
	$(BIN)/python -m benchmarks

# One stamp for each extra of pyproject.toml: an install is repeated when that file changes, else not.
$(VENV)/.extra-%: pyproject.toml | $(BIN)/pip
	@echo "Installing ToRSh and its '$*' extra into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@

$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "ToRSh needs Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
