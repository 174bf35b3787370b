# Everything starts here: `make demo` shows it, `make test` proves it. Needs Python 3.11 or newer.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: help setup demo prepare test check format lock bench clean
.DEFAULT_GOAL := help

help:  ## list what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1	\2/' | expand -t 18

setup: $(READY)  ## make the environment in .venv from the lock file

$(READY): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Dangol needs Python 3.11 or newer; '$(PYTHON)' is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Installing the locked dependencies into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)  ## the example shop's day, in about a minute
	@$(BIN)/dangol demo

prepare: $(READY)  ## get what the tests need beside Python, as far as it is missing
	@PYTHON=$(abspath $(BIN))/python tests/sdks/prepare
	@tests/kafka/get >/dev/null || [ -z "$$CI" ]  # without Java the tests on Kafka say so and are skipped
	@tests/prometheus/get >/dev/null || [ -z "$$CI" ]  # the same for the alert rules

test: prepare  ## all tests, on real servers that they start themselves
	@$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(ARGS)

check: $(READY)  ## style, types and the arrows between the parts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY)  ## format the code and mend what can be mended
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format .

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate

lock:  ## write the lock files anew (needs uv)
	$(COMPILE) pyproject.toml --group dev -o requirements/dev.lock
	$(COMPILE) pyproject.toml -o requirements/runtime.lock
	$(COMPILE) pyproject.toml --extra otel --extra ses -c requirements/dev.lock -o requirements/image.lock
	$(COMPILE) requirements/build.in -c requirements/dev.lock -o requirements/build.lock
	$(COMPILE) requirements/analytics-python.in -o requirements/analytics-python.lock

bench: $(READY)  ## measure the whole pipeline, then ingest beside its yardsticks (several minutes)
	@$(BIN)/python -m bench.pipeline
	@$(BIN)/python -m bench.ingest

clean:  ## remove the environment and caches, never data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
