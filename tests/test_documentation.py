"""What the documentation names is there: commands, options, settings with their values, files, numbers."""

import re
import tomllib

import pytest
from conftest import ROOT
from nbgrader.apps.nbgraderapp import NbGraderApp
from traitlets.config import Configurable

from autograder import doctor, home
from autograder.grading import app, execute, feedback, release  # noqa: F401
from autograder.kernels import provisioner
from autograder.tinybert import lesson

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), release.STUDENTS]
PAGES += [path for folder in ("data", "tests") for path in (ROOT / folder).glob("*/README.md")]
TEXTS = {path: path.read_text(encoding="utf-8") for path in PAGES}
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]


def settings():
    """Return {class: its traits} of all that a configuration may set; ours where nbgrader's has the same name."""
    classes = sorted(every(Configurable), key=lambda c: c.__module__.startswith("autograder"))
    return {c.__name__: c.class_traits() for c in classes}


def every(kind):
    return {kind, *(below for each in kind.__subclasses__() for below in every(each))}


def quoted(text):
    """Return what stands as code: between backticks, and in indented or fenced blocks, line by line."""
    spans = re.findall(r"`([^`\n]+)`", text)
    return spans + [line.strip() for line in re.findall(r"^(?:    .*|[!%].*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("page", TEXTS, ids=NAMES)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", TEXTS[page])
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_pictures_are_there_and_small_and_have_words_for_who_does_not_see_them():
    shown = {page.parent / file: words for page in TEXTS for words, file in re.findall(r"!\[([^]]*)\]\(([^):]+)\)", TEXTS[page])}
    assert {*(ROOT / "docs" / "screenshots").iterdir()} < shown.keys()
    assert [file for file, words in shown.items() if not file.is_file() or len(words) < 40] == []
    assert [file for file in shown if file.parent.name == "screenshots" and file.stat().st_size > 120_000] == []


@pytest.mark.parametrize("page", TEXTS, ids=NAMES)
def test_commands_and_options_are_there(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    ours = {name: command for name, (command, _) in app.Autograder.subcommands.items()}
    wrong = []
    for line in quoted(TEXTS[page]):
        for _, target in re.findall(r"(^|\s)make ([a-z]+)\b(?! [a-z])", line):
            wrong += [line] if target not in targets else []
        for program, name, rest in re.findall(r"\b(autograder|nbgrader) ([a-z][\w-]+)([^|;&]*)", line):
            if program == "nbgrader" and name not in NbGraderApp.subcommands:
                wrong.append(line)
            elif program == "autograder" and name not in {*ours, "check", "doctor"}:
                wrong.append(line)
            elif name in ours:
                command = ours[name]
                known = {f"--{option}" for option in {**command.aliases, **command.flags}}
                wrong += [line for option in re.findall(r"(?<!\S)--[a-z-]+", rest) if option not in known]
    assert wrong == []


@pytest.mark.parametrize("page", TEXTS, ids=NAMES)
def test_settings_are_there(page):
    known = settings()
    named = re.findall(r"\bc\.([A-Z]\w+)\.(\w+)", TEXTS[page])
    foreign = {"DockerSpawner"}  # JupyterHub's
    assert [pair for pair in named if pair[0] not in foreign and pair[1] not in known.get(pair[0], ())] == []


@pytest.mark.parametrize("page", TEXTS, ids=NAMES)
def test_files_of_this_project_are_there(page):
    rooms = {path.name for path in ROOT.iterdir()} - {".venv"} | {"grading", "kernels", "judge", "collect"}
    made = ("sample_course", "solutions/09_means", "data/tinybert/build", "data/runs/weights")
    missing = []
    for line in quoted(TEXTS[page]):
        for name in re.findall(r"(?<![\w/.~:<-])([\w.-]+/[\w./-]*\w\.(?:py|md|ipynb|json|csv|txt|html|toml|safetensors))\b", line):
            if name.split("/")[0] not in rooms or name.startswith(made):
                continue
            places = (ROOT, ROOT / "autograder", ROOT / "autograder" / "tinybert", page.parent)
            missing += [name] if not any((place / name).exists() for place in places) else []
    assert missing == []


def test_scripts_of_blocks_are_there():
    named = {name for text in TEXTS.values() for name in re.findall(r"\bpython3? ((?:tests|data|docs|solutions)/[\w/]+\.py)", text)}
    assert named and [name for name in named if not (ROOT / name).exists()] == []


# A number that a page gives, the sentence it stands in, and what the code has.
LIMITS = {
    r"(\d+) GB of memory, \d+ MB of disk": lambda: provisioner.WarmProvisioner.memory.default_value / 2**30,
    r"GB of memory, (\d+) MB of disk": lambda: provisioner.WarmProvisioner.disk.default_value / 2**20,
    r"(\d+) s a cell": lambda: execute.Execute.timeout.default_value,
    r"s a cell and (\d+) s a notebook": lambda: execute.Execute.notebook_timeout.default_value,
    r"a cell took more than (\d+) s": lambda: home.SECONDS,
    r"the lesson takes up to (\d+) GB": lambda: doctor.MEMORY,
    r"killed from outside (\d+) times": lambda: execute.Execute.attempts.default_value,
    r"learning rate of ([\d.e-]+\d)": lambda: lesson.LEARNING_RATE,
    r"on Linux from ([\d.]+) on": lambda: 6.2,
}


@pytest.mark.parametrize("sentence", LIMITS)
def test_numbers_are_those_of_the_code(sentence):
    found = [number for text in TEXTS.values() for number in re.findall(sentence.replace(" ", r"\s+"), text)]
    assert found, "no page says so any more: take it out of LIMITS"
    assert {float(number) for number in found} == {float(LIMITS[sentence]())}


def test_pythons_are_those_of_the_package():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest, after = map(int, re.findall(r"3\.(\d+)", wanted))
    install = TEXTS[ROOT / "docs" / "install.md"]
    assert f"Python 3.{oldest} to 3.{after - 1}" in install and f"newer Python than 3.{after - 1}" in install
    assert f"<3.{after},>=3.{oldest}" in TEXTS[ROOT / "docs" / "troubleshooting.md"]


def test_every_command_is_documented():
    everything = "\n".join(TEXTS.values())
    for name in (*app.Autograder.subcommands, "check", "doctor"):
        assert f"autograder {name}" in everything or name == "sample-class", name  # that one is `make demo`


def test_sentences_of_the_shelf_are_those_that_are_printed():
    """The first words of what troubleshooting.md says that one sees stand in the code, where they are ours."""
    code = "".join(re.sub(r'"\s+f?"', "", path.read_text()) for path in (ROOT / "autograder").rglob("*.py"))
    for words in (
        "has no check cells", "is no notebook", "a cell of the set-up, stopped with", "Is there a loop that never ends?",
        "The solution cannot be graded", "There is no course in", "There is nothing to grade",
        "The file is no notebook: it", "has changed since", "came, went or changed its kind", "cannot be used",
        "is at work on", "No Dask scheduler answers", "Its kernel was killed from outside", "No data/tinybert beside",
        "could not be loaded from the hub", "Run the set-up cells first",
    ):  # fmt: skip
        assert words in code, words
        assert words.removesuffix(" on") in TEXTS[ROOT / "docs" / "troubleshooting.md"], words


def test_the_extras_named_are_there():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {name for text in TEXTS.values() for name in re.findall(r"(?:lesson|\.)\[(\w+)\]", text)}
    assert named <= set(extras)
