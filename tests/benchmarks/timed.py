"""Run a grading command and write down what its steps cost: python timed.py OUT PROGRAM ARGUMENT ...

Sums seconds over all submissions, in this process; what happens in the workers of a cluster is in
the graded notebooks.
"""

import json
import sys
import time
from collections import defaultdict


def main(out, program, *arguments):
    begun = time.time()
    sys.argv = [program, *arguments]
    seconds, depth, moments = defaultdict(float), defaultdict(int), []
    if program == "autograder":  # as autograder.__main__ does it
        from autograder.kernels.provisioner import WarmProvisioner

        WarmProvisioner.share()

    def count(owner, name, step):
        inner = getattr(owner, name)

        def outer(*args, **kwargs):
            depth[step] += 1
            start = time.time()
            try:
                return inner(*args, **kwargs)
            finally:
                depth[step] -= 1
                if not depth[step]:
                    seconds[step] += time.time() - start

        setattr(owner, name, outer)

    from nbconvert.preprocessors import ExecutePreprocessor
    from nbgrader.converters import Autograde
    from nbgrader.preprocessors import AssignLatePenalties, OverwriteCells, SaveAutoGrades

    count(ExecutePreprocessor, "preprocess", "execute")
    for step in (SaveAutoGrades, AssignLatePenalties, OverwriteCells):
        count(step, "preprocess", "gradebook")
    count(Autograde, "init_assignment", "gradebook")
    if program == "autograder":
        from autograder.grading.app import main as run
        from autograder.grading.grade import Grade

        count(Grade, "sanitize", "this process")
        count(Grade, "record", "this process")
        record = Grade.record
        Grade.record = lambda *args: (record(*args), moments.append(time.time() - begun))[0]
    else:
        from nbgrader.apps import NbGraderApp

        count(Autograde, "convert_single_notebook", "this process")
        count(Autograde, "init_assignment", "this process")
        run = NbGraderApp.launch_instance
    try:
        run()
    except SystemExit as end:
        if end.code:
            raise
    finally:
        total = time.time() - begun
        with open(out, "w") as file:
            json.dump({"total": total, "moments": moments, **seconds}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
