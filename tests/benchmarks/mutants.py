"""Weaken the judge, one mutation at a time: does the catalogue of answers notice?

    python tests/benchmarks/mutants.py FOLDER

runs the catalogue and tests/tampering once and keeps in FOLDER what judging them needs, judges them
anew with every mutant of the judge, grades every mutant of the solution as an answer, prints a
table, and writes it and the survivors to mutants.md. The reasons that stand there over a survivor's
row stay; new rows come under "Not looked at". Stopped, the same command goes on where it was.
"""

import gc
import hashlib
import importlib
import json
import os
import re
import signal
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path

import nbformat
import parso
from catalogue import FOLDER, TESTS, TODOS, Answer, Result, add, catalogue, graded
from classes import ASSIGNMENT, ROOT
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider
from recorded import Record, judged, record
from tqdm import tqdm

from autograder.grading.read import grade_id

# Modules, and the test cells that they judge.
MODULES = {
    "judge.calls": TESTS[2:],
    "judge.steps": TESTS[2:],
    "judge.rules": TESTS[2:],
    "judge.training": TESTS[2:],
    "judge.iterations": TESTS[2:],
    "judge.history": TESTS[2:],
    "judge.lines": TESTS[2:],
    "judge.numbers": TESTS[2:],
    "judge.doubts": TESTS[2:],
    "judge.adamw": TESTS[:2],
    "judge.optimizer": TESTS[:2],
    "grading.examiner": TESTS,
}
ANEW = ("autograder.tinybert.judge", "autograder.verdict", "autograder.tinybert.examiner")  # what imports them
LIMIT = 60  # seconds for judging everything, which takes one or two: a mutant may never end
REPORT = Path(__file__).with_suffix(".md")
NEW = "Not looked at"
LEFT_OUT = "left out"
WORD = r"\w+|[^\w\s]+"


# --- Mutants


class LeaveOut(Operator):
    """Leave out a statement of a function, or an element of a tuple or list."""

    def mutation_positions(self, node):
        if node.type == "simple_stmt" and node.parent.type == "suite":
            if node.children[0].type not in ("string", "strings"):
                yield node.start_pos, node.end_pos
        elif node.type == "testlist_comp" and {c.type for c in node.children} <= {
            "name",
            "string",
            "operator",
        }:
            for child in node.children[::2]:
                yield child.start_pos, child.end_pos

    def mutate(self, node, index):
        if node.type == "simple_stmt":
            return parso.parse(node.get_first_leaf().prefix + "pass\n")
        kept = [child.value for child in node.children[::2]]
        del kept[index]
        return parso.parse(", ".join(kept) + ",")

    @classmethod
    def examples(cls):
        return ()


@dataclass
class Mutant:
    """A module or cell after one mutation; where, line and becomes describe it to a reader."""

    where: str
    line: str
    becomes: str
    source: str


def mutants(name, source, folder):
    """Return the Mutants of a source text, by all of cosmic-ray's operators and one more."""
    path = folder / f"{name}-{hashlib.sha256(source.encode()).hexdigest()[:12]}.json"
    if not path.exists():
        provider = OperatorProvider()
        operators = [provider[kind]() for kind in provider if not provider[kind].arguments()] + [LeaveOut()]
        nodes = list(ast_nodes(get_ast(source)))
        places = [
            (o, k) for o in operators for k in range(sum(len(list(o.mutation_positions(n))) for n in nodes))
        ]
        found = [described(name, source, mutate_code(source, *place)) for place in places]
        path.write_text(json.dumps([vars(mutant) for mutant in found]))
    return [Mutant(**row) for row in json.loads(path.read_text())]


