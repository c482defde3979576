"""The instructor's side: what `nbgrader_config.py` plugs into nbgrader.

In the order a submission passes through: `read` a file that may be anything, `restore`
the cells that are not the student's, `execute`, `score` by the `examiner`; then `report`.
"""

import sys

# A grammar of all internet addresses, which jsonschema imports where it finds it and nothing here
# needs: it would be half of the time that a command takes to start.
sys.modules.setdefault("rfc3987_syntax", None)
