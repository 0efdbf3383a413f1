# `make report` and `make test` set everything up in .venv; nothing else is needed but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: report test lint types unit asv clean

report: .venv/ready
	$(BIN)/lossbench run smoke

test: lint types unit

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy

unit: .venv/ready
	$(BIN)/python -m pytest

# One short pass over the generated asv benchmarks, in this environment.
asv: .venv/ready
	$(BIN)/asv machine --yes
	$(BIN)/asv run --environment existing:$(CURDIR)/$(BIN)/python --set-commit-hash "$$(git rev-parse HEAD)" --show-stderr

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,test]'
	touch $@

clean:
	rm -rf .venv build .asv .mypy_cache .ruff_cache .pytest_cache
