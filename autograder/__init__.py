"""The autograder of notebook 08.

`lesson` loads what the notebook needs, `collect` runs the student's code and records it,
`judge` turns records into findings, `checks` joins the two. `grading` is the instructor's
side; students do not get it. This file imports nothing, so that nbgrader's commands need not
wait for torch.
"""