def described(name, source, mutated):
    """Return the Mutant, described by the line that differs and the words around the difference."""
    before, after = source.splitlines(), mutated.splitlines()
    k = next(k for k, (a, b) in enumerate(zip(before, after)) if a != b)
    function = next((found[1] for line in before[k::-1] if (found := re.match(r" *def (\w+)", line))), "")
    if k < next((n for n, line in enumerate(before) if re.match(r"(def|class) ", line)), 0):
        function = ""
    old, new = ([word.group() for word in re.finditer(WORD, line)] for line in (before[k], after[k]))
    start = len(os.path.commonprefix([old, new]))
    end = len(new) - len(os.path.commonprefix([old[start:][::-1], new[start:][::-1]]))
    spans = [word.span() for word in re.finditer(WORD, after[k])][max(0, start - 2) : end + 2]
    becomes = LEFT_OUT if new == ["pass"] else " ".join(after[k][spans[0][0] : spans[-1][1]].split())
    return Mutant(f"{name}.{function}".rstrip("."), before[k].strip(), becomes, mutated)


# --- The judge


@dataclass
class Case:
    """A recorded answer, and what the judge says of it."""

    name: str
    answer: Answer
    limit: bool  # its points are the most that it may get, and all that matters
    record: Record
    outputs: dict

    def differs(self, found):
        """Whether an answer did not get what it should."""
        if self.limit:
            gains = any(got > most for got, most in zip(found.points, self.answer.points))
            return gains and not found.marks and not self.answer.header("Listed")
        same = (found.points, found.rules) == (self.answer.points, self.answer.rules)
        return not same or bool(self.answer.missing(found.said))


def cases(folder):
    """Return every Case, judged as it stands. Raises ValueError if one does not get what it should."""
    tampering = {
        p.stem: Answer(p.stem, False, p.read_text())
        for p in sorted((FOLDER.parent / "tampering").glob("*.md"))
    }
    del tampering["README"]
    found = []
    for known, limit in ((catalogue(), False), (tampering, True)):
        for name, record_ in record(known, folder / ("tampering" if limit else "answers")).items():
            case = Case(
                f"tampering/{name}" if limit else name,
                known[name],
                limit,
                record_,
                judged(record_, examiner()),
            )
            if case.differs(result := summed(case.outputs.values())):
                raise ValueError(f"{name}: {result}")
            found.append(case)
    return found


def summed(outputs):
    """Return the Result in the outputs of test cells."""
    found = Result([], set(), "", [], [])
    for shown in outputs:
        add(found, shown)
    return found


def examiner(module=None, source=None):
    """Import the judge anew, with another source of one of its modules; return the Examiner."""
    for name in [name for name in sys.modules if name.startswith(ANEW)]:
        del sys.modules[name]
    get_code = SourceFileLoader.get_code
    if module:
        SourceFileLoader.get_code = lambda self, name: (
            compile(source, name, "exec") if name == f"autograder.{module}" else get_code(self, name)
        )
    return importlib.import_module("autograder.tinybert.examiner").Examiner


def judge(module, source, everyone):
    """Return who notices a mutant of a module, or None, and how many are told something else."""
    try:
        mutated = examiner(module, source)
    except Exception:
        return "the import of it", 0
    told = 0
    for case in everyone:
        try:
            tried = judged(case.record, mutated, MODULES[module])
        except Exception:
            return case.name, 0
        if case.differs(summed((case.outputs | tried).values())):
            return case.name, 0
        told += any(tried[test] != case.outputs[test] for test in tried)
    return None, told


