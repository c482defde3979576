"""An answer of a check says that it is out of date once a cell that makes what was checked is run again.

Jupyter leaves it in its place until its own cell is run. And where such a cell stops with an error, the
kernel keeps what the cell made before: a check that is run then says that it speaks of that. What was
changed and not run, no kernel knows of.
"""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.display_functions import DisplayHandle
    from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult

    from .verdict import Verdict

shown: "list[tuple[Verdict, DisplayHandle]]" = []  # and still up to date
before: dict[str, Any] = {}  # the notebook's variables as the cell that runs has found them
left: dict[str, tuple[Any, str]] = {}  # {variable: (its value, the error of the last cell that makes it)}


def notebook() -> Any:
    """Return IPython's shell, None where there is none."""
    from IPython import get_ipython  # not above: verdicts are read where there is no notebook, too

    return get_ipython()


def watch() -> None:
    """Follow what the cells of a notebook make, where this is one."""
    if shell := notebook():
        shell.events.register("pre_run_cell", look)  # which keeps each function once
        shell.events.register("post_run_cell", look_back)


def show(verdict: "Verdict") -> None:
    """Display a verdict in a notebook, and keep hold of it."""
    from IPython.display import display

    watch()
    for name in verdict.about:
        value, error = left.get(name, (None, ""))
        if error and notebook().user_ns.get(name) is value:
            note = f"The cell that makes `{name}` stopped with {error}: mend it and run it first."
            display(verdict.bundle(f"{note} This check speaks of what it made before."), raw=True)
            return
    handle: Any = display(verdict.bundle(), raw=True, display_id=True)
    shown.append((verdict, handle))


def look(cell: "ExecutionInfo") -> None:
    """Mark the verdicts on what a cell is about to make, whether it will succeed or not."""
    for verdict, handle in shown[:]:
        if name := next((name for name in verdict.about if makes(cell.raw_cell or "", name)), None):
            note = f"A cell that makes `{name}` has been run since. Run this check again."
            handle.update(verdict.bundle(note), raw=True)
            shown.remove((verdict, handle))
    before.update(getattr(notebook(), "user_ns", {}))


def look_back(result: "ExecutionResult") -> None:
    """Note what a cell that stopped has not made anew."""
    source = result.info.raw_cell or "" if result.info else ""
    error = result.error_before_exec or result.error_in_exec
    for name in [name for name in left if makes(source, name)]:
        del left[name]
    if error:
        made = [name for name in before if makes(source, name) and before[name] is not None]
        left.update({name: (before[name], type(error).__name__) for name in made})
    before.clear()


def makes(source: str, name: str) -> bool:
    """Whether a cell defines, sets or changes a variable of that name, outside functions and blocks."""
    name = re.escape(name)
    defined = rf"(?:(?:async )?def|class) {name}\b"
    assigned = rf"(?:\w+ *[,=] *)*{name}\b[^=()\n]*=(?!=)"
    return re.search(rf"^(?:{defined}|{assigned})", source, re.MULTILINE) is not None
