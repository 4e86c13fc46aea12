# The two commands of the README are `make demo` and `make test`; both prepare .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
export PYTHONDONTWRITEBYTECODE := 1
export PYTHONPATH :=

.DEFAULT_GOAL := help

.PHONY: help setup demo test format lint type bench chaos lock

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/uv:
	@echo "setup: creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"

$(VENV)/.ready: requirements.lock pyproject.toml | $(BIN)/uv
	@echo "setup: installing the locked requirements (first time: about 550 MB to download, cached by uv for later)"
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(VENV)/.ready ## prepare .venv from the locked requirements

demo: setup ## start the stack, replay two real traces, kill the worker midway, prove the numbers
	@$(BIN)/usage-streams demo $(ARGS)

test: setup ## run the whole suite (ARGS passes options to pytest)
	@$(BIN)/python -m pytest $(ARGS)

format: setup ## rewrite the code in the house's layout
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: setup ## layout, lint
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

type: setup ## mypy, strict
	@$(BIN)/mypy streams tests

bench: setup ## rates and CPU per event, as ratios of one run; the last line is one JSON object
	@$(BIN)/python -m tests.bench.meter $(ARGS)

chaos: setup ## kill, stall and duplicate on a live stack; the last line is one JSON object
	@$(BIN)/python -m tests.chaos $(ARGS)

lock: $(BIN)/uv ## resolve requirements.lock anew (hashes, no addresses)
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --all-extras --group dev pyproject.toml -o requirements.lock
