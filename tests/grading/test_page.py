"""The report's page: nothing that students wrote becomes markup, and nobody is missing."""

import math
import re
import time
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

from autograder.grading.page import page
from autograder.grading.report import Row

CELLS = {
    "test_parameter_groups": 3.0,
    "test_learning_rate": 2.0,
    "test_training_loop": 6.0,
    "test_loss_history": 3.0,
}
FULL = [3, 2, 6, 3]
VOID = {"meta", "br"}

HOSTILE = [
    "<script>alert(1)</script>",
    "</script></style></title></svg></table><h1>mine</h1>",
    "\"><img src=x onerror='alert(1)'>",
    "' onmouseover='alert(1)",
    "`<b>code</b>` and `<i>",
    "<!-- ]]> --> &lt;script&gt; {{ 7 * 7 }} {% raw %}",
    "javascript:alert(1)",
    "//elsewhere.example/x",
    "\x00\x1b[31m\x07\x7f\x85\u2028\u202egpj.exe\ud800 \U0001f600",
    "x" * 100_000,
]


def row(student="ada", points=FULL, **more):
    more = {"seconds": 40.0, "losses": [0.7, 0.69, 0.69]} | more
    return Row(student, dict(zip(CELLS, map(float, points))), **more)


class Node:
    """An element: its tag, attributes and children, and the text in it."""

    def __init__(self, tag, attributes):
        self.tag, self.attributes, self.children = tag, dict(attributes), []

    def all(self, tag, **wanted):
        for child in self.children:
            if isinstance(child, Node):
                if child.tag == tag and all(child.attributes.get(k) == v for k, v in wanted.items()):
                    yield child
                yield from child.all(tag, **wanted)

    def one(self, tag, **wanted):
        (found,) = self.all(tag, **wanted)
        return found

    @property
    def text(self):
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class Tree(HTMLParser):
    """Builds nodes, and fails where an end tag does not close what is open."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes = [Node("", {})], set(), []
        self.feed(text)
        self.close()
        assert len(self.open) == 1, "something was never closed"

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(self.open[-1].children[-1])

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += attributes
        self.open[-1].children.append(Node(tag, attributes))

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag

    def handle_data(self, text):
        self.open[-1].children.append(text)


def parsed(rows, cells=CELLS):
    return Tree(page("08_lesson", cells, rows))


def section(rows, name, cells=CELLS):
    return parsed(rows, cells).open[0].one("section", **{"aria-labelledby": name})


# --- What students wrote


def everywhere(text):
    """A row with the text wherever a student or the machine may put one."""
    said = {"mistakes": [text, f"{text}."], "limits": [text] * 5, "remarks": [text], "not_graded": text}
    return row(text, [3, 0, 6, 0], feedback=text, **said)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_students_wrote_never_becomes_markup(text):
    rows = [everywhere("harmless `code`"), row("another")]
    usual, found = parsed(rows), parsed([everywhere(text), row("another")])
    assert found.tags <= usual.tags
    assert {name for name, _ in found.attributes} <= {name for name, _ in usual.attributes}
    assert "script" not in found.tags and "img" not in found.tags
    assert not any(name.startswith("on") for name, _ in found.attributes)
    assert len(list(found.open[0].all("h1"))) == 1


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_links_stay_in_the_folder(text):
    for name, value in parsed([everywhere(text)]).attributes:
        assert name not in ("src", "action", "xlink:href")
        if name == "href":
            assert value.startswith("./") and not urlsplit(value).scheme and not urlsplit(value).netloc


def test_a_page_needs_nothing_else():
    text = page("08_lesson", CELLS, [row(feedback="feedback/ada/a.html"), row("bob", mistakes=["`x` is 1."])])
    assert not re.search(r"https?:|url\(|@import|<script|<link", text)


def test_no_control_character_and_no_override_is_left():
    text = page("a\x00b", CELLS, [everywhere(HOSTILE[8])])
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
    text.encode("utf-8")


def test_text_is_shown_as_it_was_written():
    shown = section([row("<b>Ada</b> & Co", mistakes=['`a<b` is "not" <c>.'])], "students")
    assert shown.one("th", scope="row").text == "<b>Ada</b> & Co"
    assert 'a<b is "not" <c>.' in shown.text
    assert [code.text for code in shown.all("code")] == ["a<b"]


# --- The table


def test_every_student_is_once_in_the_table():
    rows = [row(f"student {k}", feedback=f"feedback/student {k}/50% #1?.html") for k in range(30)]
    heads = list(section(rows, "students").all("th", scope="row"))
    assert [head.text for head in heads] == [r.student for r in rows]
    links = [unquote(head.one("a").attributes["href"]) for head in heads]
    assert links == [f"./{r.feedback}" for r in rows]
    assert "?" not in heads[0].one("a").attributes["href"]


def columns(found, by_hand=None):
    """{head of a column: text of its cell} of a table with one row."""
    tree = Tree(page("08_lesson", CELLS, [found], by_hand))
    table = tree.open[0].one("section", **{"aria-labelledby": "students"}).one("table")
    heads = [" ".join(head.text.split()) for head in table.all("th", scope="col")]
    return dict(zip(heads[1:], (" ".join(cell.text.split()) for cell in table.all("td")), strict=True))


def test_a_row_holds_points_seconds_limits_and_the_first_mistake():
    found = row(
        "ada",
        [1.5, 0, 6, 3],
        mistakes=["First.", "Second.", "Third."],
        seconds=61.4,
        limits=["Time ran out in `x`."],
    )
    assert columns(found) == {
        "totalof 14": "10.5", "notes": "–", "first mistake": "First. (+2 more)",
        "parameter groupsof 3": "1.5", "learning rateof 2": "0", "training loopof 6": "6", "loss historyof 3": "3",
        "limits hit": "Time ran out in x.", "seconds": "61",
    }  # fmt: skip


def test_nothing_measured_is_a_dash():
    shown = columns(row("ada", seconds=None))
    assert {shown[head] for head in ("notes", "first mistake", "limits hit", "seconds")} == {"–"}


def test_points_by_hand_stand_apart_and_what_waits_is_no_zero():
    best = {"essay": 2.0, "other": 2.0, "third": 10.0}
    graded, half, none = (
        columns(row(manual=dict(zip(best, points)), waiting=points.count(None), penalty=1.0), best)
        for points in ((2.0, 0.0, 5.0), (2.0, None, 5.0), (None, None, None))
    )
    shown = [
        [found[head] for head in ("totalof 28", "automaticof 14", "by handof 14")]
        for found in (graded, half, none)
    ]
    assert shown == [["20", "14", "7"], ["20 so far", "14", "7 1 waiting"], ["13 so far", "14", "3 waiting"]]


def test_a_row_is_marked_with_what_sets_it_apart():
    marked = {
        "not graded: It is a zip.": {"not_graded": "It is a zip.", "graded": False},
        "earlier grade: the points are those of an earlier submission.": {"not_graded": "It is a zip."},
        "nothing submitted": {"submitted": False, "graded": False},
        "late: by 1 day 2 hours, penalty 1.5 points.": {"late": 26 * 3600 + 59, "penalty": 1.5},
        "look: Its weights differ.": {"marked": 1, "doubts": ["Its weights differ."]},
        "look: at the test cells that wait in Formgrader.": {"marked": 1},
        "look again: 1 test cell graded by hand, then by machine again.": {"again": 1},
        "Graded from a (1).ipynb.": {"remarks": ["Graded from `a (1).ipynb`."]},
    }
    for words, found in marked.items():
        assert words in columns(row(**found))["notes"]
    assert set(columns(row(graded=False, losses=[], seconds=None)).values()) == {"–"}


def test_the_sandbox_is_said_once_or_for_those_who_had_none():
    for alike, words in ((True, "All ran in a sandbox."), (False, "None ran in a sandbox.")):
        rows = [row("a", sandbox=alike), row("b", sandbox=alike), row("c", graded=False, sandbox=None)]
        if alike:
            for one in rows[:2]:
                one.walls = "Landlock, seccomp"
            words = "All ran in a sandbox (Landlock, seccomp)."
        text = parsed(rows).open[0].text
        assert words in text and "no sandbox" not in text
    (notes,) = re.findall(
        "no sandbox: .*", parsed([row("a", sandbox=True), row("b", sandbox=False)]).open[0].text
    )
    assert notes


def test_the_table_comes_first():
    order = [part.attributes["aria-labelledby"] for part in parsed([row()]).open[0].all("section")]
    assert order == ["students", "totals", "mistakes", "curves"]


def test_who_is_not_graded_is_no_zero_among_the_others():
    tree = parsed([row("a"), row("b", [0] * 4, graded=False, losses=[], not_graded="It is a zip.")]).open[0]
    assert "The only student has 14 of 14 points." in tree.text
    assert [" ".join(number.text.split()) for number in tree.all("dd")][:2] == ["1 of 2", "14 of 14"]
    assert len(list(tree.one("section", **{"aria-labelledby": "curves"}).all("polyline"))) == 1


def test_nobody_is_graded():
    tree = parsed([row("a", graded=False, not_graded="It is a zip.")], cells={})
    assert "It is a zip." in tree.open[0].text and "svg" not in tree.tags


# --- The totals


@pytest.mark.parametrize(
    ("cells", "totals"),
    [
        ({"a": 14}, [0, 0.5, 5, 12, 12, 13.5, 14, 14]),
        ({"a": 14}, [-1, 20]),
        ({"a": 13.5}, [13.5, 13, 0]),
        ({"a": 100}, [0, 4.9, 5, 99.9, 100]),
        ({"a": 7, "b": 200}, [207, 206, 3]),
        ({}, [0, 0]),
    ],
)
def test_the_bars_add_up(cells, totals):
    rows = [Row(str(k), {"a": total}) for k, total in enumerate(totals)]
    drawing = section(rows, "totals", cells).one("svg")
    bars = [int(text.text) for text in drawing.all("text", **{"class": "count"})]
    assert sum(bars) == len(totals)
    words = [int(count) for count in re.findall(r": (\d+) student", drawing.attributes["aria-label"])]
    assert words == bars


def test_the_highest_bar_is_the_most_frequent_total():
    rows = [row(str(k), points) for k, points in enumerate([FULL, FULL, FULL, [3, 2, 0, 0]])]
    drawing = section(rows, "totals").one("svg")
    low, full = (float(bar.attributes["height"]) for bar in drawing.all("rect"))
    assert full == pytest.approx(3 * low, abs=0.2)


def test_the_numbers_on_top():
    rows = [
        row("a", FULL, seconds=10),
        row("b", [3, 2, 0, 0], seconds=None),
        row("c", [0, 0, 0, 0], seconds=31),
    ]
    numbers = [" ".join(number.text.split()) for number in parsed(rows).open[0].all("dd")]
    assert numbers == ["3 of 3", "5 of 14", "6.3 of 14", "20 s"]


# --- The mistakes


def groups(rows):
    """(number of students, sentence, what is said of them) of each mistake."""
    for item in section(rows, "mistakes").one("ol").all("li"):
        if sentence := list(item.all("p", **{"class": "sentence"})):
            yield int(item.one("b").text), sentence[0].text, item


def test_mistakes_are_grouped_under_their_most_frequent_wording():
    frozen = "{} frozen parameters are in the optimizer, such as {}."
    rows = [
        row("a", mistakes=["No labels reached the model."]),
        row("b", mistakes=["The learning rate is 1e-05.", frozen.format(2, "`x`, `y`")]),
        row("c", mistakes=["The learning rate is 0.001."]),
        row("d", mistakes=["The learning rate is 0.001.", "The learning rate is 3."]),
        row("e", mistakes=[frozen.format(37, "`x`, `y`, `z` and 34 more")]),
        row("f"),
    ]
    found = list(groups(rows))
    assert [(count, sentence) for count, sentence, _ in found] == [
        (3, "The learning rate is 0.001."),
        (2, "2 frozen parameters are in the optimizer, such as x, y."),
        (1, "No labels reached the model."),
    ]
    assert [" ".join(li.text.split()) for li in found[0][2].one("ul").all("li")] == [
        "b: The learning rate is 1e-05.", "c", "d",
    ]  # fmt: skip


def test_other_words_are_another_mistake():
    rows = [row("a", mistakes=["`x` was deleted."]), row("b", mistakes=["`x` was edited."])]
    assert len(list(groups(rows))) == 2


def test_everyone_who_made_a_mistake_is_named_folded_when_many():
    rows = [row(f"student-{k:02}", mistakes=["No labels reached the model."]) for k in range(20)]
    ((count, _, item),) = groups(rows)
    assert count == 20
    assert all(r.student in item.one("details").text for r in rows)


def test_rare_mistakes_are_folded_not_lost():
    words = [f"{a}{b}" for a in "abcdef" for b in "abcdef"]
    rows = [row(word, mistakes=[f"Name {word} is not defined."]) for word in words]
    text = section(rows, "mistakes").text
    assert all(f"Name {word} is not defined." in text for word in words)


# --- The curves


def drawings(rows):
    (curves,) = section(rows, "curves").all("ul")
    return [child for child in curves.children if isinstance(child, Node)][1:]


@pytest.mark.parametrize(
    ("losses", "lines", "crosses", "words"),
    [
        ([], 0, 0, "no loss recorded"),
        ([0.7], 1, 0, ""),
        ([0.7, 0.6, 0.5], 1, 0, ""),
        ([0.7, math.nan, 0.5], 2, 1, "not a number in epoch 2"),
        ([math.inf, -math.inf, math.nan], 0, 1, "not a number in epoch 1"),
        ([0.7, 41.0, 0.7], 1, 0, "up to 41"),
        ([1e308, 1e308], 1, 0, "up to 1e+308"),
        ([-5.0, 0.5], 1, 0, "down to -5"),
        ([0.7] * 100_000, 1, 0, "first 3 of 100000 epochs"),
    ],
)
def test_a_curve(losses, lines, crosses, words):
    rows = [row(str(k)) for k in range(9)] + [row("odd", [3, 2, 0, 0], losses=losses, feedback="odd.html")]
    found = drawings(rows)
    assert len(found) == 10
    odd = found[-1]
    assert len(list(odd.all("polyline"))) == lines
    assert len(list(odd.all("path", **{"class": "mark"}))) == crosses
    assert words in odd.text and "5 of 14" in odd.text
    assert odd.one("a").text == "odd"
    assert len(list(odd.all("path", **{"class": "up"}))) == ("up to" in words)


@pytest.mark.parametrize(
    "losses",
    [
        [],
        [math.nan] * 5,
        [1e308] * 5,
        [-1.0, -2.0],
        [0.0],
        [0.7] * 100_000,
        [math.nan, 0.7] * 50_000,
        [5e-324, 3.0],
    ],
)
def test_a_class_of_strange_runs_stays_in_the_frame(losses):
    tree = parsed([row(str(k), losses=losses) for k in range(3)])
    for line in tree.open[0].all("polyline"):
        points = [tuple(map(float, point.split(","))) for point in line.attributes["points"].split()]
        assert len(points) <= 200
        assert all(0 <= x <= 160 and 0 <= y <= 88 for x, y in points)
    assert not any(
        re.search(r"\b(nan|inf)\b", value)
        for name, value in tree.attributes
        if name in ("d", "points", "y", "y1")
    )


def test_one_in_ten_who_sums_does_not_flatten_the_others():
    fall = [0.7 - 0.06 * k for k in range(10)]
    usual = drawings([row(str(k), losses=fall) for k in range(10)])[0]
    beside = drawings([row(str(k), losses=[41.0] * 10 if k == 9 else fall) for k in range(10)])[0]
    assert usual.one("polyline").attributes == beside.one("polyline").attributes


def test_spikes_of_a_long_run_are_drawn():
    losses = [0.7] * 5000
    losses[3210] = 0.0
    (line,) = drawings([row(losses=losses)])[0].all("polyline")
    heights = [float(point.split(",")[1]) for point in line.attributes["points"].split()]
    assert max(heights) == 83


# --- Small and large classes


def test_nobody():
    tree = parsed([])
    assert "Nothing was submitted" in tree.open[0].text
    assert not tree.tags & {"table", "svg", "section"}


def test_one_student_without_a_mistake():
    text = parsed([row()]).open[0].text
    assert "The only student has 14 of 14 points." in text and "No mistake was named." in text


def test_four_hundred():
    mistakes = [f"In {{}} of 16 batches, gradients of `parameter_{{}}` were {k}." for k in "abcdef"]
    rows = [
        row(
            f"student-{k:03}", [3, k % 3, k % 7, 3], seconds=k, feedback=f"feedback/student-{k:03}/08/08.html",
            mistakes=[m.format(k, k) for m in mistakes], losses=[0.7 + k / 4000 + e % 7 / 10 for e in range(1000)],
            limits=["Refused: open gradebook.db"] * 1000,
        )
        for k in range(400)
    ]  # fmt: skip
    start = time.process_time()
    text = page("08_lesson", CELLS, rows)
    assert time.process_time() - start < 10  # 0.5 s on an idle machine
    assert len(text.encode()) < 3_000_000
    assert len(list(Tree(text).open[0].all("th", scope="row"))) == 400
