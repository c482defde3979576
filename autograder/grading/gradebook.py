"""One connection to the gradebook for a whole run, and one transaction for each step of it."""

from contextlib import contextmanager

from nbgrader.api import Gradebook
from sqlalchemy import create_engine
from sqlalchemy.orm import scoped_session, sessionmaker


@contextmanager
def one_connection(db_url, course_id):
    """Have every Gradebook that nbgrader opens meanwhile share a connection; yield that.

    nbgrader opens one for each preprocessor, nine a submission, each with an engine, tables to look
    for and queries to compile, commits twenty times, and reads everything anew after each. Inside
    `with connection.begin()` these commits wait for its end: a step is in the gradebook as a whole,
    or not at all. Source cells, which are the assignment's, are read once.
    """
    for course in {course_id, "default_course"}:  # the latter is where nbgrader names none
        Gradebook(db_url, course).close()  # makes tables and courses that are missing
    engine = create_engine(db_url)
    alone, find, source_cells = Gradebook.__init__, Gradebook.find_source_cell, {}

    def join(self, db_url, course_id="default_course", authenticator=None):
        self.engine, self.course_id, self.authenticator = engine, course_id, authenticator
        self.db = scoped_session(sessionmaker(bind=connection, expire_on_commit=False))

    def find_once(self, *cell):
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
