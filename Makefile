# The verbs. `make` alone lists them.

SHELL := /bin/bash
# Compiled once, not by each of the many hundred processes that the tests start.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?=
BIN := .venv/bin
ROOMS := events engine projections
TYPED := $(wildcard $(addsuffix /meshline,$(ROOMS))) tests
SERVERS := kafka or postgres or browser
NOT_FAST := $(SERVERS) or slow
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock"

.PHONY: help
help: ## list the verbs
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sort | \
		awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

# --- the environment -----------------------------------------------------------------------------
# Two stamps: what running needs, and what working on it needs (which contains the first).

INSTALL_FROM := deploy/venv pyproject.toml requirements-installer.txt

.venv/.ready: $(INSTALL_FROM) requirements.txt
	@PYTHON="$(PYTHON)" deploy/venv requirements.txt
	@touch $@

.venv/.ready-dev: $(INSTALL_FROM) requirements-dev.txt
	@PYTHON="$(PYTHON)" deploy/venv requirements-dev.txt
	@touch .venv/.ready $@

.PHONY: venv dev lock
venv: .venv/.ready ## make .venv with what running Meshline needs
dev: .venv/.ready-dev ## make .venv with what working on Meshline needs

lock: .venv/.ready-dev ## write the requirements files again from pyproject.toml (UPGRADE=1: newest)
	$(LOCK) $(if $(UPGRADE),--upgrade) --group build -o requirements.txt pyproject.toml
	$(LOCK) $(if $(UPGRADE),--upgrade) --group build --extra dev -c requirements.txt \
		-o requirements-dev.txt pyproject.toml
	$(LOCK) $(if $(UPGRADE),--upgrade) --group installer -o requirements-installer.txt

# --- run it --------------------------------------------------------------------------------------

.PHONY: demo
demo: .venv/.ready ## see it work, on this machine, with nothing else to install
	@$(BIN)/meshline demo

.PHONY: kafka
kafka: .venv/.ready ## run Kafka on this machine until Ctrl-C (PORT=9092 NODES=1)
	@exec $(BIN)/python deploy/kafka/broker.py $(or $(PORT),9092) $(or $(NODES),1)

.PHONY: stack
stack: .venv/.ready ## run Kafka, PostgreSQL, two workers, a projector until Ctrl-C (APP=…, PORT=9092)
	@exec $(BIN)/python deploy/stack.py $(or $(APP),examples/lead_intake.py) \
		--port $(or $(PORT),9092)

# --- measure it ----------------------------------------------------------------------------------

LOG ?= memory postgres kafka

.PHONY: bench
bench: .venv/.ready-dev ## runs/s, latency and memory beside the bare log (LOG=kafka: only that one)
	@for log in $(LOG); do \
		$(BIN)/python benchmarks/three_step.py --log $$log --waiting 100000 || exit 1; done

# --- check it ------------------------------------------------------------------------------------

.PHONY: test test-inside test-outside test-across test-fast check lint types contracts tidy format
test: .venv/.ready-dev ## everything: checks, simulations, every test with a real Kafka and PostgreSQL
	@deploy/chromium
	@$(MAKE) --no-print-directory simulate
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=line test-inside test-outside test-across

# Side by side, since tests with servers mostly wait for them: the engine and what it stands on; all
# that needs no server, and what people and programs see of it; what goes across all the rooms. The
# simulations, which wait for nothing, have all processors before.
OUTSIDE := $(addprefix tests/,api cli client console deploy)
ACROSS := $(addprefix tests/,examples browser integration)
test-inside: .venv/.ready-dev
	@$(BIN)/python -m pytest -m "$(SERVERS)" $(addprefix --ignore=,$(OUTSIDE) $(ACROSS))

test-outside: .venv/.ready-dev
	@nice -n 5 $(MAKE) --no-print-directory --jobs=1 lint types contracts 2>&1
	@nice -n 5 $(BIN)/python -m pytest -m "not ($(SERVERS))"
	@nice -n 5 $(BIN)/python -m pytest -m "$(SERVERS)" $(OUTSIDE)

test-across: .venv/.ready-dev
	@nice -n 5 $(BIN)/python -m pytest -m "$(SERVERS)" $(ACROSS)

test-fast: .venv/.ready-dev ## the tests that need no broker, no database and no patience
	@$(BIN)/python -m pytest -q -m "not ($(NOT_FAST))"

