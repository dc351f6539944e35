# make setup | demo | clean-demo | train-demo
# make dev | test | test-long | test-matrix | test-slurm | test-root | coverage
#      check | fmt | pins | wheel | image | docs | screenshots | bench
SHELL := /bin/sh
.PHONY: setup demo clean-demo train-demo
.PHONY: dev test test-long test-matrix test-slurm test-root coverage check fmt pins docs
.PHONY: wheel image screenshots bench

BIN := .venv/bin

setup: .venv/.complete ## What runs campaigns, in .venv, from the locked dependency set

.venv/.complete: pyproject.toml uv.lock envs/setup.sh
	@sh envs/setup.sh
	@touch $@

dev: .venv/.complete-dev ## The same, and what tests, checks and documents it

.venv/.complete-dev: pyproject.toml uv.lock envs/setup.sh
	@sh envs/setup.sh --dev
	@touch .venv/.complete $@

demo: setup ## Small jobs, end to end, with a network that has memorised most of them
	@$(BIN)/foldmill run

# glibc gives large blocks back to the system after every step unless told not to.
train-demo: setup ## Train the demo's checkpoint again, from scratch: up to three hours
	@sh envs/setup.sh --extra train
	@MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 \
	    MALLOC_ARENA_MAX=1 MALLOC_TOP_PAD_=268435456 \
	    $(BIN)/python -m workflow.train \
	    --examples config/demo/training.json --out models/training

test: dev ## All tests but the longest; those that measure time run alone
	@$(BIN)/python -m pytest -rs -n 2 --dist loadscope -m "not timed and not slurm and not long and not matrix and not root"
	@$(BIN)/python -m pytest -m timed

test-long: dev ## Training, bad jobs under real limits, the demo from a warm cache
	@$(BIN)/python -m pytest -m long

test-matrix: dev ## Every kernel and the whole network, compiled for every card
	@$(BIN)/python -m pytest -m matrix

coverage: dev ## All tests but the longest, and how much of each package they run
	@$(BIN)/python -m pytest -m "not timed and not slurm and not long and not root" -rs \
	    --cov=af3_core --cov=kernels --cov=workflow --cov-report=term:skip-covered

test-slurm: dev ## Jobs of the demo on a one-node Slurm, disturbed; needs root and slurm-wlm
	@$(BIN)/python -m pytest -m slurm -rs tests/slurm

test-root: dev ## The README's commands and the wheel in a bare Debian; needs root, debootstrap
	@$(BIN)/python -m pytest -m root -rs tests/test_root.py

check: dev ## Lint, formatting, types, what `pins` writes, and every link of the documentation
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/snakefmt --check Snakefile workflow/Snakefile rules
	@$(BIN)/basedpyright
	@$(BIN)/python -m workflow.schema | diff config/schema.json - || \
	    { echo "config/schema.json: run \`make pins\`" >&2; exit 1; }
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

fmt: dev ## Format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/snakefmt Snakefile workflow/Snakefile rules

pins: dev ## Write what comes from the lock file and the settings: conda, NOTICE, schema
	@$(BIN)/python envs/write.py
	@$(BIN)/python -m workflow.schema > config/schema.json

wheel: dev ## sdist and wheel, checked, and a campaign in an empty environment
	@$(BIN)/python -m pytest -m long -rs tests/test_wheel.py

image: ## A container image, `foldmill`; needs Docker
	@docker build --file containers/Dockerfile --tag foldmill .

docs: dev ## The documentation site, in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

screenshots: dev ## The documentation's pictures, of the demo that ran here
	@$(BIN)/python docs/screenshots.py . docs/images

bench: dev ## Benchmarks; results under benchmarks/results
	@$(BIN)/python -m benchmarks.bench_attention
	@$(BIN)/python -m benchmarks.plan_proteome

clean-demo: ## Remove what the demo made
	@rm -rf results store logs
