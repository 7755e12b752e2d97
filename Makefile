# Everything runs from a fresh clone with Python >= 3.11 and make; the rest is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
DEMO_PORT ?= 8091
CONFIGS ?= $(addprefix training/configs/,hrnet_w18_small_64.yaml hrnet_w18_small_64_cdkd.yaml \
	hrnet_w18_small_64_cdkd_quarter.yaml paper/mpii_64_w32_cdkd.yaml)
export FARPOSE_DATA ?= $(abspath ../shared/data)

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links
COMPILE_HOUSE := $(COMPILE) --override requirements/overrides.in pyproject.toml
# Compiled at once: many short commands start in it, and PYTHONDONTWRITEBYTECODE may be set.
UV_INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python
LABELLED = --annotations $(FARPOSE_DATA)/lspet/val_coco17.json --images $(FARPOSE_DATA)/lspet/val
TRITON := serving/farpose_serving/triton/requirements
SOURCES := farpose training export serving clients docker docs tests

.DEFAULT_GOAL := help
.PHONY: help run setup test check lint format types imports unit docker-check docs figures model-cards \
	command-reference demo lock \
	train-pose train-teacher train-detector privacy-view page-screenshots perf load streams fuzz overhead \
	tracking unsure bench-serving bench bench-training study study-smoke clean

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

docs: setup ## The documentation as a site in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

figures: setup ## Draw the figures of docs/method.md
	$(BIN)/python docs/figures/method

model-cards: setup ## Write the facts of docs/models from the bundled models
	$(BIN)/python docs/figures/model_facts.py

command-reference: setup ## Write docs/reference/commands.md from the commands' help
	$(BIN)/python docs/figures/command_reference.py

demo: $(VENV)/.serve ## Start the service, post a street picture, write demo.png
	$(BIN)/python clients/sample_picture.py build/bus.jpg
	@$(BIN)/farpose serve --port $(DEMO_PORT) & service=$$!; trap "kill $$service; wait $$service" EXIT; \
		$(BIN)/python clients/demo.py build/bus.jpg --url http://127.0.0.1:$(DEMO_PORT) \
			--wait 60 --output demo.png

lock: $(VENV)/.bootstrap ## Pin the newest allowed versions into requirements/
	$(COMPILE) requirements/bootstrap.in --upgrade -o requirements/bootstrap.txt
	$(COMPILE_HOUSE) clients/python/pyproject.toml --extra dev --upgrade -o requirements/dev.txt
	$(COMPILE_HOUSE) --extra serve --extra track -c requirements/dev.txt --upgrade \
		-o requirements/serve.txt
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

page-screenshots: setup ## Pictures of the page in build/page, to look at
	$(BIN)/python clients/sample_picture.py build/bus.jpg
	@$(BIN)/farpose serve --port $(DEMO_PORT) & service=$$!; trap "kill $$service; wait $$service" EXIT; \
		$(BIN)/python docs/figures/page_screenshots.py --url http://127.0.0.1:$(DEMO_PORT) \
			--picture build/bus.jpg

bench-training: setup ## Training samples per second and the cost of distillation; reads no data
	MPII=unread $(BIN)/python -m farpose_training.benchmarks.speed $(CONFIGS) \
		--set optimizer.batch_size=32 --set model.backbone.pretrained=false \
		--output docs/performance/training.md

perf: setup ## Load on Triton with perf_analyzer into docs/performance (MINUTES=8)
	$(BIN)/python clients/sample_picture.py build/bus.jpg
	$(BIN)/python clients/perf/run.py $(if $(MINUTES),--minutes $(MINUTES))

load: setup ## 1.5 times the pictures that the service can answer, for MINUTES=10
	$(BIN)/farpose bench load $(FARPOSE_DATA)/coco_mini/val --output docs/reliability \
		$(if $(MINUTES),--minutes $(MINUTES))

streams: setup ## 64 cameras over WS /stream, without and with bad ones, for MINUTES=4
	$(BIN)/farpose bench streams $(FARPOSE_DATA)/coco_mini/val --output docs/reliability \
		$(if $(MINUTES),--minutes $(MINUTES))

fuzz: setup ## COUNT=10000 broken pictures
	$(BIN)/farpose bench fuzz $(FARPOSE_DATA)/coco_mini/val --output docs/reliability \
		$(if $(COUNT),--count $(COUNT))

overhead: setup ## What the service adds to decoding and models
	$(BIN)/farpose bench overhead $(FARPOSE_DATA)/coco_mini/val --output docs/reliability

tracking: setup ## What detecting less saves and costs on a clip in FARPOSE_DATA
	$(BIN)/farpose bench tracking $(FARPOSE_DATA)/video/one-by-one-person-detection.mp4

unsure: setup ## Thresholds below which joints are unsure, and how often that is right
	$(BIN)/farpose bench unsure $(FARPOSE_DATA)/lspet/val_coco17.json:$(FARPOSE_DATA)/lspet/val \
		$(FARPOSE_DATA)/coco_mini/val.json:$(FARPOSE_DATA)/coco_mini/val

bench-serving: setup ## The engines of the service side by side, into docs/performance
	$(BIN)/farpose bench serving $(FARPOSE_DATA)/coco_mini/val --seconds 9 --output docs/performance

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
	$(UV_INSTALL) --no-deps --require-hashes -r requirements/serve.txt
	$(UV_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.setup: requirements/dev.txt pyproject.toml clients/python/pyproject.toml $(VENV)/.bootstrap
	$(UV_INSTALL) --no-deps --require-hashes -r requirements/dev.txt
	$(UV_INSTALL) --no-deps --no-build-isolation --editable . --editable clients/python
	@touch $@ $(VENV)/.serve
