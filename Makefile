# The two commands: `make serve` and `make test`. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: serve test setup models lint types unit exam bench clean
.DEFAULT_GOAL := serve

serve: models ## set everything up and start the web app
	$(BIN)/assistant serve

test: models lint types unit ## every check and every test, the browser's too

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, {sys.version.split()[0]} was found; set PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --progress-bar on -c constraints.txt -e '.[test]'
	touch $(READY)

models: $(READY)
	$(BIN)/assistant models pull

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

unit: $(READY)
	$(BIN)/pytest -n 2 --dist loadfile

exam: models ## what every shipped pack must refuse, escalate, disclaim and answer; JUnit in exam-*.xml
	for pack in customer_service finance medical; do \
		$(BIN)/assistant domains check domains/$$pack --exam --junit exam-$$pack.xml || exit 1; \
	done

bench: models ## the long measurements: exams with and without adapters, speed, peft, a 30-minute soak
	for pack in customer_service finance medical; do \
		$(BIN)/assistant evaluate golden --domain $$pack --json; \
		$(BIN)/assistant evaluate golden --domain $$pack --adapter none --json; \
	done
	$(BIN)/assistant evaluate latency --json
	$(BIN)/assistant evaluate search --passages 10000 --passages 100000 --passages 1000000 --plot search.svg --json
	KILLS=220 $(BIN)/pytest tests/retrieval/test_library.py -k killed --timeout 3600
	for requests in 1 8 32; do $(BIN)/assistant evaluate speed --against-peft --requests $$requests --json; done
	$(BIN)/python -m pytest tests/adapters/test_soak.py --timeout 2400 --soak-minutes 30
	-$(BIN)/assistant audit --json

clean: ## remove the virtual environment and caches; models and state stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
