# Two commands do everything on a machine with Python 3.11 or newer, git and make:
#
#   make race    make the environment, install, run the race
#   make test    the same, run all tests
#
# Another Python: make race PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: race test docs reference lint format types wheel fuzz fuzz-runs sizes clean

race: $(VENV)/installed
	$(BIN)/nnspec run specs/race.nn

# Tests run in one process per core, at most eight. TEST_PROCESSES=0 runs them one after another in a single process.
TEST_PROCESSES ?= logical
test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --maxprocesses 8 --dist worksteal --durations 10

# The pages that are made from what nnspec says: docs/errors.md, docs/gallery.md; and the output of commands in all pages.
docs: $(VENV)/installed-dev
	$(BIN)/python tests/pages.py
	$(BIN)/python tests/page_runner.py
	$(BIN)/python tests/engine_room.py

# Everything that follows from the parts, after one was added: docs/parts.md, tests/samples/defaults.json, PyTorch's numbers.
reference: $(VENV)/installed-dev
	$(BIN)/python tests/reference.py

# Look for texts over which nnspec fails: FUZZ_SECONDS for parse, check, fmt and reading together.
FUZZ_SECONDS ?= 60
fuzz: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python tests/fuzz/fuzz_check.py

# Train random specs alone, stacked, in two processes, on Dask, compiled, and ended and resumed, and compare all bits.
RUNS_COUNT ?= 200
fuzz-runs: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fast]'
	$(BIN)/python tests/fuzz/fuzz_runs.py --count $(RUNS_COUNT) --ways all

# What large and hostile inputs cost, each in a process of its own. Takes a while.
sizes: $(VENV)/installed-dev
	$(BIN)/python tests/fuzz/sizes.py

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nnspec fmt --check specs

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/nnspec fmt specs

types: $(VENV)/installed-dev
	$(BIN)/mypy

# The wheel, in an environment of its own and from another folder: what a user gets.
wheel: $(VENV)/installed-dev
	rm -rf build/wheel && mkdir -p build/wheel/elsewhere
	$(BIN)/python -m build --wheel --outdir build/wheel . > build/wheel/build.log || (cat build/wheel/build.log; false)
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check build/wheel/nnspec-*.whl
	cp -R specs/. build/wheel/elsewhere
	cd build/wheel/elsewhere && ../venv/bin/nnspec --version && ../venv/bin/nnspec check *.nn
	cd build/wheel/elsewhere && ../venv/bin/nnspec run race.nn --offline --out out
	test -s build/wheel/elsewhere/out/curves.png
	cd build/wheel/elsewhere && ../venv/bin/nnspec report out --offline

clean:
	rm -rf build dist $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		(echo "nnspec needs Python 3.11 or newer, and $(PYTHON) is older; name another: make race PYTHON=python3.12"; false)
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/installed: $(VENV)/made pyproject.toml
	@echo "installing nnspec into $(VENV) (a minute or so the first time)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/made pyproject.toml
	@echo "installing nnspec and its development tools into $(VENV) (a minute or so the first time)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/installed
