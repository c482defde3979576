"""reflections.html: the answers that a person grades, a question at a time, beside all that it takes.

One file for graders, who may hold it anywhere: the rubric and the solution's answer, what each student saw,
which numbers of an answer that held, whose answer is nearly the same. What graders give goes from there to
SCORES.json, and by `by_hand` into the gradebook.
"""

import base64
import hashlib
import hmac
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from nbconvert.filters import markdown2html
from nbformat import NotebookNode
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import is_locked, is_task
from PIL import Image
from rapidfuzz import fuzz, process
from tqdm import tqdm

from . import harmless
from .execute import read_secret
from .faults import InstallationFault, NotGraded
from .gradebook import opened
from .numbers import parts, values
from .read import IMAGES, grade_id
from .restore import bare, read_release, restored
from .rubrics import NOTES, is_by_hand, split
from .state import State
from .submissions import Notebooks, folders, notebooks, receive
from .text import clean

HERE = Path(__file__).parent
FORMAT = "autograder reflections 1"  # of SCORES.json

WIDTH, QUALITY = 700, 50  # of a figure on the page: pixels, of WebP's 100
MOST_PIXELS = 40_000_000  # of a picture that is opened
MOST_FIGURES = 4  # cells whose outputs stand beside a question
MOST_TEXT = 4_000  # characters of an output, of an answer ten times as many
ALIKE = 85  # percent of an answer that are another's, from which on both are marked
SHORTEST = 40  # characters; shorter answers are alike by chance
TWINS = 3  # that are named

warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MOST_PIXELS is less


@dataclass
class Answer:
    """A student's answer to a question, as the page has it."""

    student: int  # number in the page's list
    parts: list[tuple[str, bool | None]]  # see `numbers.parts`
    answer: str  # its digest
    is_empty: bool
    pasted: list[str]  # names of pictures in it
    points: float | None  # that a person gave
    automatic: float | None  # that the autograder gave: 0 for a cell that nobody touched
    waits: bool  # for a person's grade
    comment: str
    alike: list[tuple[int, int]] = field(default_factory=list)  # (number in the question's list, percent)
    more: int = 0  # that are alike, too


@dataclass
class Question:
    """A cell that a person grades."""

    notebook: str
    cell: str
    points: float
    name: str  # the question's own first words
    asked: Markup
    solution: Markup
    rubric: Markup
    beside: list[str]  # ids of the cells whose outputs an answer is about, see `relevant`
    stub: str  # what was handed out as the answer
    answers: list[Answer] = field(default_factory=list)

    def data(self) -> dict[str, Any]:
        """Return what the page's script needs of it; the rest is in the page itself."""
        return {
            "notebook": self.notebook, "cell": self.cell, "points": self.points, "name": self.name,
            "beside": self.beside, "answers": list(map(asdict, self.answers)),
        }  # fmt: skip


@dataclass
class Student:
    """A student, and what their own notebooks showed: {cell: [what it shows, in order]}."""

    id: str
    name: str
    remarks: list[str] = field(default_factory=list)
    saw: dict[str, list[dict[str, str]]] = field(default_factory=dict)


def write(course: CourseDirectory, assignment: str) -> tuple[int, int, int, int]:
    """Write reflections.html to the course's root folder.

    Returns how many questions and answers it holds, how many of the answers wait for a person, and how
    many task cells are not on it: what students write below one is in no cell of its own.
    Raises InstallationFault where there is nothing to grade by hand.
    """
    with opened(course) as gradebook:
        page = Page(course, assignment, gradebook)
        page.gather()
    partial = Path(".reflections.partial")  # never half a page
    partial.write_text(page.html(), encoding="utf-8", errors="replace")
    partial.replace("reflections.html")
    found = [answer for question in page.questions for answer in question.answers]
    tasks = sum(is_task(cell) for source in page.sources.values() for cell in source.cells)
    return len(page.questions), len(found), sum(answer.waits for answer in found), tasks


