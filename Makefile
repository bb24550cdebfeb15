# Every target works alone on a fresh machine with Python 3.11, pip, git and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
# The versions to install: `make test REQUIREMENTS=requirements-lowest.txt VENV=.venv-lowest` tests the lowest ones.
REQUIREMENTS ?= requirements.lock
# What `make release-check` passes to pytest: all fast tests if it is empty.
RELEASE_TESTS ?=
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed

.PHONY: help install demo test lint types check format generate release-check clean

help:                     ## this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/: .*## /\t/' | expand -t 16

install: $(STAMP)         ## the environment: .venv, every version from requirements.lock

# One pip call: pip then picks the CPU or the CUDA build of torch once, and nothing replaces it later.
$(STAMP): $(REQUIREMENTS) pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement $(REQUIREMENTS)
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP)            ## compare the methods on the digits data: a table, and runs/demo/report.html
	$(BIN)/motet compare digits --methods single deep-ensemble multihead mimo --out runs/demo

.PHONY: test-fast test-long

test-fast: $(STAMP)       ## the fast tests: those not marked slow or long
	$(BIN)/pytest -n 2 -m "not slow and not long"

test: $(STAMP)            ## all tests except those marked long
	$(BIN)/pytest -n 2 -m "not long"

test-long: $(STAMP)       ## the tests marked long: fault injection, several processes, recipes, the model zoo
	$(BIN)/pytest -n 2 -m long

lint: $(STAMP)            ## ruff: lint and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)           ## mypy --strict on src/
	$(BIN)/mypy

check: lint types test    ## lint, types, and all tests except those marked long

format: $(STAMP)          ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(STAMP)        ## write the generated parts of README and docs from results/ and benchmarks/
	$(BIN)/python tools/generate_docs.py

release-check: $(STAMP)   ## build wheel and sdist, install each in a clean environment, run the fast tests from the sdist
	$(BIN)/python tools/release_check.py $(RELEASE_TESTS)

clean:                    ## remove the environment and caches (never runs/)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
