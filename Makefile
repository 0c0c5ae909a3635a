# Run `make help` for what there is; every target sets up what it needs.
SETUP := sh deploy/setup.sh
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format bench clean

help: ## print this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile

setup: ## install everything that the demo and the tests need
	$(SETUP) test

demo: ## run the main job: value at risk on a grid of this machine, with two processes killed half way
	$(SETUP) demo && $(BIN)/sluiceway demo $(ARGS)

test: ## run the tests; ARGS goes to pytest
	$(SETUP) test && $(BIN)/pytest $(ARGS)

check: ## format, lint, types, import arrows, spelling
	$(SETUP) check && $(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache && $(BIN)/codespell

format: ## put the sources into their one form
	$(SETUP) check && $(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: ## measure against Celery, Dask and the raw broker
	$(SETUP) bench && $(BIN)/python -m benchmarks $(ARGS)

clean: ## remove what was installed and built here
	rm -rf .venv .tools .sluiceway dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
