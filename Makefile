# make demo | test | lab | bench | chapters | badges: each sets itself up in .venv, and again in a second when it is there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
META := settings.ini setup.py pyproject.toml
SMOKE := GENLAB_BUDGET=smoke MPLBACKEND=agg

.PHONY: help demo test lab bench chapters badges clean
help:
	@echo "make demo      train the coloured-pi generator and draw its pictures (a few minutes, most of it set-up)"
	@echo "make lab       open the course in JupyterLab"
	@echo "make test      export check, every chapter at the smoke budget, tests/"
	@echo "make bench     benchmarks side by side, each a table (about half an hour)"
	@echo "make chapters  run the chapters at the laptop budget and save their outputs"
	@echo "make badges    rewrite the chapters' badges after a change of address in settings.ini"

$(BIN)/python:
	@echo "== making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "genlab needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One stamp per set of packages; a target installs only what it needs.
$(VENV)/.core: $(BIN)/python $(META)
	@echo "== installing genlab (once; PyTorch is the large part, several GB with CUDA)"
	$(BIN)/pip install --disable-pip-version-check --no-compile -e .
	@touch $@
$(VENV)/.lab $(VENV)/.test $(VENV)/.bench: $(VENV)/.%: $(VENV)/.core
	@echo "== installing what '$*' needs (once)"
	$(BIN)/pip install --disable-pip-version-check --no-compile -e ".[$*]"
	@touch $@

demo: $(VENV)/.core
	$(BIN)/genlab train pi-vae --budget laptop
	@echo "Next: make lab    opens the course that explains every line of it"

lab: $(VENV)/.lab
	$(BIN)/jupyter lab nbs/index.ipynb

test: $(VENV)/.test
	@echo "== 1/3 is genlab/ what the notebooks export?"
	$(BIN)/python tools/chapters.py check-export
	@echo "== 2/3 every chapter, executed at the smoke budget"
	@$(BIN)/python tools/chapters.py list
	$(SMOKE) OMP_NUM_THREADS=1 $(BIN)/nbdev-test --n-workers 2 --timing
	@echo "== 3/3 tests/"
	@$(BIN)/ruff check genlab tools tests benchmarks setup.py
	$(SMOKE) OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/run.py

chapters: $(VENV)/.test
	$(BIN)/python tools/chapters.py run --budget laptop

badges: $(VENV)/.test
	$(BIN)/python tools/chapters.py badges

clean:
	rm -rf $(VENV) build *.egg-info
