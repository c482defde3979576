"""An answer of a check says that it is out of date once a cell that makes what was checked is run again.

Jupyter leaves it in its place until its own cell is run. What was changed and not run, no kernel knows of.
"""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.display_functions import DisplayHandle
    from IPython.core.interactiveshell import ExecutionInfo

    from .verdict import Verdict

shown: "list[tuple[Verdict, DisplayHandle]]" = []  # and still up to date


def show(verdict: "Verdict") -> None:
    """Display a verdict in a notebook, and keep hold of it."""
    from IPython import get_ipython  # not above: verdicts are read where there is no notebook, too
    from IPython.display import display

    handle: Any = display(verdict.bundle(), raw=True, display_id=True)
    shown.append((verdict, handle))
    get_ipython().events.register("pre_run_cell", look)  # which keeps each function once


def look(cell: "ExecutionInfo") -> None:
    """Mark the verdicts on what a cell is about to make, whether it will succeed or not."""
    for verdict, handle in shown[:]:
        if name := next((name for name in verdict.about if makes(cell.raw_cell or "", name)), None):
            handle.update(verdict.bundle(changed=name), raw=True)
            shown.remove((verdict, handle))


def makes(source: str, name: str) -> bool:
    """Whether a cell defines, sets or changes a variable of that name, outside functions and blocks."""
    defined = rf"(?:(?:async )?def|class) {name}\b"
    assigned = rf"(?:\w+ *[,=] *)*{name}\b[^=()\n]*=(?!=)"
    return re.search(rf"^(?:{defined}|{assigned})", source, re.MULTILINE) is not None
