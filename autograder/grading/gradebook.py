"""One connection to the gradebook for a whole run, and one transaction for each step of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar, TypeVarTuple

import nbgrader.api
from alembic.script import ScriptDirectory
from nbgrader.api import Gradebook, SourceCell
from nbgrader.coursedir import CourseDirectory
from nbgrader.dbutil import ALEMBIC_DIR
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import scoped_session, sessionmaker
from tqdm import tqdm

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PATIENCE = 300  # seconds that a gradebook which another program has locked is waited for


@cache
def alembic_version() -> str | None:
    """Return the version of the gradebook's tables; nbgrader starts a program each time to find it out."""
    return ScriptDirectory(ALEMBIC_DIR).get_current_head()


nbgrader.api.get_alembic_version = alembic_version


@contextmanager
def one_connection(db_url: str, course_id: str) -> Iterator[Connection]:
    """Have every Gradebook that nbgrader opens meanwhile share a connection; yield that.

    nbgrader opens one for each preprocessor, nine a submission, each with an engine, tables to look
    for and queries to compile, commits twenty times, and reads everything anew after each. Inside
    `with connection.begin()` these commits wait for its end: a step is in the gradebook as a whole,
    or not at all. Source cells, which are the assignment's, are read once.
    """
    for course in {course_id, "default_course"}:  # the latter is where nbgrader names none
        patiently(Gradebook, db_url, course).close()  # makes tables and courses that are missing
    engine = create_engine(db_url)
    alone, find, source_cells = Gradebook.__init__, Gradebook.find_source_cell, {}

    def join(
        self: Gradebook, db_url: str, course_id: str = "default_course", authenticator: Any = None
    ) -> None:
        self.engine, self.course_id, self.authenticator = engine, course_id, authenticator
        self.db = scoped_session(sessionmaker(bind=connection, expire_on_commit=False))

    def find_once(self: Gradebook, *cell: str) -> SourceCell:
        if cell not in source_cells:
            source_cells[cell] = find(self, *cell)
        return source_cells[cell]

    try:
        with engine.connect() as connection:
            Gradebook.__init__, Gradebook.find_source_cell = join, find_once
            yield connection
    finally:
        Gradebook.__init__, Gradebook.find_source_cell = alone, find
        engine.dispose()


@contextmanager
def opened(course: CourseDirectory) -> Iterator[Gradebook]:
    """Yield the Gradebook of a course, as soon as no other program locks it."""
    with patiently(Gradebook, course.db_url, course.course_id) as gradebook:
        yield gradebook


def patiently(step: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Return what step(*arguments) does, as soon as no other program locks the gradebook."""
    begun = time.monotonic()
    while True:
        try:
            return step(*arguments)
        except OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > begun + PATIENCE:
                raise
            say_waiting()
            time.sleep(1)


@cache
def say_waiting() -> None:
    """Say so once."""
    tqdm.write("Another program has locked the gradebook: waiting for it.")
