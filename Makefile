# timbrel: `make demo` and `make test` do their own set-up in .venv; `make help` lists the rest.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DEMO := .demo
PEERS := .bench/peers

.PHONY: help demo test lint types imports unit stress bench format clean

help:  ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/installed  ## Render 128 instruments, extract, train, report (about 5 minutes)
	PREFECT_HOME=$(abspath $(DEMO))/prefect $(BIN)/timbrel demo $(DEMO)

test: lint types imports unit  ## Linters, types, import rules, tests

lint: $(VENV)/installed-dev  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev  ## mypy --strict
	$(BIN)/mypy

imports: $(VENV)/installed-dev  ## who may import whom
	$(BIN)/lint-imports

unit: $(VENV)/installed-dev $(VENV)/browser  ## pytest, a file at a time on each of two processes
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

stress: $(VENV)/installed-dev  ## 100 kills at random moments, and many processes at once
	TIMBREL_KILLS=$${TIMBREL_KILLS:-100} OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest tests/stress

bench: $(VENV)/installed-dev $(PEERS)/installed  ## Ratios against what people use today; ROWS="crepe-full aisfx" for some
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks $(ROWS)

format: $(VENV)/installed-dev  ## Let ruff format and sort
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove the environment, the demo and all caches
	rm -rf $(VENV) $(DEMO) .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# A headless Chromium for the tests of report.html, where the machine has none; without one they are skipped.
$(VENV)/browser: $(VENV)/installed-dev tests/get_browser.py
	$(BIN)/python -m tests.get_browser
	touch $@

# What the benchmarks compare with, in a folder of its own that nothing else looks into.
$(PEERS)/installed: benchmarks/peers.txt $(VENV)/installed-dev
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(PEERS) -r benchmarks/peers.txt
	touch $@

# The stamps are written last, so that an interrupted installation is taken up again.
$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/installed
