# Everything here runs from a fresh clone with nothing installed but Python 3.11, 3.12 or 3.13.

VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
MYPY := $(shell sed -n 's/^requires = .*"\(mypy==[0-9.]*\)".*/\1/p' pyproject.toml)

SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(SUITABLE)' 2>/dev/null && echo $$python && break; done)

.PHONY: conformance programs help demo test test-interpreted build lint types bench clean

help:
	@echo "make demo    train a digit classifier (installs what it needs into $(VENV), no PyTorch)"
	@echo "make test    run the test suite, with PyTorch as the oracle"
	@echo "make test-interpreted  the same with the hot modules interpreted"
	@echo "make build   compile the hot modules again (needs a C compiler)"
	@echo "make programs  2,000 random programs on ToRSh and on PyTorch, compared"
	@echo "make conformance  PyTorch's operator database, all of it; fails on any difference from the expected table"
	@echo "make lint    ruff and the import contracts"
	@echo "make types   mypy"
	@echo "make bench   side by side with PyTorch and ONNX Runtime"
	@echo "make clean   remove $(VENV) and the caches of the tools"

demo: $(VENV)/.extra-demo build
	$(BIN)/torsh train digits

test: $(VENV)/.extra-test build
	$(BIN)/python -m pytest -n $(WORKERS)

test-interpreted: $(VENV)/.extra-test
	TORSH_INTERPRETED=1 $(BIN)/python -m pytest -n $(WORKERS)

# The hot modules, compiled again when one of them changed; without a C compiler this says so and leaves them interpreted.
build: $(VENV)/.built

$(VENV)/.built: setup.py pyproject.toml $(shell find torsh -name '*.py') | $(BIN)/pip
	@$(BIN)/python -c 'import mypyc, numpy, setuptools; assert int(setuptools.__version__.split(".")[0]) >= 77' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check $(MYPY) numpy 'setuptools>=77'
	@echo "Compiling the hot modules ..."
	@rm -f *__mypyc.*.so && find torsh -name '*.so' -delete  # one that is no longer made would bring an old core along
	@TORSH_BUILD=$$(command -v $${CC:-cc} >/dev/null && echo native) $(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

programs: $(VENV)/.extra-test
	TORSH_PROGRAMS=2000 $(BIN)/python -m pytest tests/tensor/test_programs.py

conformance: $(VENV)/.extra-test
	$(BIN)/python -m tests.conformance --check --jobs $(WORKERS)

lint: $(VENV)/.extra-dev
	$(BIN)/ruff check
	$(BIN)/lint-imports

types: $(VENV)/.extra-dev $(VENV)/.extra-demo
	$(BIN)/mypy

bench: $(VENV)/.extra-bench build
	$(BIN)/python -m benchmarks

# One stamp for each extra of pyproject.toml: an install is repeated when that file changes, else not. `build` does the compiling.
$(VENV)/.extra-%: pyproject.toml | $(BIN)/pip
	@echo "Installing ToRSh and its '$*' extra into $(VENV) ..."
	@TORSH_BUILD=interpreted $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@

$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "ToRSh needs Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

clean:
	find . -name '*.so' -not -path './$(VENV)/*' -delete
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
