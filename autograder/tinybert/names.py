"""Say in a sentence, in place of a traceback, which cell is to be run first."""

import os
import re
from types import TracebackType
from typing import Any

from IPython import get_ipython

from .. import stale

SET_UP = "Run the set-up cells first (section 1)."
TODO_1 = "Write TODO #1 (section 4) and run its cell first."
TODO_2 = "Write TODO #2 (section 5) and run its cell first."
NOT_WRITTEN = "{} is not written yet: put your code in place of the `raise` line."
RUN = "Run the cell that trains the model first (section 6)."
COMPARE = "Run the cell that trains at three rates first (section 7)."
LOOK = "Run the cell that looks inside first (section 7)."
STOPPED = "You stopped this cell. Run it again to start anew."
SENTENCES = "Run the cell with your sentences first (section 2)."
# Where the notebook's names are made.
MADE_BY = {
    **dict.fromkeys(
        "torch np plt figures lab model tokenizer reviews train_loader validation_loader test_loader watch "
        "SEED EPOCHS_TO_RUN HIGH MIDDLE STANDARD optimizer train_tinybert".split(),
        SET_UP,
    ),
    "training_run": RUN,
    "losses": RUN,
    "diary": RUN,
    "results": COMPARE,
    "inside": LOOK,
    "my_sentences": SENTENCES,
}


def sentence(error: BaseException, names: dict[str, Any], cell: str = "") -> str | None:
    """Return what to do about an error, or None where it is one of the student's code.

    names: the notebook's variables; cell: the source of the cell that stopped.
    """
    if isinstance(error, KeyboardInterrupt):
        return STOPPED
    if isinstance(error, NotImplementedError):
        if todo := re.search(r"TODO #\d", cell):
            return NOT_WRITTEN.format(todo[0])
        return TODO_1 if names.get("optimizer") is None else TODO_2
    if isinstance(error, NameError) and error.name in MADE_BY and error.name not in names:
        return f"There is no `{error.name}` yet. {MADE_BY[error.name] if 'lab' in names else SET_UP}"
    if "NoneType" in str(error) and names.get("model") is not None:
        if names.get("optimizer", ...) is None:
            return f"`optimizer` is None. {TODO_1}"
        if names.get("train_tinybert", ...) is None:
            return f"`train_tinybert` is None. {TODO_2}"
    return None


def explain_what_is_missing() -> None:
    """Have such sentences shown in the notebook; not while it is graded, where errors are read."""
    shell = get_ipython()
    if shell is None or "NBGRADER_EXECUTION" in os.environ:
        return
    stale.watch()

    def shown(
        shell: Any,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType,
        tb_offset: int | None = None,
    ) -> None:
        if said := sentence(error, shell.user_ns, shell.history_manager.input_hist_raw[-1]):
            print(said)
        else:
            shell.showtraceback((kind, error, trace), tb_offset=tb_offset)

    kinds = KeyboardInterrupt, NameError, NotImplementedError, TypeError, AttributeError
    shell.set_custom_exc(kinds, shown)
