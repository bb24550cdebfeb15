# Every target works alone on a fresh machine with Python 3.11, pip, git and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed

.PHONY: help install demo test lint types check format docs clean

help:                     ## this list
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/: .*## /\t/' | expand -t 12

install: $(STAMP)         ## the environment: .venv, every version from requirements.lock

# One pip call: pip then picks the CPU or the CUDA build of torch once, and nothing replaces it later.
$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP)            ## compare the methods on the digits data: a table, and runs/demo/report.html
	$(BIN)/motet compare digits --methods single deep-ensemble multihead mimo --out runs/demo

test: $(STAMP)            ## all tests
	$(BIN)/pytest -n 2

lint: $(STAMP)            ## ruff: lint and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)           ## mypy --strict on src/
	$(BIN)/mypy

check: lint types test    ## what continuous integration runs

format: $(STAMP)          ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)            ## write the generated parts of README and docs from results/ and benchmarks/
	$(BIN)/python tools/generate_docs.py

clean:                    ## remove the environment and caches (never runs/)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
