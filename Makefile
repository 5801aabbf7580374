# `make help` says what there is. Each target sets itself up in .venv, and again in a second when it is there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The versions that CI has seen green. Empty: the newest ones, bound by the floors of settings.ini alone.
CONSTRAINTS := constraints.txt
# Not pinned: what one platform alone has (torch pins it), and soupsieve, whose newest doesn't run on Debian's 3.11.2.
NOT_PINNED := '^(pip|wheel|soupsieve|triton|(cuda|nvidia)-[^=]+)=='
META := settings.ini setup.py pyproject.toml $(CONSTRAINTS)
PIP_INSTALL := $(BIN)/pip install --disable-pip-version-check --no-compile $(CONSTRAINTS:%=-c %)
# Tests and chapters start hundreds of processes: without compiled files each would read four seconds of source again.
unexport PYTHONDONTWRITEBYTECODE
SMOKE := GENLAB_BUDGET=smoke MPLBACKEND=agg OMP_NUM_THREADS=1

.PHONY: help demo lab test fuzz faults lint bench chapters badges newest constraints clean
help:
	@echo "make demo         train the coloured-pi generator and draw its pictures (a few minutes, most of it set-up)"
	@echo "make lab          open the course in JupyterLab"
	@echo "make test         export check, every chapter at the smoke budget, tests/"
	@echo "make fuzz         a thousand damaged files: each is a sentence or harmless (ten minutes)"
	@echo "make faults       sixty killed runs: each goes on to the same end (ten minutes)"
	@echo "make lint         ruff over everything but the notebooks"
	@echo "make bench        benchmarks side by side, each a table (about half an hour)"
	@echo "make chapters     run the chapters at the laptop budget and save their outputs and their claims"
	@echo "make badges       rewrite the chapters' badges after a change of address in settings.ini"
	@echo "make newest       the tests with the newest versions of all packages, in an environment beside .venv"
	@echo "make constraints  after a green 'make newest': write its versions into constraints.txt"
	@echo "make clean        remove what was set up"

# pip is what venv makes last, so that half an environment is made again.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "genlab needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) lacks the modules venv and ensurepip," \
		"which make $(VENV); on Debian and Ubuntu: apt-get install $(notdir $(PYTHON))-venv."; exit 1; }
	@echo "== making $(VENV) with $$($(PYTHON) --version)"
	$(PYTHON) -m venv $(VENV)

# One stamp per set of packages; a target installs only what it needs.
$(VENV)/.core: $(BIN)/pip $(META)
	@echo "== installing genlab (once; PyTorch is the large part, several GB with CUDA)"
	$(PIP_INSTALL) -e .
	@touch $@
$(VENV)/.lab $(VENV)/.test $(VENV)/.bench $(VENV)/.lint: $(VENV)/.%: $(VENV)/.core
	@echo "== installing what '$*' needs (once)"
	$(PIP_INSTALL) -e ".[$*]"
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
	$(SMOKE) $(BIN)/nbdev-test --n-workers 2 --timing
	@echo "== 3/3 tests/"
	$(SMOKE) $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

fuzz: $(VENV)/.test
	FUZZ=1000 $(SMOKE) $(BIN)/pytest tests/test_bad_inputs.py -k damaged

faults: $(VENV)/.test
	FAULTS=20 $(SMOKE) $(BIN)/pytest tests/test_faults.py

lint: $(VENV)/.lint
	$(BIN)/ruff check genlab tools tests benchmarks setup.py

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/run.py

chapters: $(VENV)/.test
	$(BIN)/python tools/chapters.py run --budget laptop

badges: $(VENV)/.test
	$(BIN)/python tools/chapters.py badges

# Tests again in the same environment: make VENV=.venv-newest CONSTRAINTS= test
newest:
	rm -rf .venv-newest
	$(MAKE) VENV=.venv-newest CONSTRAINTS= test

constraints:
	$(MAKE) VENV=.venv-newest CONSTRAINTS= .venv-newest/.test .venv-newest/.bench .venv-newest/.lint
	{ head -2 constraints.txt; .venv-newest/bin/pip freeze --all --exclude-editable | grep -vE $(NOT_PINNED); } > \
		constraints.new && mv constraints.new constraints.txt

clean:
	rm -rf $(VENV) .venv-newest build *.egg-info
