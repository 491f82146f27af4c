# `make help` lists what there is. Needed: git, make, and Python 3.11 or newer with its venv module; everything else is
# installed into .venv, once, and again when pyproject.toml or constraints.txt has changed.
#
#   PYTHON=python3.12       the Python that makes .venv (the first time)
#   TORCH=cpu               PyTorch's CPU build, 0.4 GB in all; on Linux the one that pip finds by itself makes it 2.9 GB
#   PIP_FLAGS="..."         passed on to `pip install`, such as --find-links FOLDER
#   CONSTRAINTS=            (empty) the newest versions instead of the tested ones
#   ARGS="..."              passed on to pytest, such as ARGS="-k gae"
#
# Written for GNU make 3.81 (macOS) and /bin/sh; no path in here is absolute, so a folder with a space is fine.

PYTHON ?= python3
TORCH ?=
PIP_FLAGS ?=
CONSTRAINTS ?= constraints.txt
ARGS ?=
CH ?=
URL ?=
PORT ?= 8000

PY := .venv/bin/python
HTML := _build/html/index.html

ifneq ($(filter-out cpu,$(TORCH)),)
  $(error TORCH=$(TORCH) is not known. TORCH=cpu takes PyTorch's CPU build; without TORCH, or with an empty one, pip \
    takes the PyTorch that it finds by itself. Leave it out, or unset it if your environment sets it)
endif

# Two busy torch processes on two cores are 20 to 40 times slower when each starts a thread per core.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export PYTHONHASHSEED := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup book book-offline serve test test-all test-arithmetic execute lint bench release set-repo clean

help: ## this list
	@echo "make book        render the book into _build/html (first time: a few minutes of installing, then about one)"
	@echo "make book-offline  the book to take along, in _build/offline: a folder that opens from the disk, a zip, and a PDF"
	@echo "make serve       serve the rendered book on http://localhost:$(PORT)  (PORT=...)"
	@echo "make test        everything but the slow tests; at most 20 minutes on two cores  (ARGS=... for pytest)"
	@echo "make test-all    everything; may take hours"
	@echo "make test-arithmetic  the tests as four processors would compute them, and how much room tolerances have; an hour or two"
	@echo "make execute     run the notebooks anew, in place, and record their seconds  (CH=06 for one chapter)"
	@echo "make lint        ruff and mypy"
	@echo "make bench       time and memory, as a table and as _build/bench.json; some minutes  (ARGS=\"rl2\" for some of it,"
	@echo "                 ARGS=\"--against v0.3.0\" for this folder and another version in turn)"
	@echo "make release     what stands between this folder and a release, or the commands that tag it"
	@echo "make set-repo    put another public address everywhere  (URL=https://github.com/OWNER/NAME)"
	@echo "make setup       only install what all of these need into .venv"
	@echo "make clean       remove what was built; .venv stays"
	@echo
	@echo "On Linux the first of them fetches 2.9 GB, most of it for GPUs; with TORCH=cpu, as in 'make book TORCH=cpu',"
	@echo "it is 0.4 GB. More settings (PYTHON, PIP_FLAGS, CONSTRAINTS) are at the head of the Makefile."

# --- Installing -------------------------------------------------------------------------------------------------------

$(PY):
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "There is no '$(PYTHON)' on this machine. Install Python 3.11 or newer,"; \
	  echo "or name one that you have: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "'$(PYTHON)' is $$("$(PYTHON)" --version 2>&1), and Python 3.11 or newer is needed."; \
	  echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' has no venv module. On Debian and Ubuntu it is a package of its own:"; \
	  echo "    sudo apt-get install python3-venv"; exit 1; }
	@"$(PYTHON)" -m venv .venv
	@rm -f .venv/.installed-*

# $(call install,EXTRAS): the package from this folder, editable, with the tested versions where they apply. How much
# that fetches is said first.
define install
@$(PY) -m tools.install $(1) --torch "$(TORCH)" --constraints "$(CONSTRAINTS)" --goals "$(MAKECMDGOALS)" -- $(PIP_FLAGS)
@touch $@
endef

.venv/.installed-book: pyproject.toml constraints.txt | $(PY)
	$(call install,book)

.venv/.installed-test: pyproject.toml constraints.txt | $(PY)
	$(call install,test$(comma)cli)

comma := ,

# What the tests need includes what the book needs: where they are installed, the book has nothing to add.
FOR_BOOK := $(if $(wildcard .venv/.installed-test),.venv/.installed-test,.venv/.installed-book)

setup: .venv/.installed-test

# --- The book ---------------------------------------------------------------------------------------------------------

book: $(FOR_BOOK)
	@$(PY) -m tools.contents >/dev/null
	@echo "Rendering the book; this takes about a minute ..."
	@rm -rf _build/html _build/.doctrees # a page that is not rendered anew keeps its warnings to itself
	@$(PY) -c 'from jupyter_book.cli.main import main; main()' build . -W -n --keep-going -q >/dev/null || { \
	  if test -f $(HTML); then echo "The pages are in _build/html, but with the faults above: a warning counts as one."; \
	  else echo "The book did not render: the reasons are above."; fi; exit 1; }
	@echo
	@$(PY) -c 'from pathlib import Path; print("The book is ready:", Path("$(HTML)").resolve().as_uri())'
	@echo "Next: open that address in a browser; 'make serve' puts the book on http://localhost:$(PORT);"
	@echo "      'make test' proves what it says."

# Rendered anew: what is taken along should be what the notebooks say now. The PDF is printed by the tests' browser.
book-offline: .venv/.installed-test
	@$(MAKE) --no-print-directory book
	@$(PY) -m tools.chromium
	@$(PY) -m tools.offline

serve: $(FOR_BOOK)
	@test -f $(HTML) || $(MAKE) --no-print-directory book
	@echo "The book is on http://localhost:$(PORT) (Ctrl-C ends it)."
	@$(PY) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html || { \
	  echo "The server ended. If port $(PORT) was taken: make serve PORT=8001"; exit 1; }

execute: $(FOR_BOOK)
	@$(PY) -m tools.execute $(CH)

# --- The proof --------------------------------------------------------------------------------------------------------

test: .venv/.installed-test
	@$(PY) -m tools.chromium
	@$(PY) -m pytest $(ARGS)

test-all: .venv/.installed-test
	@$(PY) -m tools.chromium
	@$(PY) -m pytest -m "" $(ARGS)

test-arithmetic: .venv/.installed-test
	@$(PY) -m tools.arithmetic $(ARGS)

lint: .venv/.installed-test
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy --strict metarl_lite

bench: .venv/.installed-test
	@$(PY) -m tests.benchmarks $(ARGS)

# --- The house --------------------------------------------------------------------------------------------------------

release: | $(PY)
	@$(PY) -m tools.release

set-repo: | $(PY)
	@$(PY) -m tools.set_repo '$(URL)'

clean:
	rm -rf _build build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.* htmlcov
	find . -path ./.venv -prune -o -type d \( -name __pycache__ -o -name .ruff_cache \) -exec rm -rf {} +
