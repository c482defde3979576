"""Text of others, as it may be shown: it breaks, hides or reverses no page, and steers no terminal."""

import difflib
import unicodedata
from collections.abc import Iterable
from logging import LogRecord
from typing import Any

from tornado.log import LogFormatter

OVERRIDES = {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}  # turn text around, rows included


def clean(text: object, limit: int = 400) -> str:
    """Return text as one line that can be shown."""
    text = harmless(" ".join(str(text)[: 4 * limit].split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def suggestion(name: str, known: Iterable[str], least: float = 0.6) -> str:
    """Return the end of a sentence about a name that is none: which of those known was meant, if any.

    least: how alike it must be, from 0 to 1.
    """
    near = difflib.get_close_matches(name, sorted(known), 1, least)
    return f": did you mean `{clean(near[0])}`?" if near else "."


def harmless(text: str) -> str:
    """Return text, its lines kept, with a sign in place of each character that is hidden."""
    return "".join("\ufffd" if hidden(character) and character != "\n" else character for character in text)


def hidden(character: str) -> bool:
    """Say whether a character is a control, half a pair (UTF-8 cannot hold it), or an override."""
    return character in OVERRIDES or unicodedata.category(character) in ("Cc", "Cs")


class Formatter(LogFormatter):
    """nbgrader's formatter of its log, whose messages hold names of students and what their code said."""

    def format(self, record: LogRecord) -> str:
        """Return a record as text, in which only the formatter's own colours are control characters."""
        try:
            record.msg, record.args = harmless(record.getMessage()), ()
        except Exception:
            pass  # LogFormatter says that the message is a bad one
        return super().format(record)

    def formatException(self, info: tuple[Any, Any, Any]) -> str:  # noqa: N802, logging's name
        """Return a traceback as text: its last line is the exception's own message."""
        return harmless(super().formatException(info))
