"""Kill what grades a class, again and again, and compare the scores with an undisturbed run.

    python tests/benchmarks/faults.py --kills 100 --students 48

Each kill is SIGKILL to the coordinator, a worker, a fork server or a kernel, drawn at random,
as is the moment.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
from classes import ASSIGNMENT, course, run, scores
from tqdm import tqdm

COMMAND = [Path(sys.executable).parent / "autograder", "grade", ASSIGNMENT]


def candidates(coordinator):
    """Return {role: [processes]} of a run that is under way."""
    found = {"coordinator": [coordinator], "worker": [], "fork server": [], "kernel": []}
    for process in coordinator.children(recursive=True):
        try:
            words = " ".join(process.cmdline())
            server = "autograder.kernels.server" in words
            if server and "autograder.kernels.server" in " ".join(process.parent().cmdline()):
                found["kernel"].append(process)
            elif server:
                found["fork server"].append(process)
            elif "forkserver" in words and process.num_threads() > 3:
                found["worker"].append(process)
        except (psutil.Error, AttributeError):
            continue
    return {role: processes for role, processes in found.items() if processes}


def disturb(folder, kills, draw, bar=None):
    """Grade a class, killing so many processes on the way; return how often each role was hit."""
    hit = Counter()
    while hit.total() < kills:
        process = subprocess.Popen(COMMAND, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        coordinator = psutil.Process(process.pid)
        moment = time.monotonic() + draw.uniform(2, 14)
        while process.poll() is None and hit.total() < kills:
            if time.monotonic() > moment:
                roles = candidates(coordinator)
                # The coordinator takes seconds to start again: one kill in six.
                role = "coordinator" if draw.random() < 1 / 6 else draw.choice(sorted(roles))
                try:
                    draw.choice(roles[role]).kill()
                except (psutil.NoSuchProcess, KeyError):
                    continue
                hit[role] += 1
                moment = time.monotonic() + draw.uniform(0.2, 4)
                if bar is not None:
                    bar.update()
            time.sleep(0.05)
        if process.poll() is None and hit.total() >= kills:
            process.wait()
        elif process.returncode == 0:  # done before enough was killed: once more from the start
            forget(folder, draw)
    return hit


def forget(folder, draw):
    """Change every second submission, so that there is something to grade again."""
    for path in sorted((folder / "submitted").glob("*/*/*.ipynb"))[draw.randrange(2) :: 2]:
        notebook = json.loads(path.read_text())
        notebook["metadata"]["round"] = draw.random()
        path.write_text(json.dumps(notebook))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--students", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        calm, disturbed = (course(f"{folder}/{name}", settings.students) for name in ("calm", "disturbed"))
        run(calm, *COMMAND)
        with tqdm(total=settings.kills, desc="kills") as bar:
            hit = disturb(disturbed, settings.kills, random.Random(settings.seed), bar)
        run(disturbed, *COMMAND)
        expected, found = scores(calm), scores(disturbed)
    print(", ".join(f"{count} × {role}" for role, count in hit.most_common()))
    wrong = [student for student in expected if found.get(student) != expected[student]]
    print(f"{len(found)} of {settings.students} submissions graded, {len(wrong)} with other scores than undisturbed.")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
