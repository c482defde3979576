"""One submission on its way from being sanitized to being recorded, and how it is executed in between."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbconvert.preprocessors import Preprocessor
from nbgrader.utils import setenv
from traitlets.config import Config

from .execute import scratch_folder
from .read import SubmissionExporter


@dataclass
class Job:
    """A sanitized submission: all that executing and recording it needs."""

    assignment: str
    student: str
    notebooks: dict[str, str]  # JSON by notebook id
    files: dict[str, bytes]  # what else was submitted or belongs to the assignment, by path


def execute(job: Job, preprocessors: Sequence[type[Preprocessor]], config: Config) -> dict[str, str]:
    """Return the job's notebooks, executed: {notebook id: JSON}."""
    with scratch_folder() as folder:
        write(job.files, folder)
        return {
            name: through(preprocessors, config, text, folder, name) for name, text in job.notebooks.items()
        }


def through(
    preprocessors: Iterable[type[Preprocessor]], config: Config, text: str, folder: str, name: str
) -> str:
    """Return the notebook `name`, as JSON, after the preprocessors; `folder` is where its files are."""
    exporter = SubmissionExporter(config=config)
    exporter._preprocessors = []
    for preprocessor in preprocessors:
        exporter.register_preprocessor(preprocessor)
    with setenv(NBGRADER_EXECUTION="autograde", OMP_NUM_THREADS="1"):  # one kernel a core
        notebook = nbformat.reads(text, as_version=4)
        resources = {"metadata": {"path": folder}, "unique_key": name}
        return exporter.from_notebook_node(notebook, resources)[0]


def write(files: Mapping[str, bytes], folder: str | Path) -> None:
    """Write files, {path: bytes}, to a folder."""
    for name, content in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def in_the_way(path: str, taken: Iterable[str]) -> bool:
    """Whether a file would have to be a folder, or lie in one that is a file."""
    return any(path.startswith(f"{other}/") or other.startswith(f"{path}/") for other in taken)
