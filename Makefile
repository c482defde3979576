# make demo: grade a sample class    make check: lint, types, quick tests
# make lab: open the lesson          make test: every test
# make release: the students' zip
# make runs: train and measure what the lesson's claims rest on    make claims: see whether they hold
# make page: docs/index.html, the lesson's idea to play with
PYTHON ?= python3
BIN = .venv/bin
# nbgrader looks for alembic on the PATH.
export PATH := $(CURDIR)/$(BIN):$(PATH)
SAMPLE = sample_course
ASSIGNMENT = 08_tinybert_fine_tuning
STUDENT = notebooks/$(ASSIGNMENT)/$(ASSIGNMENT).ipynb

# Tests that start no kernel, but for those marked as slow.
QUICK = $(addprefix tests/, test_data.py test_threads.py test_training_loop.py test_one_verdict.py) \
    $(addprefix tests/grading/, test_answers.py test_read.py test_restore.py test_score.py test_report.py test_page.py)

.PHONY: demo check test lab release runs claims page clean

.venv/installed: pyproject.toml constraints.txt
	@echo "Installing 2 GB of libraries into .venv: five to ten minutes, without a word."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

demo: .venv/installed
	$(BIN)/autograder sample-class $(SAMPLE)
	cd $(SAMPLE) && autograder grade $(ASSIGNMENT) --force
	cd $(SAMPLE) && nbgrader generate_feedback $(ASSIGNMENT) --log-level=ERROR
	cd $(SAMPLE) && nbgrader export --log-level=ERROR
	cd $(SAMPLE) && autograder report
	@echo
	@echo "Open $(SAMPLE)/report.html: a name in it leads to the student's feedback page."
	@echo "Three students wait for you to read their answers: cd $(SAMPLE) && ../$(BIN)/autograder reflections"

check: .venv/installed
	$(BIN)/ruff check
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" $(QUICK)

test: .venv/installed
	$(BIN)/ruff check
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lab: .venv/installed
	$(BIN)/jupyter lab $(STUDENT)

release: .venv/installed
	$(BIN)/autograder release

runs: .venv/installed
	OMP_NUM_THREADS=2 $(BIN)/python data/runs/build.py

claims: .venv/installed
	$(BIN)/python data/runs/claims.py

page: .venv/installed
	$(BIN)/python docs/page/build.py

clean:
	rm -rf .venv $(SAMPLE) release.zip
