"""Grading of notebooks in warm, locked-in kernels, and the lesson of notebook 08.

`kernels` starts kernels and `grading` plugs into nbgrader: they know no lesson, and ask what `lessons`
says. `tinybert` is one. `check`, `evidence`, `rule` and `verdict` are what both sides speak of. Students
do not get `kernels` and `grading`. This file imports nothing, so that nbgrader's commands need not wait
for torch.
"""
