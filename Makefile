# `make demo` and `make test` are all a newcomer needs; both set up what they use.
# SPDX-License-Identifier: Apache-2.0

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TOOLS := $(or $(COUNTERMARK_TOOLS),$(HOME)/.cache/countermark-tools)
PYTEST_WORKERS ?= 2
KILLS ?= 1000
CUTS ?= 300
FAULTS ?= 300
CALLS ?= 1000
SEED ?= 20261122
HTTP_CASES ?= 100
FUZZ_SECONDS ?= 60
DIFFERENTIAL_CASES ?= 3000

.DEFAULT_GOAL := help
.PHONY: help demo test check format fault fuzz fuzz-http bench bench-full lock clean

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: $(VENV)/.server ## sign and verify a real file against an instance of its own
	@$(BIN)/countermark demo $(FILE)

test: $(VENV)/.dev ## every test, with the real clients they need
	@scripts/install-system-tools
	@COUNTERMARK_TOOLS=$(TOOLS) scripts/install-peers
	COUNTERMARK_TOOLS=$(TOOLS) $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadgroup tests

check: $(VENV)/.dev ## format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fault: $(VENV)/.dev ## long runs of kills, power cuts, failing calls: make fault KILLS=1000 SEED=1
	COUNTERMARK_SEED=$(SEED) COUNTERMARK_KILLS=$(KILLS) COUNTERMARK_CUTS=$(CUTS) \
	  COUNTERMARK_FAULTS=$(FAULTS) COUNTERMARK_CALLS=$(CALLS) $(BIN)/python -m pytest -s tests/fault

fuzz: $(VENV)/.fuzz ## property tests with many more examples, then every parser, then beside peers: make fuzz FUZZ_SECONDS=60
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -n $(PYTEST_WORKERS) tests/property
	$(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS) --seed $(SEED)
	@COUNTERMARK_TOOLS=$(TOOLS) scripts/install-peers
	COUNTERMARK_TOOLS=$(TOOLS) $(BIN)/python -m fuzz.differential --cases $(DIFFERENTIAL_CASES) --seed $(SEED)
	@$(MAKE) --no-print-directory fuzz-http

fuzz-http: $(VENV)/.dev ## every HTTP interface, by its OpenAPI document: make fuzz-http HTTP_CASES=100
	COUNTERMARK_HTTP_CASES=$(HTTP_CASES) COUNTERMARK_SEED=$(SEED) $(BIN)/python -m pytest -s tests/e2e/test_openapi_attack.py

bench: $(VENV)/.dev ## the figures of docs/measurements, beside their floors and peers
	@COUNTERMARK_TOOLS=$(TOOLS) scripts/install-peers
	COUNTERMARK_TOOLS=$(TOOLS) $(BIN)/python -m bench

bench-full: $(VENV)/.dev ## the same for a log of ten million entries, which takes 15 GB and an hour
	COUNTERMARK_TOOLS=$(TOOLS) $(BIN)/python -m bench big_full --json bench/results/big-full.json

lock: $(VENV)/.dev ## requirements/*.txt anew from requirements/*.in (needs uv)
	scripts/lock

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Countermark needs Python 3.11 or newer: make PYTHON=python3.11 …" >&2; exit 78; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "no virtual environment could be made (on Debian: apt-get install python3-venv)" >&2; exit 78; }

$(VENV)/.server: requirements/server.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing Countermark into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/server.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.server
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.fuzz: requirements/fuzz.txt $(VENV)/.dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	@touch $@
