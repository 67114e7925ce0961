# The box, by hand: `make run` and `make test` need nothing done before them.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test test-unit test-e2e fuzz lint bench docs requirements clean

help: ## show what can be done
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: ## virtual environment, packages, the engine (built once and kept)
	@$(PYTHON) deploy/bootstrap.py

setup-dev: ## the same, and what tests and lint need
	@$(PYTHON) deploy/bootstrap.py --dev

run: setup ## start everything and print the address
	@exec $(BIN)/python manage.py serve

test: setup-dev lint test-unit test-e2e ## lint, unit tests on both databases, the real box, a real browser

test-unit: setup-dev
	$(BIN)/python -m pytest -q -m "not e2e and not browser"
	@echo "The same on PostgreSQL, without the parts that know no database"
	$(BIN)/python -m tests.support.postgres -- $(BIN)/python -m pytest -q -m "not e2e and not browser" \
	    --ignore tests/kernel/inference --ignore tests/kernel/sandbox --ignore tests/registry/formats \
	    --ignore tests/registry/pipelines --ignore tests/registry/templates --ignore tests/registry/trial \
	    --ignore tests/registry/test_whole_scan.py

test-e2e: setup-dev
	$(BIN)/python -m pytest -q -m "e2e or browser"

SECONDS := 600
fuzz: setup-dev ## let atheris search for files that break a validator, SECONDS (600) for each
	@for target in gguf safetensors index pipeline archive minisign; do \
	    nice $(BIN)/python -m tests.fuzz $$target $(SECONDS) || exit 1; done

lint: setup-dev ## ruff, mypy strict, import rule, Django's checks, vulnerable packages where the network allows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	SECAI_HOME=build/lint SECAI_PUBLIC_URL=https://secai.example SECAI_DEMO_MODEL=0 \
	    $(BIN)/python manage.py check --deploy --fail-level WARNING
	SECAI_HOME=build/lint $(BIN)/python manage.py makemigrations --check --dry-run
	@sh deploy/audit-packages.sh

bench: setup-dev ## every benchmark, one after the other, each printing a ratio
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

docs: setup-dev ## write docs/api/*.yaml, the OpenAPI document of each listener
	@$(BIN)/python manage.py openapi docs/api

requirements: setup-dev ## compile the requirement files anew
	@deploy/lock.sh

clean: ## remove the virtual environment and caches; state under var/ stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
