"""The package as a wheel, installed elsewhere: a course that it makes grades and releases."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path
from sysconfig import get_path

import pytest
from conftest import ASSIGNMENT, ROOT, Course

from autograder.grading import answers
from autograder.grading.release import MENUS

SOLUTION = "course/solutions/08_tinybert_fine_tuning/08_tinybert_fine_tuning.ipynb"  # in the package
SPY = f"""\
## todo1_optimizer
```python
import pathlib, autograder

path = pathlib.Path(autograder.__file__).parent / "{SOLUTION}"
try:
    print("LEAK" + "ED", len(path.read_text()))
except OSError as error:
    print("kept from", path.name, type(error).__name__)
```
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return the programs' folder of an environment that has the wheel, and borrows what it needs from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    venv.create(folder / "env", symlinks=True)
    (wheel,) = folder.glob("*.whl")
    (site,) = (folder / "env").glob("lib/*/site-packages")
    (site / "borrowed.pth").write_text(get_path("purelib"))  # a path alone: no editable package comes along
    python = folder / "env" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--force-reinstall", wheel], check=True)
    nbgrader = folder / "env" / "bin" / "nbgrader"
    nbgrader.write_text(f"#!{python}\nfrom nbgrader.apps.nbgraderapp import main\nmain()\n")
    nbgrader.chmod(0o755)
    return folder / "env" / "bin"


def run(folder, *command):
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300,
        env={"PATH": f"{command[0].parent}:{os.environ['PATH']}", "HOME": os.environ["HOME"], "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def follow_the_readme(home, installed):
    """Do what the zip's README says for Linux, word by word, but for the libraries, which are borrowed."""
    venv, install, lab = re.search(r"\*\*Linux\*\*.*?\n\n((?:    .+\n)+)", (home / "README.md").read_text(), re.S)[1].split("\n")[:3]
    python = home / ".venv" / "bin" / "python"
    settings = {"PATH": f"{installed}:{os.environ['PATH']}", "HOME": str(home), "OMP_NUM_THREADS": "1", "PIP_RETRIES": "0"}
    settings |= {name: value for name, value in os.environ.items() if name.startswith("PIP_") and name != "PIP_RETRIES"}

    def shell(command):
        done = subprocess.run(command, shell=True, cwd=home, env=settings, capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout + done.stderr

    status, said = shell(venv)
    assert status == 0, said
    (site,) = (home / ".venv").glob("lib/*/site-packages")
    (site / "borrowed.pth").write_text(get_path("purelib"))
    status, said = shell(install)
    assert status == 0, said
    program, folder = lab.split(" lab ")
    assert program.strip() == ".venv/bin/jupyter" and (home / folder).is_dir()
    # In that JupyterLab, a student has no menus of an instructor's.
    disabled = "from jupyterlab_server.config import get_page_config as g; print(*g([])['disabledExtensions'])"
    status, said = shell(f'{python} -c "{disabled}"')
    assert {f"@jupyter/nbgrader:{menu}" for menu in MENUS} <= {*said.split()}, said
    assert "@jupyter/nbgrader:validate-assignment" not in said
    # Nor what stands behind them, though nbgrader's own file beside ours switches it on.
    settings_of_nbgrader = Path("etc", "jupyter", "jupyter_server_config.d", "nbgrader.json")
    shutil.copy(sys.prefix / settings_of_nbgrader, home / ".venv" / settings_of_nbgrader)
    manager = "from jupyter_server.extension.config import ExtensionConfigManager as M; from jupyter_core.paths import *"
    status, said = shell(f'{python} -c "{manager}; print(M(read_config_path=[ENV_CONFIG_PATH[0]]).get_jpserver_extensions())"')
    assert "'nbgrader.server_extensions.formgrader': False" in said and "validate_assignment': True" in said, said
    # The commands that a student's copy has.
    (check,) = re.findall(r"`(\.venv/bin/autograder check .*?)`", (home / "README.md").read_text())
    status, said = shell(check)
    assert status == 1 and "0 of 4 checks pass." in said, said
    status, said = shell(".venv/bin/autograder grade")
    assert status == 1 and "All others are for instructors." in said


def test_a_course_from_the_wheel_grades_and_releases(installed, tmp_path):
    program, folder = installed / "autograder", tmp_path / "course"
    status, said = run(tmp_path, program, "new-course", "course")
    assert status == 0, said
    status, said = run(tmp_path, program, "new-course", "course")
    assert status == 1 and "is there already: name a new folder." in said
    with (folder / "nbgrader_config.py").open("a") as config:  # the kernels may read the borrowed libraries
        config.write(f"\nc.WarmProvisioner.readable = {[get_path('purelib')]}\n")

    status, said = run(folder, program, "release")
    assert status == 0 and "release.zip" in said, said
    with zipfile.ZipFile(folder / "release.zip") as archive:
        archive.extractall(tmp_path)
    home = tmp_path / ASSIGNMENT
    released = home / "notebooks" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    assert (home / "data" / "tinybert" / "model.safetensors").exists()
    check = "import autograder.tinybert.checks as c, autograder.tinybert.lesson as l; print(c.__file__, l.data_folder())"
    status, said = run(home, installed / "python", "-c", check)
    assert status == 0 and said.count(str(home)) == 2, said  # of what is in the zip
    needs = " ".join(tomllib.loads((home / "pyproject.toml").read_text())["project"]["dependencies"])
    assert "torch<3" in needs and "distributed" not in needs
    follow_the_readme(home, installed)

    answered = tmp_path / "answers"
    answered.mkdir()
    (answered / "spy.md").write_text(SPY)
    for name in ("right-first-time", "default-learning-rate"):
        shutil.copy(ROOT / "data" / "sample_class" / f"{name}.md", answered)
    answers.build_class(answered, released, folder / "submitted", ASSIGNMENT)
    status, said = run(folder, program, "grade")
    assert status == 0, said
    rows = Course(folder).rows()
    assert [rows[name].total for name in ("right-first-time", "default-learning-rate", "spy")] == [14, 12, 0]
    spied = (folder / "autograded" / "spy" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb").read_text()
    assert list((installed.parent / "lib").glob(f"*/site-packages/autograder/{SOLUTION}"))
    assert f"kept from {ASSIGNMENT}.ipynb" in spied and "LEAKED" not in spied
