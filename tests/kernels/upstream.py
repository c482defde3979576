"""Run nbgrader's own tests of autograding, and nbclient's own tests, with warm kernels as the default.

    pip install -e '.[test,upstream]'
    python tests/kernels/upstream.py

nbgrader's are in its wheel. nbclient's are in its sdist: the installed version's is fetched into a
temporary folder. The exit status is not 0 if a test fails or a suite started no warm kernel. The lower
half of this file is a pytest plugin that leaves tests out and counts kernels.
"""

import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

from autograder.kernels.provisioner import ForkServer

OUTSIDE = "Its kernels meet in a folder outside of theirs, named in a variable that they do not get to see."
LEFT_OUT = {"test_parallel_notebooks": OUTSIDE, "test_async_parallel_notebooks": OUTSIDE}
SUITES = {
    "nbgrader": ["-c", os.devnull, "--pyargs", "nbgrader.tests.apps.test_nbgrader_autograde"],
    "nbclient": ["-c", "pyproject.toml", "tests"],  # its own configuration: warnings are errors
}
OPTIONS = [
    "-p", Path(__file__).stem, "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function",
    "--rootdir=.", "-q", "-rs", "--color=auto", "--disable-warnings", "--no-flaky-report",
]  # fmt: skip


def main():
    """Run the suites, one after the other."""
    env = os.environ | {
        "JUPYTER_DEFAULT_PROVISIONER_NAME": "warm",
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]),  # jupyter-execute
        "PYTHONPATH": str(Path(__file__).parent),  # the plugin
    }
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        fetch_tests("nbclient", folder)
        for suite, arguments in SUITES.items():
            print(f"\n{suite} {version(suite)}", flush=True)
            command = [sys.executable, "-m", "pytest", *OPTIONS, *arguments]
            if subprocess.run(command, cwd=folder, env=env).returncode:
                failed.append(suite)
    sys.exit(f"Failed: {', '.join(failed)}" if failed else 0)


def fetch_tests(package, folder):
    """Extract from the sdist of a package its tests and their configuration, not the package."""
    sdist = [f"{package}=={version(package)}", "--no-binary", package, "--no-deps", "--dest", folder]
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *sdist], check=True)
    with tarfile.open(next(Path(folder).glob("*.tar.gz"))) as files:
        for file in files:
            file.name = file.name.partition("/")[2]
            if file.name == "pyproject.toml" or file.name.startswith("tests/"):
                files.extract(file, folder, filter="data")


forks = []  # what this process asked its fork server for; processes that tests start are not counted


def pytest_configure():
    fork = ForkServer.fork

    def counted(server, request):
        forks.append(request)
        return fork(server, request)

    ForkServer.fork = counted


def pytest_collection_modifyitems(items):
    for item in items:
        if reason := LEFT_OUT.get(item.name):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == pytest.ExitCode.OK and not forks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    terminalreporter.line(f"{len(forks)} warm kernels")


if __name__ == "__main__":
    main()
