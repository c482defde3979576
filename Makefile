# make demo: grade a sample class    make test: run every test
# make lab: open the lesson          make release: the students' zip
PYTHON ?= python3
BIN = .venv/bin
# nbgrader looks for alembic on the PATH.
export PATH := $(CURDIR)/$(BIN):$(PATH)
ASSIGNMENT = 08_tinybert_fine_tuning
STUDENT = notebooks/$(ASSIGNMENT)/$(ASSIGNMENT).ipynb

.PHONY: demo test lab release clean

.venv/installed: pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint .ci/constraints.txt --editable ".[test]"
	touch $@

demo: .venv/installed
	$(BIN)/nbgrader generate_assignment $(ASSIGNMENT) --force --log-level=WARN
	$(BIN)/autograder sample-class
	$(BIN)/autograder grade $(ASSIGNMENT) --force
	$(BIN)/nbgrader generate_feedback $(ASSIGNMENT) --force --log-level=ERROR
	$(BIN)/nbgrader export --log-level=ERROR
	$(BIN)/autograder report

test: .venv/installed
	$(BIN)/ruff check
	$(BIN)/python -m pytest

lab: .venv/installed
	$(BIN)/jupyter lab $(STUDENT)

release: .venv/installed
	$(BIN)/nbgrader generate_assignment $(ASSIGNMENT) --force --log-level=WARN
	$(BIN)/autograder release

clean:
	rm -rf .venv submitted autograded feedback gradebook.db grades.csv report.html release.zip
