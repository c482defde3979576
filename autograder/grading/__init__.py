"""The instructor's side: what `nbgrader_config.py` plugs into nbgrader, and `autograder grade`.

In the order a submission passes through: `submissions` receives files that may be anything, `read`
a notebook, `restore` the cells that are not the student's, `execute`, `score` by the `examiner`, make
`harmless` what will be shown; then `report`, and `reflections`, which people grade `by_hand`. Before
anybody's, the `solution` passes through.
"""

import sys

# A grammar of all internet addresses, which jsonschema imports where it finds it and nothing here
# needs: it would be half of the time that a command takes to start.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