def in_a_process(function, *arguments):
    """Return what the function returns in a process of its own; that time ran out where it does not end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_PROF, LIMIT)
        os.write(writer, json.dumps(function(*arguments)).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as file:
        text = file.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else ("it never ends", 0)


def tried(folder):
    """Return [(Mutant, who notices it or None, how many are told something else)] of the judge."""
    everyone = cases(folder)
    state = hashlib.sha256("".join(case.answer.text for case in everyone).encode()).hexdigest()
    path = folder / "mutants.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    kills = Counter(killer for killer, _, _ in known.values())
    gc.collect()
    gc.freeze()
    results = []
    for module in MODULES:
        name = module.split(".")[1]
        file = ROOT / "autograder" / f"{module.replace('.', '/')}.py"
        for mutant in tqdm(mutants(name, file.read_text(), folder), desc=name):
            key = hashlib.sha256(f"{module} {mutant.source}".encode()).hexdigest()
            if key not in known or known[key][0] is None and known[key][2] != state:
                everyone.sort(key=lambda case: (case.limit, -kills[case.name]))
                known[key] = (*in_a_process(judge, module, mutant.source, everyone), state)
                kills[known[key][0]] += 1
                path.write_text(json.dumps(known))
            results.append((mutant, *known[key][:2]))
    return results


# --- The solution


def solved(folder):
    """Return the same of the solution's two answers, each mutant graded as a submission."""
    notebook = nbformat.read(ROOT / "solutions" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", as_version=4)
    sources = {grade_id(cell): cell.source for cell in notebook.cells if grade_id(cell) in TODOS}
    found = [(todo, mutant) for todo in TODOS for mutant in mutants(todo, sources[todo], folder)]
    texts = [f"# A mutant\n\n## {todo}\n```python\n{mutant.source}\n```\n" for todo, mutant in found]
    known = {f"mutant-{n:03}": Answer(f"mutant-{n:03}", False, text) for n, text in enumerate(texts)}
    path = folder / "solution.json"
    state = hashlib.sha256("".join(texts).encode()).hexdigest()
    kept = json.loads(path.read_text()) if path.exists() else {}
    if kept.get("state") != state:
        results = graded(folder / "mutants", known, "autograder", "grade")
        kept = {"state": state, "points": {name: result.points for name, result in results.items()}}
        path.write_text(json.dumps(kept))
    return [
        (mutant, None if sum(kept["points"][name]) == 14 else name, 0)
        for name, (_, mutant) in zip(known, found)
    ]


# --- The report


def table(results):
    """Return the table of how many mutants were noticed, by module."""
    counts = defaultdict(lambda: [0] * 4)
    for mutant, killer, _ in results:
        column = 3 if killer is None else 2 if killer.startswith("tampering/") else 1
        for row in (mutant.where.split(".")[0], "all"):
            counts[row][0] += 1
            counts[row][column] += 1
    counts["all"] = counts.pop("all")
    lines = [
        "| module | mutants | noticed by the catalogue | only by tests/tampering | survive |",
        "|---|---:|---:|---:|---:|",
    ]
    return "\n".join(lines + [f"| `{name}` | {' | '.join(map(str, row))} |" for name, row in counts.items()])


def code(text):
    fence = "``" if "`" in text else "`"
    return fence + text.replace("|", "\\|") + fence


def known_reasons(text):
    """Return {(where, line, becomes): reason} of a report, as it writes them."""
    reasons, reason = {}, NEW
    for line in text.splitlines():
        if line.startswith("### "):
            reason = line[4:]
        elif line.startswith("| `") and len(columns := line[2:-2].split(" | ")) == 3:
            for becomes in columns[2].split("<br>"):
                reasons[columns[0], columns[1], becomes] = reason
    return reasons


def survivors(results, reasons):
    """Return the survivors as Markdown, under their reasons, those without one first."""
    groups = {reason: defaultdict(list) for reason in [NEW, *reasons.values()]}
    for mutant, killer, _ in results:
        if killer is None:
            place, becomes = (code(mutant.where), code(mutant.line)), code(mutant.becomes)
            rows = groups[reasons.get((*place, becomes), NEW)][place]
            if becomes not in rows:
                rows.append(becomes)
    lines = []
    for reason, rows in groups.items():
        if rows:
            lines += [f"### {reason}", "", "| where | line | becomes |", "|---|---|---|"]
            lines += [
                f"| {where} | {line} | {'<br>'.join(becomes)} |" for (where, line), becomes in rows.items()
            ]
            lines.append("")
    return "\n".join(lines)


def main():
    folder = Path(sys.argv[1]).resolve()
    results = tried(folder) + solved(folder)
    text = table(results)
    print(text)
    before = REPORT.read_text()
    head = before.partition("\n| module")[0]
    REPORT.write_text(f"{head}\n{text}\n\n## Survivors\n\n{survivors(results, known_reasons(before))}")


if __name__ == "__main__":
    main()
