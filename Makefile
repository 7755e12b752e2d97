# Everything runs from a fresh clone with Python >= 3.11 and make; the rest is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
DEMO_PORT ?= 8091
CONFIGS ?= training/configs/hrnet_w18_small_64.yaml training/configs/paper/mpii_64_w32_cdkd.yaml
export FARPOSE_DATA ?= $(abspath ../shared/data)

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links
UV_INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python
LABELLED = --annotations $(FARPOSE_DATA)/lspet/val_coco17.json --images $(FARPOSE_DATA)/lspet/val
TRITON := serving/farpose_serving/triton/requirements
SOURCES := farpose training export serving clients docker docs tests

.DEFAULT_GOAL := help
.PHONY: help run setup test check lint format types imports unit docker-check demo lock train-pose \
	train-teacher train-detector privacy-view perf bench bench-training study study-smoke clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.serve ## Install serving and start it on :8080 with the bundled models
	$(BIN)/farpose serve --port $(PORT)

setup: $(VENV)/.setup ## Install everything into .venv

test: setup check unit ## Install, run every check and every test

check: lint types imports ## All static checks

lint: setup ## Style and formatting
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

format: setup ## Rewrite the sources in the project's format
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

types: setup ## mypy --strict
	$(BIN)/mypy

imports: setup ## Which package may import which
	$(BIN)/lint-imports

unit: setup ## The tests alone
	$(BIN)/pytest

docker-check: setup ## Dockerfiles, compose files and dashboard, without an engine
	$(BIN)/pytest tests/docker

demo: $(VENV)/.serve ## Start the service, post a street picture, write demo.png
	$(BIN)/python clients/sample_picture.py build/bus.jpg
	@$(BIN)/farpose serve --port $(DEMO_PORT) & service=$$!; trap "kill $$service; wait $$service" EXIT; \
		$(BIN)/python clients/demo.py build/bus.jpg --url http://127.0.0.1:$(DEMO_PORT) \
			--wait 60 --output demo.png

lock: $(VENV)/.bootstrap ## Pin the newest allowed versions into requirements/
	$(COMPILE) requirements/bootstrap.in --upgrade -o requirements/bootstrap.txt
	$(COMPILE) pyproject.toml --extra dev --upgrade -o requirements/dev.txt
	$(COMPILE) pyproject.toml --extra serve -c requirements/dev.txt --upgrade -o requirements/serve.txt
	$(COMPILE) requirements/perf.in --no-deps --upgrade -o requirements/perf.txt
	$(COMPILE) $(TRITON)/server.in --no-deps --upgrade -o $(TRITON)/server.txt
	$(COMPILE) $(TRITON)/models.in --override $(TRITON)/overrides.txt --upgrade -o $(TRITON)/models.txt
	$(COMPILE) docker/triton.in -c $(TRITON)/models.txt --override $(TRITON)/overrides.txt \
		--upgrade -o docker/triton.txt

train-pose: setup ## Train the bundled pose models and add them to model_repository (hours)
	$(BIN)/farpose train training/configs/pose_64.yaml
	$(BIN)/farpose train training/configs/pose_64_upscaled.yaml
	$(BIN)/farpose train training/configs/lowres_pose.yaml
	$(BIN)/farpose train training/configs/lowres_pose_cdkd.yaml
	$(BIN)/farpose train training/configs/lowres_pose_64_street.yaml
	$(BIN)/python -m farpose_training.blend runs/lowres_pose/checkpoint.safetensors \
		runs/lowres_pose_64_street/checkpoint.safetensors runs/lowres_pose_64/checkpoint.safetensors
	$(BIN)/farpose train training/configs/lowres_pose_32.yaml
	$(BIN)/farpose train training/configs/lowres_pose_32_street.yaml
	$(BIN)/farpose export runs/lowres_pose_64/checkpoint.safetensors --repository model_repository \
		$(LABELLED)
	$(BIN)/farpose export runs/lowres_pose_32_street/checkpoint.safetensors \
		--repository model_repository --name lowres_pose_32 $(LABELLED)

train-teacher: setup ## Train the study's teacher (hours)
	$(BIN)/farpose train training/configs/study/teacher_256.yaml
	$(BIN)/farpose train training/configs/study/teacher_256_more.yaml
	$(BIN)/farpose train training/configs/study/teacher_256_last.yaml
	$(BIN)/python -m farpose_training.compact runs/teacher_256_last/checkpoint.safetensors \
		docs/study/teacher_256.safetensors

train-detector: setup ## Fine-tune the bundled detector and add it to model_repository (hours)
	$(BIN)/farpose train training/configs/person_detector.yaml

privacy-view: setup ## Make the README's picture from a clip in FARPOSE_DATA
	$(BIN)/python docs/figures/privacy_view.py

bench-training: setup ## Training samples per second and the cost of distillation; reads no data
	MPII=unread $(BIN)/python -m farpose_training.benchmarks.speed $(CONFIGS) \
		--set optimizer.batch_size=32 --set model.backbone.pretrained=false

perf: setup ## Load on Triton with perf_analyzer into docs/performance (MINUTES=8)
	$(BIN)/python clients/sample_picture.py build/bus.jpg
	$(BIN)/python clients/perf/run.py $(if $(MINUTES),--minutes $(MINUTES))

bench: setup ## Milliseconds per stage of the pipeline on this machine
	$(BIN)/farpose bench pipeline

study: setup ## Compare the parts of distillation over three seeds (many hours; MINUTES=60 does a slice)
	$(BIN)/farpose study training/configs/study/cdkd.yaml --csv docs/study/results.csv \
		$(if $(MINUTES),--minutes $(MINUTES))

study-smoke: setup ## A study of tiny runs, in minutes: every part of one, no result
	rm -rf build/study-smoke
	$(BIN)/farpose study training/configs/study/smoke.yaml

clean: ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Farpose needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment: install its venv module" \
			"(Debian: apt install python3-venv)"; exit 1; }

$(VENV)/.bootstrap: requirements/bootstrap.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements/bootstrap.txt
	@touch $@

$(VENV)/.serve: requirements/serve.txt pyproject.toml $(VENV)/.bootstrap
	$(UV_INSTALL) --require-hashes -r requirements/serve.txt
	$(UV_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.setup: requirements/dev.txt pyproject.toml $(VENV)/.bootstrap
	$(UV_INSTALL) --require-hashes -r requirements/dev.txt
	$(UV_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.serve
