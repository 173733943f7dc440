# `make demo` and `make test` each work on a fresh clone with nothing but Python and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# An environment variable, not an option: pip hands it on to the environment that builds the package.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint test-quick test-lowest docs clean

demo: $(VENV)/installed  ## Connect two networks trained on real handwritten digits
	$(BIN)/weightstring demo

test: lint $(VENV)/installed-tests  ## Everything that CI checks
	CHECK_ANNOTATIONS=1 $(BIN)/pytest -n 2 --dist worksteal

test-quick: $(VENV)/installed-tests  ## Without the tests that take more than half a second, and without checks of annotations
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

# Without the constraints, which are the newest: what is left out of the pins, pip chooses. What old packages say of new
# ones beside them is no failure.
test-lowest:  ## The quick suite with the oldest version of every dependency that pyproject.toml allows
	test -x $(VENV)-lowest/bin/python || $(PYTHON) -m venv $(VENV)-lowest
	$(PYTHON) .ci/lowest.py figures > $(VENV)-lowest/lowest.txt
	PIP_CONSTRAINT= $(VENV)-lowest/bin/pip install --quiet --editable . --requirement $(VENV)-lowest/lowest.txt \
		'pytest>=8' 'pytest-xdist>=3.6' 'hypothesis>=6.100' 'beartype>=0.18' pandas import-linter
	$(VENV)-lowest/bin/python -m pytest -p no:cacheprovider -n 2 --dist worksteal \
		-W ignore::DeprecationWarning -m "not slow" tests \
		--ignore=tests/docs --ignore=tests/test_annotations.py  # which need what only the newest have

lint: $(VENV)/installed-tests  ## Style, types, and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/installed-tests  ## The site, in site/index.html; every warning is an error
	$(BIN)/sphinx-build -q -W --keep-going -c docs/site . site

# The stamps make a second call install nothing, until what is to be installed changes.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "weightstring needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/installed-tests: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

clean:  ## Remove the environment and what the tools left behind
	rm -rf $(VENV) $(VENV)-lowest site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