class Page:
    """All that stands on the page."""

    def __init__(self, course: CourseDirectory, assignment: str, gradebook: Gradebook) -> None:
        self.course, self.assignment, self.gradebook = course, assignment, gradebook
        self.students: list[Student] = []
        self.pictures: dict[str, str] = {}  # base64, by its digest: each once
        self.sources = self.read(course.source_directory)
        self.releases = self.read(course.release_directory)
        self.questions = list(self.find_questions())
        if not self.questions:
            raise InstallationFault(
                f"{assignment} has no answer cell that a person grades: task cells are graded in Formgrader."
            )
        self.beside = {
            name: {id for question in self.questions if question.notebook == name for id in question.beside}
            for name in self.sources
        }

    def read(self, step: str) -> Notebooks:
        """Return the assignment's notebooks in a step of the course that is no student's."""
        folder = Path(self.course.format_path(step, ".", self.assignment))
        return {
            path.stem: read_release(path, path.stat().st_mtime_ns) for path in sorted(folder.glob("*.ipynb"))
        }

    def find_questions(self) -> Iterator[Question]:
        """Yield the questions, without answers. Raises InstallationFault where nobody has been graded."""
        try:
            known = self.gradebook.find_assignment(self.assignment).notebooks
        except MissingEntry:
            raise InstallationFault(
                f"Nobody has been graded in {self.assignment}: run `autograder grade {self.assignment}`."
            ) from None
        points = {(book.name, cell.name): cell.max_score for book in known for cell in book.grade_cells}
        for name, source in self.sources.items():
            stubs = {grade_id(cell): cell.source for cell in self.releases.get(name, source).cells}
            for before, cell in zip([None, *source.cells], source.cells):
                if not is_by_hand(cell) or (name, grade_id(cell)) not in points:
                    continue
                cell_name = cell.metadata.nbgrader.grade_id
                is_asked = before and before.cell_type == "markdown" and is_locked(before)
                asked = NOTES.sub("", before.source).strip() if is_asked else ""
                solution, rubric = split(cell.source)
                yield Question(
                    name, cell_name, points[name, cell_name],
                    clean(asked.replace("*", "").lstrip("# "), 90) or cell_name,
                    shown(asked), shown(solution, cell.cell_type), shown(rubric),
                    relevant(source.cells, cell, solution), stubs.get(cell_name, ""),
                )  # fmt: skip

    # --- The class

    def gather(self) -> None:
        """Read what everybody handed in, and what the gradebook says of it."""
        submitted = folders(self.course, self.assignment)
        graded = folders(self.course, self.assignment, self.course.autograded_directory)
        entries = {e.student_id: e for e in self.gradebook.assignment_submissions(self.assignment)}
        names = {student.id: student for student in self.gradebook.students}
        not_graded = State(self.course.root, self.assignment).not_graded
        everybody = sorted({*submitted, *graded, *entries, *names})
        for student in tqdm(everybody, desc="reading", unit="student", leave=False):
            known = names.get(student)
            full = " ".join(filter(None, (known.first_name, known.last_name))) if known else ""
            self.students.append(Student(student, full))
            if student not in entries or student not in graded:
                why = not_graded.get(student) or (
                    "It is not graded yet: run `autograder grade` first."
                    if student in submitted
                    else "Nothing was submitted."
                )
                self.students[-1].remarks.append(why)
                continue
            if student in not_graded and student in submitted:
                self.students[-1].remarks.append(f"These are answers of before: {not_graded[student]}")
            self.add(entries[student], graded[student], submitted.get(student))
        for question in self.questions:
            seed = f"{read_secret()}\0{question.notebook}\0{question.cell}\0".encode()
            question.answers.sort(key=lambda answer: self.place(seed, answer.student))
            compare(question.answers)
        with ThreadPoolExecutor() as pool:
            made = pool.map(small, self.pictures.values())
            bar = tqdm(made, total=len(self.pictures), desc="figures", unit="figure", leave=False)
            self.pictures = {name: uri for name, uri in zip(self.pictures, bar) if uri}

    def place(self, seed: bytes, student: int) -> bytes:
        """Return where in a question's order a student's answer stands: at random, and always there."""
        return hmac.digest(seed, self.students[student].id.encode(errors="surrogateescape"), "sha256")

    def add(self, entry: Any, graded: Path, folder: Path | None) -> None:
        """Add a student's answers, and what this student saw."""
        student, number = self.students[-1], len(self.students) - 1
        cells, comments = {}, {}
        for book in entry.notebooks:
            cells.update({(book.name, grade.cell.name): grade for grade in book.grades})
            comments.update({(book.name, each.cell.name): each.manual_comment for each in book.comments})
        handed_in = self.handed_in(student, folder)
        for name in self.sources:
            try:
                notebook = nbformat.read(graded / f"{name}.ipynb", as_version=4)
                answers = {grade_id(cell): cell for cell in notebook.cells}
            except Exception as reason:  # not handed in, removed, or damaged since
                student.remarks.append(f"No graded `{name}.ipynb` can be read ({type(reason).__name__}).")
                continue
            mine = handed_in.get(name, notebook)
            asked = [question for question in self.questions if question.notebook == name]
            own = {grade_id(cell): cell.source for cell in mine.cells}
            if any(own.get(q.cell) != answers[q.cell].source for q in asked if q.cell in answers):
                student.remarks.append("What lies in the folder is not what was graded: grade it again.")
            # The lesson's own words, too: its learning rates stand there.
            read = [cell.source for cell in self.releases.get(name, notebook).cells]
            read += [text for cell in mine.cells for text in texts(cell)]
            known = sorted(values("\n".join(read)))
            for question in asked:
                cell, grade = answers.get(question.cell), cells.get((name, question.cell))
                if cell is None or grade is None:
                    continue
                text = readable(cell.source).strip()
                question.answers.append(
                    Answer(
                        number, parts(text, known), digest(cell), bare(text) in ("", bare(question.stub)),
                        [self.keep(data) for data in pictures(cell.get("attachments", {}).values())],
                        grade.manual_score, grade.auto_score, grade.needs_manual_grade,
                        comments.get((name, question.cell)) or "",
                    )
                )  # fmt: skip
            for cell in mine.cells:
                if cell.id in self.beside[name] and (outputs := list(self.outputs(cell))):
                    student.saw[f"{name}/{cell.id}"] = outputs

    def handed_in(self, student: Student, folder: Path | None) -> Notebooks:
        """Return the notebooks as they were handed in, in the release's order, and made harmless.

        What was graded has lost what cells showed that were run again, such as the student's own losses.
        """
        try:
            if folder is None:
                raise NotGraded("The folder is gone.")
            found = notebooks(receive(student.id, folder, self.course), self.releases)
        except NotGraded as why:
            student.remarks.append(f"What is shown beside the answers is from the graded notebook: {why}")
            return {}
        step = harmless.Harmless()
        return {
            name: step.preprocess(restored(notebook, self.releases[name]), {})[0]
            for name, notebook in found.items()
        }

    def outputs(self, cell: NotebookNode) -> Iterator[dict[str, str]]:
        """Yield what a cell shows: {"picture": name, "words": alternative text}, at last {"words": text}."""
        said, printed = [], ""
        for output in cell.get("outputs", []):
            drawn = next(pictures([output.get("data", {})]), None)
            words = alternative(output) if drawn else next(texts({"outputs": [output]}), "")
            if drawn:
                said.append(words)
                yield {"picture": self.keep(drawn), "words": readable(words)}
            elif words.removeprefix("In words: ") not in said:  # a figure's text, once more
                printed += words if output.output_type == "stream" else f"{words}\n"
        if printed.strip():
            yield {"words": readable(printed.strip())[:MOST_TEXT]}

    def keep(self, data: str) -> str:
        """Keep a picture, base64 as outputs have it; return its name on the page."""
        name = hashlib.sha256(data.encode()).hexdigest()[:16]
        self.pictures[name] = data
        return name

    # --- The page

    def html(self) -> str:
        """Return the page, which needs nothing else and runs no script but its own."""
        environment = Environment(
            loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        script = (HERE / "reflections.js").read_text(encoding="utf-8")
        return environment.get_template("reflections.html.j2").render(
            assignment=clean(self.assignment),
            questions=self.questions,
            data=as_json(
                {
                    "format": FORMAT,
                    "course": self.course.course_id,
                    "assignment": self.assignment,
                    "questions": [question.data() for question in self.questions],
                    "students": list(map(asdict, self.students)),
                }
            ),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            pictures=self.pictures,
        )


# --- What a question is about


def relevant(cells: Sequence[NotebookNode], question: NotebookNode, solution: str) -> list[str]:
    """Return the ids of the cells whose outputs hold the numbers of the solution's answer, most first.

    Where the source has no outputs, the cells that draw or print something are not known: it is every code
    cell above the question, the nearest few.
    """
    above = cells[: next(n for n, cell in enumerate(cells) if cell is question)]
    code = [cell for cell in above if cell.cell_type == "code"]
    if not any(cell.outputs for cell in code):
        return [cell.id for cell in code[-MOST_FIGURES:]]
    held = {cell.id: sorted(values("\n".join(texts(cell)))) for cell in code}
    left = {part for part, _ in parts(solution, []) if _ is not None and (len(part) > 2)}
    chosen: list[str] = []
    while left and len(chosen) < MOST_FIGURES:
        covered = {id: {n for n in left if parts(n, known)[0][1]} for id, known in held.items()}
        best = max(covered, key=lambda id: len(covered[id]))
        if not covered[best]:
            break
        chosen.append(best)
        left -= covered[best]
    return sorted(chosen, key=list(held).index)


def compare(answers: Sequence[Answer]) -> None:
    """Say of each answer which others are nearly the same. Empty and very short ones are like no other."""
    written = [n for n, answer in enumerate(answers) if not answer.is_empty]
    plain = {n: " ".join("".join(part for part, _ in answers[n].parts).lower().split()) for n in written}
    written = [n for n in written if len(plain[n]) >= SHORTEST]
    everybody = [plain[n] for n in written]
    for n in written:
        (row,) = process.cdist([plain[n]], everybody, scorer=fuzz.ratio, score_cutoff=ALIKE, dtype=np.uint8)
        near = sorted((-int(row[k]), written[k]) for k in np.flatnonzero(row) if written[k] != n)
        answers[n].alike = [(other, -percent) for percent, other in near[:TWINS]]
        answers[n].more = len(near) - len(answers[n].alike)


# --- Pieces of notebooks


def digest(cell: NotebookNode) -> str:
    """Return a digest of an answer, pictures included."""
    told = json.dumps([cell.source, cell.get("attachments", {})], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def readable(source: str) -> str:
    """Return text without the signs that keep Markdown from doing anything: here it is shown as text."""
    return harmless.COLOUR.sub("", source.replace(harmless.JOINER, ""))[: 10 * MOST_TEXT]


def texts(cell: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts in a cell's outputs, alternative texts included."""
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if text := output.get("text") or data.get("text/plain"):
            yield text
        elif "text/html" in data:
            yield Markup(data["text/html"]).striptags()
        if alternative(output):
            yield alternative(output)


def alternative(output: Mapping[str, Any]) -> str:
    """Return the alternative text of an output's picture, or what stands for it."""
    said = (
        of_kind.get("alt") for of_kind in output.get("metadata", {}).values() if isinstance(of_kind, dict)
    )
    return next(filter(None, said), "") or output.get("data", {}).get("text/plain", "")


def pictures(bundles: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """Yield the first picture of each MIME bundle."""
    for bundle in bundles:
        yield from [bundle[kind] for kind in IMAGES if kind in bundle][:1]


def small(data: str) -> str | None:
    """Return a picture, base64, as a data URI no wider than WIDTH pixels; None where it is none."""
    try:
        with Image.open(BytesIO(base64.b64decode(data)), formats=("PNG", "JPEG", "GIF")) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                return None
            drawn = picture.convert("RGBA")
    except Exception:  # whatever a damaged one makes the decoder raise
        return None
    drawn.thumbnail((WIDTH, 4 * WIDTH))
    paper = Image.new("RGB", drawn.size, "white")
    paper.paste(drawn, mask=drawn)
    made = BytesIO()
    paper.save(made, "WEBP", quality=QUALITY, method=2)
    return f"data:image/webp;base64,{base64.b64encode(made.getvalue()).decode()}"


def shown(source: str, kind: str = "markdown") -> Markup:
    """Return the instructor's own Markdown, or code, as HTML."""
    if kind == "code":
        return Markup("<pre><code>{}</code></pre>").format(source)
    return Markup(harmless.page(markdown2html(source))) if source else Markup("")


def as_json(data: object) -> Markup:
    """Return data as JSON that can stand in a script element."""
    return Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))
