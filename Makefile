# The verbs that matter; `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INPUT ?=
EXTRAS ?= dev,demo
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
STAMP := $(VENV)/.livecut-dev

.PHONY: help dev build demo test lint bench bench-peers gpu-check train-smoke clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(STAMP): pyproject.toml setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "setuptools>=77" "Cython>=3.1,<4" "numpy>=2.0"
	LIVECUT_KERNELS=0 $(BIN)/python -m pip install --quiet --no-build-isolation --editable ".[$(EXTRAS)]"
	touch $(STAMP)

dev: build  ## make the environment in .venv and build the kernels

build: $(STAMP)  ## rebuild the kernels in place after a change to C or Cython
	$(BIN)/python setup.py --quiet build_ext --inplace --parallel $(JOBS)

demo: build  ## cut real photographs and a 1080p stream into out/ (INPUT=picture, folder, video or camera)
	$(BIN)/python -m livecut demo $(if $(INPUT),"$(INPUT)") --out out

test: build  ## run the tests
	$(BIN)/python -m pytest

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: build  ## measure, side by side, into benchmarks/results/
	$(BIN)/python -m benchmarks

# Into a folder of their own, looked in last: what livecut runs on stays as it is. One that cannot be had is left out.
PEERS := build/peers

$(PEERS)/.installed: $(wildcard benchmarks/peers/*.txt)
	mkdir -p $(PEERS)
	for list in $^; do $(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(PEERS) --requirement $$list || \
		echo "bench-peers: $$list cannot be installed here and is left out"; done
	touch $@

bench-peers: build $(PEERS)/.installed  ## measure rembg, MediaPipe and others beside livecut, into the README's table
	$(BIN)/python -m benchmarks.peers --packages $(PEERS) --readme README.md

train-smoke: build  ## train the tiniest network for a minute at most, on data it makes, into out/train-smoke
	OMP_WAIT_POLICY=passive $(BIN)/python -m livecut.training.smoke --out out/train-smoke

# With .venv where there is one, else with PYTHON as it is (VENV=none takes that in any case): nothing is installed.
CHECK := $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))

gpu-check:  ## prove the GPU path on this machine, as far as it has one, into out/gpu-check/
	$(CHECK) -c "import Cython, numpy, setuptools" || { echo "gpu-check: $(CHECK) cannot build the kernels: make dev"; exit 1; }
	mkdir -p build/path && ln -sfn "$(CURDIR)" build/path/livecut
	$(CHECK) setup.py --quiet build_ext --inplace --parallel $(JOBS)
	PYTHONPATH="$(CURDIR)/build/path:$$PYTHONPATH" $(CHECK) -m benchmarks.gpu_check --out out/gpu-check

clean:  ## remove what was built, not the environment
	rm -rf build dist out *.egg-info kernels/*.so kernels/_*.c .pytest_cache .mypy_cache .ruff_cache
