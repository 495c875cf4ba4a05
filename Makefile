# Penstock. `make` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock
# Tests in parallel, with the servers of tests/services beside them.
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install dev models demo run test coverage test-fast check audit bench chaos client docs lock clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Penstock needs Python 3.11 or newer; say which one: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }

$(VENV)/.installed: requirements.txt requirements/gateway.txt requirements/examples.txt requirements.lock client/pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV) (a minute or two the first time)"
	@$(PIP) -r requirements.txt -r requirements/examples.txt
	@$(PIP) --editable client
	@touch $@

$(VENV)/.dev: $(VENV)/.installed requirements/dev.txt
	@echo "installing what tests and checks need"
	@$(PIP) -r requirements/dev.txt
	@touch $@

install: $(VENV)/.installed ## Make .venv and install Penstock

dev: $(VENV)/.dev ## Install what tests, checks and benchmarks need as well

models: $(VENV)/.installed ## Build the example model repository (./repository)
	@$(BIN)/python -m models.build

demo: models ## Start a farm, send it a picture, sentences and a digit, show the answers
	@$(BIN)/python examples/run_demo.py

run: models ## Run the farm in the foreground at http://127.0.0.1:8080
	@exec $(BIN)/penstock up

test: $(VENV)/.dev models ## Run every test, against real RabbitMQ, Redis and S3 servers that it starts
	@$(BIN)/python -m tests.services.install
	@$(BIN)/python -m tests.services -- $(BIN)/pytest -n $(JOBS) --dist loadgroup $(ARGS)

coverage: ## The same, and which lines no test runs (a third slower)
	@$(MAKE) --no-print-directory test ARGS="--cov --cov-report=term:skip-covered $(ARGS)"

test-fast: $(VENV)/.dev ## Run the tests that need no server and no built model, in seconds
	@$(BIN)/pytest -n $(JOBS) -m "not service and not repository and not farm" $(ARGS)

check: $(VENV)/.dev ## Lint, formatting, types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy .

# Where known vulnerabilities are asked for: `pypi` or `osv`.
ADVISORIES ?= pypi

audit: $(VENV)/.dev ## Look for unsafe code, and for known vulnerabilities in what is pinned (asks PyPI)
	@$(BIN)/bandit --quiet --recursive --configfile pyproject.toml .
	@$(BIN)/pip-audit --strict --disable-pip --no-deps --progress-spinner off -s $(ADVISORIES) -r requirements.lock || \
		{ echo "make audit: a pinned version has a known vulnerability (above), or $(ADVISORIES) could not be asked for all of them"; \
		echo "(a mirror of PyPI has no advisories; ADVISORIES=osv asks osv.dev): nothing is known to be safe"; exit 1; }

bench: $(VENV)/.dev models ## Measure models in process, the farm, and a plain Celery + Flask app (15 minutes)
	@$(BIN)/python -m tests.services.install
	@$(BIN)/python -m tests.services -- $(BIN)/python -m bench.farm $(ARGS)

# Which seeds, and seconds of load and faults for each.
SEEDS ?= 1-10
SECONDS ?= 120

chaos: $(VENV)/.dev ## Break everything under load, and check that no job is lost or answered twice (SEEDS=1-10 SECONDS=120)
	@$(BIN)/python -m tests.services.install
	@$(BIN)/python -m tests.chaos --seeds $(SEEDS) --seconds $(SECONDS) $(ARGS)

client: $(VENV)/.dev ## Write the asynchronous client anew from the one that blocks
	@$(BIN)/python -m client.twin

docs: $(VENV)/.dev ## Write the generated pages of docs/, and all of it as a site into .site/
	@$(BIN)/python -m docs.building
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "open .site/index.html"

lock: $(VENV)/.dev ## Write requirements.lock from what is installed
	@$(BIN)/pip freeze --exclude-editable | sed -E 's/\+cpu$$//; s/^onnxruntime-gpu==(.*)/&\nonnxruntime==\1/' > requirements.lock

include compose/compose.mk

clean: ## Remove everything that was built or run here
	@rm -rf $(VENV) .penstock repository
