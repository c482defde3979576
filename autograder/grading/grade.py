"""Grade a class in three steps: sanitize, execute on a Dask cluster, record.

Sanitizing and recording are nbgrader's own preprocessors, in this process, and only they touch the
gradebook. Executing is a function from notebooks to notebooks: it can happen anywhere, twice, or
not at all.
"""

import copy
import errno
import fnmatch
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbconvert.writers.files import FilesWriter
from nbformat.v4 import new_output
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import chdir, find_all_files
from sqlalchemy.exc import OperationalError
from tqdm import tqdm
from traitlets import Integer, Unicode

from ..evidence import MIME_TYPE
from ..kernels.provisioner import WarmProvisioner
from ..lessons import KEY
from . import cluster, setup, solution
from .execute import read_secret, seed
from .faults import InstallationFault, NotGraded
from .gradebook import T, Ts, one_connection, opened, patiently
from .job import Job, execute, in_the_way, write
from .marks import counted
from .read import grade_id
from .restore import read_release
from .rubrics import is_rubric
from .score import SaveAutoGrades
from .state import State
from .submissions import TIMESTAMP, Notebooks, Submission, folders, notebooks, receive, remark

STEPS = ("source", "release", "autograded")  # that are where they are
OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)  # it will be the same for all


class Grade(Autograde):
    """nbgrader's Autograde for many submissions at once; it leaves behind what Autograde does.

    A submission's folder in autograded/ appears when it is complete, so whatever ends this
    process, the next run goes on where it was. What cannot be graded stops nobody else: it is in
    `State.not_graded`, with a sentence.
    """

    scheduler = Unicode(
        "", help="Address of a Dask scheduler, as tcp://host:8786; without it, a cluster is started here."
    ).tag(config=True)
    workers = Integer(
        os.cpu_count() or 1, min=1, help="Worker processes of the cluster that is started here."
    ).tag(config=True)

    def __init__(self, coursedir: CourseDirectory, **kwargs: Any) -> None:
        super().__init__(coursedir=coursedir, **kwargs)
        self.course = coursedir
        # nbgrader's own steps find a submission where it was written from what was received.
        self.stage = TemporaryDirectory(prefix="submitted-", ignore_cleanup_errors=True)
        self.coursedir = CourseDirectory(
            parent=self.parent,
            **{name: getattr(coursedir, name) for name in ("root", "db_url", "assignment_id")},
            **{f"{step}_directory": getattr(coursedir, f"{step}_directory") for step in STEPS},
            submitted_directory=self.stage.name,
        )
        self.assignment = coursedir.assignment_id
        self.writer = FilesWriter(parent=self, config=self.config)
        self.exporter = self.exporter_class(parent=self, config=self.config)

    @cached_property
    def state(self) -> State:
        return State(self.course.root, self.assignment)

    # --- The class

    def init_notebooks(self) -> None:
        """Find the students; the files are looked at one by one."""
        found = folders(self.course, self.assignment)
        self.state.not_graded = {s: why for s, why in self.state.not_graded.items() if s in found}
        chosen, excluded = self.course.student_id, self.course.student_id_exclude.split(",")
        self.students = {
            student: folder
            for student, folder in found.items()
            if (student == chosen or fnmatch.fnmatchcase(student, chosen)) and student not in excluded
        }
        if not self.students:
            raise NotGraded(
                f"There is nothing to grade: put notebooks into {self.course.submitted_directory}/"
                f"<student>/{self.assignment}/{'' if chosen == '*' else f' (--student was {chosen})'}"
            )

    def start(self) -> None:
        """Grade the class. Raises InstallationFault if nobody can be graded, NotGraded if nobody is there."""
        if self.course.notebook_id != "*":
            raise InstallationFault("A submission is graded as a whole: leave --notebook out.")
        with chdir(self.course.root):
            solution.must_run(self.course, self.config)
            with self.state.held():
                self.init_notebooks()
                self.convert_notebooks()

    def convert_notebooks(self) -> None:
        """Grade every submission that is new or changed; with --force, every one."""
        self.state.save()  # a course that cannot be written to is found before there is anything to lose
        checked = self.state.solution == self.check_key and bool(solution.known(self.course))
        todo = self.todo() if checked else None
        try:
            if todo != {}:
                self.grade(todo)
        finally:
            self.state.save()

    def todo(self) -> dict[str, Path]:
        """Return the students that are to be graded, and forget what was said of those that need not be."""
        done = set() if self.force else {s for s, folder in self.students.items() if self.is_done(s, folder)}
        if done:
            print(f"{counted(len(done), 'submission')} graded already and unchanged.")
        for student in self.state.not_graded.keys() & done:
            del self.state.not_graded[student]
        return {student: folder for student, folder in self.students.items() if student not in done}

    def grade(self, students: Mapping[str, Path] | None) -> None:
        """Keep the cluster supplied with submissions and record what comes back.

        students: None if the solution is to be checked first, which may change what is to be graded.
        """
        config = copy.deepcopy(self.config)
        config.Execute.secret = read_secret()  # workers may be elsewhere
        if not self.scheduler:
            WarmProvisioner.share(config=self.config)
        with ExitStack() as stack:
            client = stack.enter_context(cluster.connect(self.scheduler, self.workers))

            def run(jobs: Iterable[Job]) -> Iterator[tuple[Job, solution.Result]]:
                return cluster.run(client, execute, jobs, self.executing, config)

            if students is None:
                # Its kernel starts cold: a set-up that all share runs outside of the sandbox.
                self.check(run)
                students = self.todo()
            config.Execute.prepared = self.prepared
            config.ScoreCells.solution = self.state.evidence
            bar = stack.enter_context(
                tqdm(total=len(students), desc="grading", unit="submission", smoothing=0.1)
            )
            self.gradebook = stack.enter_context(one_connection(self.coursedir.db_url, self.course.course_id))
            for job, result in run(self.jobs(students, bar)):
                self.attempt(job.student, self.record, job, result)
                bar.update()

    def check(self, run: solution.Run) -> None:
        """Check the solution, see `solution.check`, and remember that it passed, and its evidence."""
        self.state.evidence = solution.check(self, run)
        for name in ("assignment_key", "running_key", "check_key"):  # of the release, too, which may be new
            self.__dict__.pop(name, None)
        self.state.solution = self.check_key

    def jobs(self, students: Mapping[str, Path], bar: tqdm) -> Iterator[Job]:
        """Yield the jobs of students, one by one; who has none is done with."""
        for student, folder in students.items():
            if job := self.attempt(student, self.sanitize, student, folder):
                yield job
            else:
                bar.update()

    def attempt(self, student: str, step: Callable[[*Ts], T], *arguments: *Ts) -> T | None:
        """Return what step(*arguments) does, or None if this submission cannot be graded."""
        try:
            return patiently(step, *arguments)
        except (NotGraded, InstallationFault, NbGraderException) as why:
            said = str(why)
        except cluster.KilledWorker:
            said = "It ended its worker process twice."
        except Exception as error:
            if isinstance(error, OperationalError) or getattr(error, "errno", None) in OF_THE_MACHINE:
                raise
            self.log.debug("%r could not be graded.", student, exc_info=True)
            said = f"The autograder itself failed on it: {type(error).__name__}: {error}"[:300]
        self.state.not_graded[student] = said
        return None

    # --- What is done already

    def is_done(self, student: str, folder: Path) -> bool:
        """Whether the submission is recorded, and nothing that its grade depends on has changed since."""
        if student not in self.recorded:
            return False
        try:
            key = self.key(receive(student, folder, self.course))
            found = [json.loads(path.read_text())["metadata"][KEY] for path in self.graded(student)]
        except Exception:  # whatever it is, grading it will tell
            return False
        return bool(found) and all(notes.get("key") == key for notes in found)

    def graded(self, student: str) -> list[Path]:
        """Return the notebooks of a student that were graded before."""
        return sorted(Path(super()._format_dest(self.assignment, student)).glob("*.ipynb"))

    def has_run(self, student: str, key: str, ran: str) -> Job | None:
        """Return the job of a submission that has run before, if only what judges it has changed since."""
        evidence = None if self.force or student not in self.recorded else self.state.kept(student, ran)
        if not evidence:
            return None
        try:
            found = {path.stem: nbformat.read(path, as_version=4) for path in self.graded(student)}
            files = setup.files_in(self.graded(student)[0].parent)
        except Exception:  # somebody has changed it
            return None
        if evidence.keys() != found.keys() or any(n.metadata[KEY].get("ran") != ran for n in found.values()):
            return None
        for name, notebook in found.items():
            notebook.metadata[KEY]["key"] = key
            notebook.cells = [cell for cell in notebook.cells if not is_rubric(cell)]
            for cell in notebook.cells:
                if text := evidence[name].get(grade_id(cell) or ""):
                    cell.outputs = [new_output("display_data", data={MIME_TYPE: text})]
        texts = {name: nbformat.writes(notebook) for name, notebook in found.items()}
        files = {name: content for name, content in files.items() if name.removesuffix(".ipynb") not in found}
        return Job(self.assignment, student, texts, files, has_run=True)

    @cached_property
    def recorded(self) -> set[str]:
        """The students of whom the gradebook has a submission."""
        with opened(self.course) as gradebook:
            try:
                return {entry.student_id for entry in gradebook.assignment_submissions(self.assignment)}
            except MissingEntry:
                return set()

    @cached_property
    def assignment_key(self) -> str:
        return solution.key(self.course, self.config)

    @cached_property
    def running_key(self) -> str:
        return f"{solution.key(self.course, self.config, judging=False)} {seed(read_secret())}"

    @cached_property
    def check_key(self) -> str:
        """What the solution's check depends on: also the machine, and what is installed there."""
        expected = solution.SolutionCheck(parent=self.parent).expected
        found = self.assignment_key, solution.environment(), self.scheduler, expected, seed(read_secret())
        return " ".join(map(str, found))

    def key(self, submission: Submission) -> str:
        """Return a digest of all that a grade depends on."""
        return hashlib.sha256(f"{self.assignment_key} {submission.digest()}".encode()).hexdigest()

    def ran(self, submission: Submission) -> str:
        """Return a digest of all that running a submission depends on."""
        return hashlib.sha256(f"{self.running_key} {submission.digest()}".encode()).hexdigest()

    # --- The three steps but the one in the middle

    @property
    def executing(self) -> list[type]:
        """The preprocessors that need no gradebook; the others come after them."""
        return list(self.autograde_preprocessors[: self.split])

    @property
    def split(self) -> int:
        return [issubclass(step, SaveAutoGrades) for step in self.autograde_preprocessors].index(True)

    def sanitize(self, student: str, folder: Path) -> Job:
        """Return the job of a submitted folder."""
        return self.job(receive(student, folder, self.course))

    def job(self, submission: Submission) -> Job:
        """Return the job of a submission."""
        # Before anything else: what follows takes files out of the submission.
        keys = {"key": self.key(submission), "ran": self.ran(submission)}
        if job := self.has_run(submission.student, **keys):
            return job
        self._sanitizing = True
        self._init_preprocessors()
        sanitized = {}
        for name, notebook in notebooks(submission, self.releases).items():
            resources = self.resources(submission.student, name)
            text, _ = self.exporter.from_notebook_node(notebook, resources)
            notebook = nbformat.reads(text, as_version=4)
            remark(notebook, submission.remarks)
            notebook.metadata[KEY] |= keys
            sanitized[name] = nbformat.writes(notebook)
        kept = self.exclude_overwriting.get(self.assignment, [])
        own = {name: content for name, content in self.own_files.items() if name not in kept}
        taken = [*own, *(f"{name}.ipynb" for name in sanitized)]
        files = {path: content for path, content in submission.files.items() if not in_the_way(path, taken)}
        return Job(self.assignment, submission.student, sanitized, files | own)

    @property
    def releases(self) -> Notebooks:
        """The assignment's notebooks as students got them."""
        folder = Path(self.coursedir.format_path(self.coursedir.release_directory, ".", self.assignment))
        paths = sorted(folder.glob("*.ipynb"))
        return {path.stem: read_release(path, path.stat().st_mtime_ns) for path in paths}

    @property
    def prepared(self) -> str:
        """The digest of the set-up that submissions share; "" where nothing is released yet."""
        return next((setup.digest(release, self.own_files) for release in self.releases.values()), "")

    @cached_property
    def own_files(self) -> dict[str, bytes]:
        """The assignment's other files, by path: they take the place of what was submitted."""
        folder = self.course.format_path(self.course.source_directory, ".", self.assignment)
        return {
            os.path.relpath(path, folder): Path(path).read_bytes()
            for path in find_all_files(folder, [*self.course.ignore, "*.ipynb"])
        }

    def record(self, job: Job, result: solution.Result) -> None:
        """Write an executed job to the gradebook and to autograded/, as a whole or not at all."""
        if isinstance(result, (InstallationFault, NotGraded, cluster.KilledWorker)):
            raise result
        if isinstance(result, Exception):  # whatever a submission has made a worker raise
            raise NotGraded(f"The autograder itself failed on it: {type(result).__name__}: {result}"[:300])
        source = self._format_source(job.assignment, job.student)
        target = self._format_dest(job.assignment, job.student)
        try:
            write(job.files | {f"{name}.ipynb": b"" for name in result}, source)
            for left in (target, f"{target}.old"):
                shutil.rmtree(left, ignore_errors=True)  # of a run that was cut short
            self.notebooks = [os.path.join(source, f"{name}.ipynb") for name in result]
            self.run_pre_convert_hook()
            self.exporter._preprocessors = []
            for preprocessor in self.autograde_preprocessors[self.split :]:
                self.exporter.register_preprocessor(preprocessor)
            with self.gradebook.begin():
                self.init_assignment(job.assignment, job.student)
                self.forget(job.student, time=TIMESTAMP not in job.files)
                evidence = {}
                for name, text in result.items():
                    resources = self.resources(job.student, name) | {"earlier": self.earlier(job, name)}
                    notebook = nbformat.reads(text, as_version=4)
                    evidence[name] = solution.evidence_of(notebook)
                    self.write_single_notebook(*self.exporter.from_notebook_node(notebook, resources))
            self.set_permissions(job.assignment, job.student)
            self.put_in_place(job.assignment, job.student)
            self.state.keep(job.student, notebook.metadata[KEY]["ran"], evidence)
            self.state.not_graded.pop(job.student, None)
            self.run_post_convert_hook()
        finally:
            for left in (source, target):
                shutil.rmtree(left, ignore_errors=True)

    def forget(self, student: str, time: bool) -> None:
        """Have the gradebook not know a late penalty; nor when it was submitted, if `time`."""
        with Gradebook(self.coursedir.db_url, self.course.course_id) as gradebook:
            submission = gradebook.find_submission(self.assignment, student)
            submission.timestamp = None if time else submission.timestamp
            for notebook in submission.notebooks:
                notebook.late_submission_penalty = None
            gradebook.db.commit()

    def earlier(self, job: Job, name: str) -> dict[str, str]:
        """Return {grade id: source} of the notebook as it was graded before."""
        path = Path(super()._format_dest(job.assignment, job.student), f"{name}.ipynb")
        try:
            cells = nbformat.read(path, as_version=4).cells
        except Exception:  # there is none, or somebody has changed it
            return {}
        return {cell_name: cell.source for cell in cells if (cell_name := grade_id(cell))}

    def resources(self, student: str, notebook: str) -> dict[str, Any]:
        """Return what nbgrader's preprocessors want to know of a notebook."""
        return {
            "unique_key": notebook,
            "output_files_dir": f"{notebook}_files",
            "nbgrader": {
                "student": student,
                "assignment": self.assignment,
                "notebook": notebook,
                "db_url": self.coursedir.db_url,
            },
        }

    def _format_dest(self, assignment_id: str, student_id: str, escape: bool = False) -> str:
        """Return where a submission is put together, hidden beside the place it will have."""
        folder, name = os.path.split(super()._format_dest(assignment_id, student_id, escape))
        return os.path.join(folder, f".{name}.partial")

    def put_in_place(self, assignment: str, student: str) -> None:
        """Replace what an earlier run left by what this one put together."""
        place, made = super()._format_dest(assignment, student), self._format_dest(assignment, student)
        if os.path.exists(place):
            os.rename(place, f"{made}.old")  # there is one of the two at any moment
        os.rename(made, place)
        shutil.rmtree(f"{made}.old", ignore_errors=True)
