# make book, make test: everything else is a detail. PYTHON names the interpreter
# (3.11-3.13), PIP_ARGS goes to pip unchanged (an index of your own, say).
PYTHON ?= python3
PIP_ARGS ?=
TORCH ?= $(shell grep '^torch==' constraints.txt)
PY := .venv/bin/python
READY := .venv/.installed
PEERS := .venv-peers/bin/python
PEERS_READY := .venv-peers/.installed

.PHONY: book lint test verify figures rerun lab check peers-test bench mutants clean help formal

help:            ## list the targets
	@grep -E '^[a-z-]+: .*##' Makefile | sed 's/:.*##/\t/'

$(READY): pyproject.toml companion/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"fimlib needs Python 3.11 to 3.13, and {sys.executable} is {v[0]}.{v[1]}: name another with PYTHON=...")'
	@test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install $(PIP_ARGS) -q '$(TORCH)'
	$(PY) -m pip install $(PIP_ARGS) -q -c constraints.txt -e '.[book,dask,figures,test]' -e companion
	@touch $@

book: $(READY)   ## build _build/html/index.html (and run the ledger on this machine)
	rm -rf _build
	.venv/bin/fimlib verify --json _build/ledger.json
	.venv/bin/jupyter-book build . -W -n --keep-going -q
	@echo "open _build/html/index.html"

lint: $(READY)   ## style, docstrings, types, and displays as they were derived
	.venv/bin/ruff check -q .
	.venv/bin/ruff format -q --check .
	.venv/bin/mypy --no-error-summary
	$(PY) tools/sync_displays.py --check

test: lint       ## lint, then the whole test suite, notebooks included, on two cores
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile

# Without dependencies: constraints-peers.txt names every package that is needed, so no
# peer can bring another torch, or torchvision, along.
$(PEERS_READY): pyproject.toml constraints.txt constraints-peers.txt
	@test -x $(PEERS) || $(PYTHON) -m venv .venv-peers
	$(PEERS) -m pip install $(PIP_ARGS) -q '$(TORCH)'
	$(PEERS) -m pip install $(PIP_ARGS) -q --no-deps -r constraints-peers.txt
	$(PEERS) -m pip install $(PIP_ARGS) -q --no-deps -e . -e companion
	@touch $@

peers-test: $(PEERS_READY) ## compare fimlib with laplace-torch, curvlinops and others
	$(PEERS) -m pytest tests/peers -q -rs -o addopts= -W ignore -p no:cacheprovider

bench: $(PEERS_READY) ## time fimlib beside its peers (some minutes)
	$(PEERS) benchmarks/run.py

formal:          ## check the algebra with Rocq's kernel (coq, libcoq-mathcomp-algebra)
	$(PYTHON) companion/formal.py

mutants: $(READY) ## break fimlib on purpose and count what goes unnoticed (long)
	$(PY) tools/mutants.py

verify: $(READY) ## check every claim (asserts only)
	.venv/bin/fimlib verify

figures: $(READY) ## draw the figures again from the records
	.venv/bin/fimlib figure all

rerun: $(READY)  ## run one chapter's notebook again: make rerun CHAPTER=06
	$(PY) tools/run_notebooks.py $(CHAPTER)

lab: $(READY)    ## open the chapters in JupyterLab
	$(PY) -m pip install $(PIP_ARGS) -q -c constraints.txt -e '.[lab]'
	.venv/bin/jupyter lab chapters

check: book      ## open every built page in headless Chromium
	$(PY) tools/check_book.py _build/html

clean:           ## remove what was built
	rm -rf _build
