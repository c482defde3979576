"""One submission on its way from being sanitized to being recorded, and how it is executed in between."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.preprocessors import Preprocessor
from nbgrader.utils import setenv
from traitlets.config import Config

from .execute import Execute, scratch_folder, seed
from .read import SubmissionExporter


@dataclass
class Job:
    """A sanitized submission: all that executing and recording it needs."""

    assignment: str
    student: str
    notebooks: dict[str, str]  # JSON by notebook id
    files: dict[str, bytes]  # what else was submitted or belongs to the assignment, by path
    has_run: bool = False  # its notebooks are as they were executed, with the evidence that they left


def execute(job: Job, preprocessors: Sequence[type[Preprocessor]], config: Config) -> dict[str, str]:
    """Return the job's notebooks, executed and judged: {notebook id: JSON}."""
    resources: dict[str, Any] = {}
    if job.has_run:
        preprocessors = [step for step in preprocessors if not issubclass(step, Execute)]
        resources["seed"] = seed(config.Execute.secret)
    with scratch_folder() as folder:
        write(job.files, folder)
        resources["metadata"] = {"path": folder}
        return {
            name: through(preprocessors, config, text, resources | {"unique_key": name})
            for name, text in job.notebooks.items()
        }


def through(
    preprocessors: Iterable[type[Preprocessor]], config: Config, text: str, resources: dict[str, Any]
) -> str:
    """Return a notebook, as JSON, after the preprocessors."""
    exporter = SubmissionExporter(config=config)
    exporter._preprocessors = []
    for preprocessor in preprocessors:
        exporter.register_preprocessor(preprocessor)
    with setenv(NBGRADER_EXECUTION="autograde", OMP_NUM_THREADS="1"):  # one kernel a core
        return exporter.from_notebook_node(nbformat.reads(text, as_version=4), resources)[0]


def write(files: Mapping[str, bytes], folder: str | Path) -> None:
    """Write files, {path: bytes}, to a folder."""
    for name, content in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def in_the_way(path: str, taken: Iterable[str]) -> bool:
    """Whether a file would have to be a folder, or lie in one that is a file."""
    return any(path.startswith(f"{other}/") or other.startswith(f"{path}/") for other in taken)
