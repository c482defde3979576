"""One connection to the gradebook for a whole run, and one transaction for each step of it."""

from contextlib import contextmanager

from nbgrader.api import Gradebook
from sqlalchemy import create_engine
from sqlalchemy.orm import scoped_session, sessionmaker


@contextmanager
def one_connection(db_url, course_id):
    """Have every Gradebook that nbgrader opens meanwhile share a connection; yield that.

    nbgrader opens one for each preprocessor, nine a submission, each with an engine, tables to look
    for and queries to compile, and commits twenty times. Inside `with connection.begin()` these
    commits wait for its end: a step is in the gradebook as a whole, or not at all.
    """
    for course in {course_id, "default_course"}:  # the latter is where nbgrader names none
        Gradebook(db_url, course).close()  # makes tables and courses that are missing
    engine = create_engine(db_url)
    alone = Gradebook.__init__

    def join(self, db_url, course_id="default_course", authenticator=None):
        self.engine, self.course_id, self.authenticator = engine, course_id, authenticator
        self.db = scoped_session(sessionmaker(bind=connection))

    try:
        with engine.connect() as connection:
            Gradebook.__init__ = join
            yield connection
    finally:
        Gradebook.__init__ = alone
        engine.dispose()
