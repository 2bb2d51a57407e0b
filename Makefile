# Each target is a line or three over ordinary commands; `in` runs one in the project's environment.
in := .venv/bin/python -m pipelines.environment
# A file of tests at a time on each core.
side_by_side := --numprocesses logical --dist loadfile --no-loadscope-reorder

.PHONY: help setup plan repro repro-parallel test faults gpu-checks pool-check check ui services \
	track readme screenshots lock
help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup:  ## system packages, .venv from requirements.lock
	@sh scripts/setup.sh

repro: setup  ## rebuild what is stale of the graph, print the table
	$(in) python -m pipelines.check
	$(in) dvc repro
	@$(in) python -m pipelines.settled
	@$(in) python -m pipelines.show

repro-parallel: setup  ## the same, stages side by side, without any server
	$(in) python -m pipelines.flows.reproduce
	@$(in) python -m pipelines.show

plan: setup  ## what make repro would run, and for how long
	@$(in) python -m pipelines.plan

test: setup  ## every test
	$(in) pytest $(side_by_side)

faults: setup  ## break everything on purpose, put the counts into reports/faults.md
	$(in) pytest -m faults --all-faults $(side_by_side)

gpu-checks: setup  ## the tests that need a CUDA device
	$(in) pytest -m gpu

pool-check: setup  ## Prefect, two workers, faults: minutes
	$(in) pytest -m pool

check: setup  ## lint, types, layers, lock file, known vulnerabilities
	$(in) ruff check .
	$(in) ruff format --check .
	$(in) toml-sort --check pyproject.toml
	$(in) basedpyright
	$(in) lint-imports
	sh scripts/check_lock.sh
	sh scripts/audit.sh

ui: setup  ## MLflow on http://127.0.0.1:5000
	$(in) sh -c 'mlflow ui --backend-store-uri "$$MLFLOW_TRACKING_URI" --host 127.0.0.1 --port 5000'

services: setup  ## Prefect, MLflow and a worker, here alone, until Ctrl-C
	$(in) python -m pipelines.flows.services

track: setup  ## deliver to MLflow what it has not got yet
	$(in) python -m pipelines.track

readme:  ## put the present table into README.md
	$(in) python scripts/readme_table.py

screenshots: setup track  ## README's pictures of the report and of MLflow, into docs/images
	$(in) python -m scripts.screenshots

lock: setup  ## resolve pyproject.toml into requirements.lock
	sh scripts/check_lock.sh --write
