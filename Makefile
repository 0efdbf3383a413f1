# `make report` and `make test` set everything up in .venv; nothing else is needed but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: report test lint types unit docs slow asv asv-versions planted large screenshots clean

report: .venv/ready
	$(BIN)/lossbench run smoke

test: lint types unit

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy

unit: .venv/ready
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

# The documentation, in build/docs.
docs: .venv/ready
	$(BIN)/python -m sphinx -W --keep-going -q -b html lossbench/docs build/docs
	@echo build/docs/index.html

# This commit's results for asv's history, and its pages; LOSSBENCH_ASV_LOSSES="huber mse" measures only some losses.
asv:
	.ci/asv

# The same over versions of a framework, in environments that asv builds.
asv-versions: .venv/ready
	$(BIN)/asv machine --yes
	$(BIN)/asv run --config .ci/asv.versions.conf.json --show-stderr
	$(BIN)/asv publish --config .ci/asv.versions.conf.json

# The tests that build environments of their own, which `make test` leaves out.
slow: .venv/ready
	$(BIN)/python -m pytest -m slow

# How small a slowdown `lossbench compare --confirm` finds here, and how often it is wrong; goes on where it was cut off.
planted: .venv/ready
	$(BIN)/python tests/planted_slowdowns.py

# A report of 60 losses x 12 targets: its sizes and times, from the newest run in reports/ or RUN=FOLDER.
large: .venv/ready
	$(BIN)/python tests/large_run.py $(or $(RUN),$(lastword $(sort $(wildcard reports/*-smoke))))

# The pictures of README.md, from the newest run in reports/ or RUN=FOLDER; needs Chromium.
screenshots: .venv/ready
	$(BIN)/python tests/screenshots.py $(or $(RUN),$(lastword $(sort $(wildcard reports/*-smoke))))

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,test]'
	touch $@

clean:
	rm -rf .venv build .asv .mypy_cache .ruff_cache .pytest_cache
