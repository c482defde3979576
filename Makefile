# make demo: grade a sample class    make test: run every test
# make lab: open the lesson          make release: the students' zip
PYTHON ?= python3
BIN = .venv/bin
# nbgrader looks for alembic on the PATH.
export PATH := $(CURDIR)/$(BIN):$(PATH)
SAMPLE = sample_course
ASSIGNMENT = 08_tinybert_fine_tuning
STUDENT = notebooks/$(ASSIGNMENT)/$(ASSIGNMENT).ipynb

.PHONY: demo test lab release clean

.venv/installed: pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint .ci/constraints.txt --editable ".[test]"
	touch $@

demo: .venv/installed
	$(BIN)/autograder sample-class $(SAMPLE)
	cd $(SAMPLE) && autograder grade $(ASSIGNMENT) --force
	cd $(SAMPLE) && nbgrader generate_feedback $(ASSIGNMENT) --force --log-level=ERROR
	cd $(SAMPLE) && nbgrader export --log-level=ERROR
	cd $(SAMPLE) && autograder report

test: .venv/installed
	$(BIN)/ruff check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lab: .venv/installed
	$(BIN)/jupyter lab $(STUDENT)

release: .venv/installed
	$(BIN)/nbgrader generate_assignment $(ASSIGNMENT) --log-level=WARN
	$(BIN)/autograder release

clean:
	rm -rf .venv $(SAMPLE) release.zip
