# make run     get the default model, export it, serve it: gRPC and the web page (no torch is installed)
# make test    run the tests               make test-slow   the ones that take minutes
# make check   lint, types, import rules, protos       make bench       measure this machine, with a report
PYTHON ?= python3
VENV ?= .venv
GRPC ?= 127.0.0.1:50051
HTTP ?= 127.0.0.1:8080
ARGS ?=
OUT ?= bench-results

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run install test test-slow check bench proto proto-baseline client clean

run: $(VENV)/.installed
	$(BIN)/nonesuch serve --grpc $(GRPC) --http $(HTTP) $(ARGS)

install: $(VENV)/.installed-dev

test: $(VENV)/.installed-dev
	$(BIN)/pytest -m "not slow" $(ARGS)

test-slow: $(VENV)/.installed-dev
	$(BIN)/pytest -m slow $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf breaking --against baseline.binpb
	$(BIN)/python protos/generate.py --check
	$(BIN)/python client/unasync.py --check

bench: $(VENV)/.installed-dev
	$(BIN)/nonesuch bench all --quick --out $(OUT) $(ARGS)

# The stubs beside the .proto files are committed; `make check` fails when they are stale.
proto: $(VENV)/.installed-dev
	$(BIN)/python protos/generate.py

# The client for threads is committed too; it is generated from the client for asyncio.
client: $(VENV)/.installed-dev
	$(BIN)/python client/unasync.py

# What `buf breaking` compares with: the wire contract of the last release.
proto-baseline: $(VENV)/.installed-dev
	cd protos && ../$(BIN)/buf build -o baseline.binpb

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[openvino,export,web]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed
