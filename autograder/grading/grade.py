"""Grade a class in three steps: sanitize, execute on a Dask cluster, record.

Sanitizing and recording are nbgrader's own preprocessors, in this process, and only they touch the
gradebook. Executing is a function from notebooks to notebooks: it can happen anywhere, twice, or
not at all.
"""

import copy
import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde
from nbgrader.converters.base import NbGraderException
from nbgrader.utils import find_all_files, rmtree, setenv
from sqlalchemy.exc import OperationalError
from tqdm import tqdm
from traitlets import Integer, Unicode

from ..kernels.provisioner import WarmProvisioner
from . import cluster
from .execute import read_secret, scratch_folder
from .gradebook import one_connection
from .read import KEY, SubmissionExporter
from .score import SaveAutoGrades, solution_of


@dataclass
class Job:
    """A sanitized submission: all that executing it needs."""

    assignment: str
    student: str
    key: str  # see Grade.key
    notebooks: dict[str, str]  # JSON by notebook id
    solutions: dict[str, str]  # the same
    files: dict[str, bytes]  # what else was submitted or belongs to the assignment, by path


def execute(job, preprocessors, config):
    """Return the job's notebooks, executed: {notebook id: JSON}."""
    with scratch_folder() as folder:
        for name, content in job.files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return {
            name: through(preprocessors, config, text, folder, job.solutions[name])
            for name, text in job.notebooks.items()
        }


def through(preprocessors, config, text, folder, solution):
    """Return a notebook, as JSON, after the preprocessors; `folder` is where its files are."""
    exporter = SubmissionExporter(config=config)
    exporter._preprocessors = []
    for preprocessor in preprocessors:
        exporter.register_preprocessor(preprocessor)
    with setenv(NBGRADER_EXECUTION="autograde", OMP_NUM_THREADS="1"):  # one kernel a core
        notebook = nbformat.reads(text, as_version=4)
        resources = {"metadata": {"path": folder}, "solution": solution}
        return exporter.from_notebook_node(notebook, resources)[0]


class Grade(Autograde):
    """nbgrader's Autograde for many submissions at once; it leaves behind what Autograde does.

    A submission's folder in autograded/ appears when it is complete, so whatever ends this
    process, the next run goes on where it was.
    """

    scheduler = Unicode(
        "", help="Address of a Dask scheduler, as tcp://host:8786; without it, a cluster is started here."
    ).tag(config=True)
    workers = Integer(os.cpu_count(), help="Worker processes of the cluster that is started here.").tag(
        config=True
    )

    def convert_notebooks(self):
        """Grade every submission that is new or changed; with --force, every one."""
        excluded = self.coursedir.student_id_exclude.split(",")
        folders = [f for f in sorted(self.assignments) if self.names(f)["student_id"] not in excluded]
        todo = folders if self.force else [folder for folder in folders if not self.is_done(folder)]
        if len(todo) < len(folders):
            print(f"{len(folders) - len(todo)} submissions are graded already and unchanged.")
        self.failed = []
        if todo:
            self.grade(todo)
        if self.failed:
            raise NbGraderException(f"Not graded, for the reasons above: {', '.join(self.failed)}.")

    def grade(self, folders):
        """Keep the cluster supplied with submissions and record what comes back."""
        names = [preprocessor.__name__ for preprocessor in self.autograde_preprocessors]
        split = names.index(SaveAutoGrades.__name__)  # from here on, the gradebook is involved
        before, self.recording = self.autograde_preprocessors[:split], self.autograde_preprocessors[split:]
        config = copy.deepcopy(self.config)
        config.Execute.secret = read_secret()  # workers may be elsewhere
        if not self.scheduler:
            WarmProvisioner.share(config=self.config)
        with (
            one_connection(self.coursedir.db_url, self.coursedir.course_id) as self.gradebook,
            cluster.connect(self.scheduler, self.workers) as client,
            tqdm(total=len(folders), desc="grading", unit="submission", smoothing=0.1) as bar,
        ):
            jobs = (job for folder in folders if (job := self.attempt(folder, self.sanitize, folder)))
            for job, result in cluster.run(client, execute, jobs, before, config):
                folder = self._format_source(job.assignment, job.student)
                self.attempt(folder, self.record, job, result)
                bar.update()

    def attempt(self, folder, step, *arguments):
        """Return what step(*arguments) does, or None if this submission cannot be graded."""
        try:
            return step(*arguments)
        except (OperationalError, NbGraderException):
            raise  # the gradebook or the assignment is at fault, and will be for all others
        except cluster.KilledWorker:
            self.log.error("%s ended its worker process twice and is left out.", folder)
        except Exception:
            self.log.exception("There was an error processing %s.", folder)
        self.failed.append(self.names(folder)["student_id"])

    # --- What is done already

    def names(self, folder):
        """Return {"assignment_id": ..., "student_id": ...} of a submitted folder."""
        pattern = self._format_source("(?P<assignment_id>.*)", "(?P<student_id>.*)", escape=True)
        return re.match(pattern, folder).groupdict()

    def is_done(self, folder):
        """Whether the submission is recorded, and has not changed since."""
        names = self.names(folder)
        key = self.key(folder)
        for path in self.assignments[folder]:
            graded = Path(super()._format_dest(**names), Path(path).name)
            try:
                notes = json.loads(graded.read_text())["metadata"][KEY]
            except (OSError, ValueError, KeyError):
                return False
            if notes.get("key") != key:
                return False
        return names["student_id"] in self.recorded(names["assignment_id"])

    @cache  # noqa: B019, one Grade a process
    def recorded(self, assignment):
        """Return the students of whom the gradebook has a submission."""
        with Gradebook(self.coursedir.db_url, self.coursedir.course_id) as gradebook:
            try:
                return {entry.student_id for entry in gradebook.assignment_submissions(assignment)}
            except MissingEntry:
                return set()

    def key(self, folder):
        """Return a digest of what a grade depends on: the submission, the assignment, this package."""
        assignment = self.names(folder)["assignment_id"]
        parts = [version("tinybert-fine-tuning-lesson"), self.digest(folder)]
        for step in (self.coursedir.source_directory, self.coursedir.release_directory):
            parts.append(self.digest(self.coursedir.format_path(step, ".", assignment)))
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    @cache  # noqa: B019
    def digest(self, folder):
        """Return a digest of a folder's files, their names and content; each is read once."""
        digest = hashlib.sha256()
        for path in sorted(find_all_files(folder, self.coursedir.ignore)):
            content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            digest.update(f"{os.path.relpath(path, folder)}\0{content}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    # --- The three steps but the one in the middle

    def sanitize(self, folder):
        """Return the Job of a submitted folder."""
        names = self.names(folder)
        self.notebooks = sorted(self.assignments[folder])
        self.run_pre_convert_hook()
        target = self._format_dest(**names)
        if os.path.exists(target):
            rmtree(target)  # of a run that was cut short
        if self.coursedir.notebook_id != "*" and os.path.exists(super()._format_dest(**names)):
            shutil.copytree(super()._format_dest(**names), target)
        self._sanitizing = True
        self._init_preprocessors()
        notebooks, solutions = {}, {}
        with self.gradebook.begin():
            self.init_assignment(**names)
            for path in self.notebooks:
                resources = self.init_single_notebook_resources(path)
                notebook_id = resources["nbgrader"]["notebook"]
                notebooks[notebook_id], _ = self.exporter.from_filename(path, resources=resources)
                solutions[notebook_id] = solution_of(self.coursedir, resources["nbgrader"])
        files = {
            os.path.relpath(path, target): Path(path).read_bytes()
            for path in find_all_files(target, ["*.ipynb"])
        }
        names = names["assignment_id"], names["student_id"]
        return Job(*names, self.key(folder), notebooks, solutions, files)

    def record(self, job, result):
        """Write an executed Job to the gradebook and to autograded/."""
        if isinstance(result, Exception):
            raise result
        self.exporter._preprocessors = []
        for preprocessor in self.recording:
            self.exporter.register_preprocessor(preprocessor)
        source = self._format_source(job.assignment, job.student)
        self.notebooks = [os.path.join(source, f"{name}.ipynb") for name in result]
        with self.gradebook.begin():
            for path, text in zip(self.notebooks, result.values()):
                resources = self.init_single_notebook_resources(path)
                notebook = nbformat.reads(text, as_version=4)
                notebook.metadata.setdefault(KEY, {})["key"] = job.key
                self.write_single_notebook(*self.exporter.from_notebook_node(notebook, resources))
        self.set_permissions(job.assignment, job.student)
        self.put_in_place(job.assignment, job.student)
        self.run_post_convert_hook()

    def _format_dest(self, assignment_id, student_id, escape=False):
        """Return where a submission is put together, hidden beside the place it will have."""
        folder, name = os.path.split(super()._format_dest(assignment_id, student_id, escape))
        return os.path.join(folder, f".{name}.partial")

    def put_in_place(self, assignment, student):
        """Replace what an earlier run left by what this one put together."""
        place = super()._format_dest(assignment, student)
        if os.path.exists(place):
            rmtree(place)
        os.rename(self._format_dest(assignment, student), place)
