"""The instructor's side: what `nbgrader_config.py` plugs into nbgrader.

In the order a submission passes through: `read` a file that may be anything, `restore`
the cells that are not the student's, `execute`, `score` the outputs; then `report`.
"""
