# make demo   two-scale diffusion on a microstructure image, into runs/demo
# make test   style, types, import rules and all tests but slow ones, which run in make validate
# make wheel   the wheel, into dist/, installed alone into a fresh environment, where it lists the cases and runs the demo
# make lowest   some tests with the lowest versions of the dependencies that pyproject.toml allows
# make mutate   whether tests notice a wrong token: 60 changes in the source, two hours; SEED=1 draws others
# make chaos   100 kills of runs of every case, resumed and compared bit by bit, 40 minutes; SEED=1 draws others
# make docs   the documentation site, into site/
# make validate   comparisons with exact and published results and with peers, and slow tests, an hour, tables into runs/validation; needs abinit and quantum-espresso
# make strategies   what each strategy costs for the same error, half an hour, tables and figures into runs/strategies
# make bench  times as ratios against named peers; needs gcc, libfftw3-dev, abinit and quantum-espresso
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2
SEED ?= 0
# The tests that meet every dependency.
LOWEST := tests/test_cli.py tests/core tests/numerics tests/io tests/grids tests/interop tests/physics/homogenization/test_images.py

.PHONY: help demo test lint wheel lowest mutate chaos docs validate strategies bench clean

help:
	@sed -n 's/^# make/make/p' Makefile

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo 'fiberax needs Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python3.11'; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	@touch $@

demo: $(STAMP)
	$(BIN)/fiberax run diffusion --out runs/demo --overwrite
	@echo
	@echo 'Results: runs/demo        Figures:'
	@find runs/demo -name '*.png' | sort | sed 's/^/  /'

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -n $(WORKERS)

wheel: $(STAMP)
	$(BIN)/python tools/wheel.py

# Old releases beside new ones of what they need warn of what will end, and leave files open; here it counts whether they work.
lowest: $(STAMP)
	$(BIN)/python -m pip install --quiet --group lowest
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-lowest
	$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct --editable '.[all]' --group test
	.venv-lowest/bin/python -m pytest -n $(WORKERS) -W ignore::DeprecationWarning -W ignore::ResourceWarning $(LOWEST)

mutate: $(STAMP)
	$(BIN)/python tools/mutate --workers $(WORKERS) --seed $(SEED)

chaos: $(STAMP)
	$(BIN)/python tools/chaos.py --workers $(WORKERS) --seed $(SEED)

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

validate: $(STAMP)
	$(BIN)/python -m pip install --quiet --group peers
	$(BIN)/python -m pytest -n $(WORKERS) -m slow
	$(BIN)/python validation/homogenization.py
	$(BIN)/python validation/solids.py
	$(BIN)/python validation/waves.py
	$(BIN)/python validation/ase_calculators.py
	$(BIN)/python validation/flows.py
	$(BIN)/python validation/fluids.py
	$(BIN)/python validation/molecules.py
	$(BIN)/python validation/diffusion.py
	$(BIN)/python validation/electrons.py

strategies: $(STAMP)
	$(BIN)/python validation/strategies.py

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --group bench --group peers
	for name in core_overhead lookup cell2d cell3d diffusion1d many_sites start_up crystal elasticity spins dumbbells rods rod_density molecules thomas_fermi kohn_sham compile; do $(BIN)/python benchmarks/$$name.py || exit 1; done

clean:
	rm -rf .venv-lowest .cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist site runs