.PHONY: simulate simulate-soak
simulate: .venv/.ready-dev ## the whole system under faults, from seeds (SEEDS=3000 FIRST=0 STORIES=.)
	@$(BIN)/python -m meshline.testing.simulate --seeds $(or $(SEEDS),3000) \
		--first $(or $(FIRST),0) --kept tests/simulation/seeds.txt --stories $(or $(STORIES),.)

simulate-soak: .venv/.ready-dev ## a hundred thousand seeds, with counts of the faults (SEEDS=100000 FIRST=0)
	@$(BIN)/python -m meshline.testing.simulate --seeds $(or $(SEEDS),100000) \
		--first $(or $(FIRST),0) --kept tests/simulation/seeds.txt --stories $(or $(STORIES),.) \
		--counts

.PHONY: soak
soak: .venv/.ready-dev ## kill -9 and freeze all there is, for an hour (KILLS=50 RUNS=2000 SEED=…)
	@MESHLINE_SOAK_KILLS=$(or $(KILLS),50) MESHLINE_SOAK_RUNS=$(or $(RUNS),2000) \
		MESHLINE_SOAK_SEED=$(or $(SEED),0) MESHLINE_SOAK_FREEZES=$(or $(FREEZES),30) \
		MESHLINE_SOAK_PROJECTOR_KILLS=$(or $(KILLS),50) \
		MESHLINE_SOAK_REBUILD_KILLS=$(or $(REBUILD_KILLS),20) \
		MESHLINE_SOAK_PASSINGS=$(or $(PASSINGS),8) \
		MESHLINE_SOAK_CASES=$(or $(CASES),1500) MESHLINE_SOAK_SWAPS=$(or $(SWAPS),50) \
		$(BIN)/python -m pytest -s -o faulthandler_timeout=0 \
		tests/acceptance/test_kills.py tests/acceptance/test_zombies.py \
		tests/acceptance/test_crash_points.py tests/acceptance/test_changed_view.py \
		tests/integration/test_projector_kills.py tests/integration/test_rebuild_kills.py

.PHONY: soak-faults
soak-faults: .venv/.ready-dev ## strike three brokers, PostgreSQL, lines, workers (STRIKES=150 RUNS=20000 SEED=…)
	@MESHLINE_FAULTS_NODES=3 MESHLINE_FAULTS_STRIKES=$(or $(STRIKES),150) \
		MESHLINE_FAULTS_RUNS=$(or $(RUNS),20000) MESHLINE_SOAK_SEED=$(or $(SEED),0) \
		MESHLINE_FAULTS_BAD=$(or $(BAD),10000) \
		$(BIN)/python -m pytest -s -o faulthandler_timeout=0 tests/faults
	@MESHLINE_FAULTS_NODES=0 MESHLINE_FAULTS_STRIKES=40 MESHLINE_FAULTS_RUNS=4000 \
		MESHLINE_SOAK_SEED=$(or $(SEED),0) \
		$(BIN)/python -m pytest -s -o faulthandler_timeout=0 tests/faults/test_siege.py

.PHONY: pictures pictures-readme
PICTURES := $(or $(MESHLINE_PICTURES),build/pictures)
pictures: .venv/.ready-dev ## every page with 0, 7, 5,000 orders, real incidents, leads (OF="0 7"), to be looked at
	@deploy/chromium
	@MESHLINE_PICTURES_OF="$(or $(OF),0 7 5000 incidents leads)" \
		$(BIN)/python -m pytest -q tests/browser/test_pictures.py

pictures-readme: OF := leads
pictures-readme: pictures ## the two pictures of the README anew
	@cp $(PICTURES)/leads/first-screen-overview.png docs/pictures/console-overview.png
	@cp $(PICTURES)/leads/first-screen-run-waiting.png docs/pictures/console-run.png

check: lint types contracts test-fast ## format, lint, types, import contracts, tidy, fast tests

lint: .venv/.ready-dev ## formatting and lint
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted: run make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .

types: .venv/.ready-dev ## types, strict
	@$(BIN)/mypy $(TYPED)

contracts: .venv/.ready-dev ## who may import whom
	@$(BIN)/lint-imports --no-logo

tidy: .venv/.ready-dev ## the house rules that no tool knows
	@$(BIN)/python -m pytest -q tests/tidy

format: .venv/.ready-dev ## format, and fix what can be fixed
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

.PHONY: clean
clean: ## remove .venv, caches and what was built
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find $(ROOMS) tests -name __pycache__ -type d -prune -exec rm -rf {} +
