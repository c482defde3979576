"""The lesson's own code: runs that can be repeated, figures that never stop, sentences in place of tracebacks."""

import json
import re
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from bad_inputs import LOOP, OPTIMIZER, cell
from IPython.core.interactiveshell import InteractiveShell
from loops import variation

from autograder import stale
from autograder.tinybert import figures, names, rulers
from autograder.tinybert.checks import try_history
from autograder.tinybert.collect import watch
from autograder.tinybert.figures import inside as inside_figures
from autograder.tinybert.lesson import HIGH, MIDDLE, STANDARD, load_reviews, load_tokenizer
from autograder.tinybert.running import Lab, LowerHalf, Result
from autograder.tinybert.start import batches, fresh_model, redraw, shuffled_batches
from autograder.verdict import Verdict

EPOCHS = 2


class Notebook:
    """The notebook's set-up with 24 reviews and two epochs, TODO #1 and TODO #2 as the solution has them."""

    def __init__(self):
        reviews = load_reviews()
        self.tokenizer = load_tokenizer()
        self.loader = shuffled_batches(reviews["train"].select(range(24)), self.tokenizer, 8)
        self.validation = batches(reviews["validation"].select(range(12)), self.tokenizer)
        self.model = fresh_model(3)
        self.lab = Lab(self.model, self.loader, self.validation, EPOCHS, 3)
        self.optimizer = torch.optim.AdamW(
            [p for p in self.model.parameters() if p.requires_grad], lr=HIGH, weight_decay=0.01
        )
        self.train = variation()

    def click(self, train=None, picture=None):
        """Do what the training cell does; return the Result."""
        diary = self.lab.start_again(self.model, self.optimizer)
        with watch(self.model, self.loader, self.optimizer, EPOCHS, diary.write, picture) as run:
            (train or self.train)(self.model, self.loader, self.optimizer, num_epochs=EPOCHS)
        return Result(self.model, run, diary)

    def compare(self):
        results = {HIGH: self.click()}
        for rate in (MIDDLE, STANDARD):
            twins = self.lab.twins(self.model, self.optimizer, rate)
            results[rate] = self.lab.experiment(self.train, *twins)
        results["baseline"] = self.lab.baseline(self.train, len(self.tokenizer))
        return results


@pytest.fixture
def notebook():
    return Notebook()


@pytest.fixture(scope="module")
def finished():
    notebook = Notebook()
    return notebook, notebook.compare()


def test_each_click_gives_the_same_losses(notebook):
    first, second = notebook.click(), notebook.click()
    assert first.run.step_losses == second.run.step_losses
    assert first.validation == second.validation


def test_nothing_of_a_stopped_run_is_left(notebook):
    def stopped(model, loader, optimizer, num_epochs):
        optimizer.param_groups[0]["lr"] = 1.0
        for input_ids, attention_mask, labels in loader:
            optimizer.zero_grad()
            model(input_ids=input_ids, attention_mask=attention_mask, labels=labels).loss.backward()
            optimizer.step()
            raise KeyboardInterrupt

    clean = notebook.click().run.step_losses
    with pytest.raises(KeyboardInterrupt):
        notebook.click(stopped)
    assert notebook.click().run.step_losses == clean
    assert notebook.optimizer.param_groups[0]["lr"] == HIGH


def test_a_new_optimizer_is_taken_as_todo_1_left_it(notebook):
    clean = notebook.click().run.step_losses
    notebook.optimizer = torch.optim.AdamW(
        [p for p in notebook.model.parameters() if p.requires_grad], lr=HIGH, weight_decay=0.01
    )
    assert notebook.click().run.step_losses == clean


def test_other_rates_start_from_untouched_weights(notebook):
    notebook.click()
    model, optimizer = notebook.lab.twins(notebook.model, notebook.optimizer, MIDDLE)
    before = dict(notebook.lab.pretrained.named_parameters())
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert not optimizer.state and optimizer.param_groups[0]["lr"] == MIDDLE
    held = {id(p) for p in optimizer.param_groups[0]["params"]}
    assert held == {id(p) for p in model.parameters() if p.requires_grad}
    assert notebook.optimizer.param_groups[0]["lr"] == HIGH


def test_the_diary_goes_back_to_every_epoch(notebook):
    result = notebook.click()
    assert len(result.diary.weights) == EPOCHS + 1
    start = dict(result.diary.model_after(0).named_parameters())
    assert all(torch.equal(p, start[n]) for n, p in notebook.lab.pretrained.named_parameters())
    loss, accuracy = rulers.loss_and_accuracy(result.diary.model_after(EPOCHS), notebook.validation)
    assert (loss, accuracy) == result.validation[-1]


def test_a_frozen_layer_that_moves_is_measured_as_it_is(notebook):
    unfrozen = "for epoch in", "model.bert.encoder.layer[0].output.dense.weight.data *= 1.5\n    for epoch in"
    result = notebook.click(variation(unfrozen))
    moved = rulers.loss_and_accuracy(result.model, notebook.validation)
    assert moved == result.validation[-1]


def test_who_stops_while_the_lower_half_is_measured_loses_nothing(notebook, monkeypatch):
    small = batches(load_reviews()["validation"].select(range(12)), notebook.tokenizer, 4)
    lower, calls = LowerHalf(notebook.lab.pretrained, small), []

    def stopped(*arguments, **settings):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return type(lower.pretrained.bert).forward(lower.pretrained.bert, *arguments, **settings)

    monkeypatch.setattr(lower.pretrained.bert, "forward", stopped)
    with pytest.raises(KeyboardInterrupt):
        lower.above(notebook.model)
    monkeypatch.undo()
    above = lower.above(notebook.model)
    assert above is not notebook.model
    assert rulers.loss_and_accuracy(above, small) == rulers.loss_and_accuracy(notebook.model, small)


def test_a_measurement_that_fails_does_not_stop_the_students_run(notebook):
    notebook.lab.lower.batches = [(None, None, None)]
    with pytest.warns(UserWarning, match="Validation could not be measured"):
        result = notebook.click()
    assert not result.run.error and len(result.losses) == EPOCHS
    assert all(number != number for measured in result.validation for number in measured)
    figures.training(dict.fromkeys((HIGH, MIDDLE, STANDARD, "baseline"), result))


WRONG = {
    "nothing": [("    return losses\n", "")],
    "a sum": [("return losses", "return sum(losses)")],
    "a tuple": [("return losses", "return tuple(losses)")],
    "a short list": [("return losses", "return losses[:1]")],
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_wrong_history_is_named_before_the_long_run_and_draws_all_the_same(change, notebook, capsys):
    train = variation(*change)
    assert try_history(train).findings
    picture = figures.Live([0.5] * EPOCHS, EPOCHS)
    result = notebook.click(train, picture)
    figures.training(dict.fromkeys((HIGH, MIDDLE, STANDARD, "baseline"), result))
    assert len(result.losses) == EPOCHS
    assert "Traceback" not in capsys.readouterr().out


def test_a_right_history_passes_before_the_long_run():
    assert try_history(variation()).findings == []


def test_all_figures_are_drawn_with_words(finished, capsys):
    notebook, results = finished
    inside = figures.look_inside(notebook.lab, results, notebook.tokenizer)
    figures.batch(load_reviews()["train"], notebook.tokenizer)
    figures.parameters(notebook.model)
    figures.predict([0.5] * 10)
    figures.ask(["It cost $5 or $6.", "Good."], notebook.tokenizer, {"untrained": notebook.lab.pretrained})
    figures.ask(["Good."], notebook.tokenizer, {rate: results[rate].model for rate in (HIGH, MIDDLE)})
    figures.step_size(notebook.lab, notebook.model, notebook.optimizer)
    figures.summary(results, notebook.validation)
    for draw in (figures.training, figures.steps, figures.validation, figures.confidence):
        draw(results)
    for draw in (figures.collapse, figures.cloud, figures.neighbours, figures.controls, figures.movement):
        draw(inside)
    figures.dial(notebook.lab, notebook.model, notebook.optimizer)
    figures.seeds(results, notebook.validation)
    figures.cures()
    assert "run the cell" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "draw",
    [
        lambda lab: figures.training(None),
        lambda lab: figures.confidence({}),
        lambda lab: figures.collapse(None),
        lambda lab: figures.cloud(None),
        lambda lab: figures.seeds(None, []),
        lambda lab: figures.step_size(lab, None, None),
        lambda lab: figures.dial(lab, None, None),
        lambda lab: figures.ask("no list", None, {}),
        lambda lab: figures.predict("no numbers"),
        lambda lab: figures.predict([0.5] * 9),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(draw, notebook, capsys):
    assert draw(notebook.lab) is None
    said = capsys.readouterr().out
    assert said.endswith(".\n") and len(said.splitlines()) == 1


def test_an_unfinished_run_is_no_traceback(notebook, capsys):
    def lazy(model, loader, optimizer, num_epochs):
        return []

    figures.training(dict.fromkeys((HIGH, MIDDLE, STANDARD), notebook.click(lazy)))
    assert "run the cells that train again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "variables", "words"),
    [
        (NameError("name 'lab' is not defined", name="lab"), {}, "set-up cells"),
        (NameError("name 'results' is not defined", name="results"), {"lab": 1}, "section 7"),
        (NameError("name 'results' is not defined", name="results"), {}, "set-up cells"),
        (NameError("name 'my_own' is not defined", name="my_own"), {}, None),
        (NotImplementedError(), {"optimizer": None}, "Write TODO #1"),
        (NotImplementedError(), {"optimizer": 1}, "Write TODO #2"),
        (TypeError("'NoneType' object is not callable"), {"model": 1, "optimizer": 1, "train_tinybert": None}, "TODO #2"),
        (TypeError("unsupported operand"), {"model": 1, "optimizer": 1, "train_tinybert": 1}, None),
    ],
)
def test_an_error_of_order_is_a_sentence(error, variables, words):
    said = names.sentence(error, variables)
    assert said is None if words is None else words in said


def test_a_cell_that_is_to_be_written_is_not_sent_to_itself(release):
    for name, optimizer in ((OPTIMIZER, None), (OPTIMIZER, 1), (LOOP, 1)):  # also where it has been written before
        said = names.sentence(NotImplementedError(), {"optimizer": optimizer}, cell(release, name).source)
        assert said.startswith(f"TODO #{1 if name == OPTIMIZER else 2} is not written yet")
    assert names.sentence(NotImplementedError(), {"optimizer": 1}, cell(release, "run").source) == names.TODO_2


def test_rulers_on_plain_vectors():
    rng = np.random.default_rng(0)
    cloud, line = rng.normal(size=(200, 5)), np.outer(rng.normal(size=200), np.ones(5))
    assert rulers.one_direction(line) == pytest.approx(1)
    assert rulers.one_direction(cloud) < 0.3
    assert rulers.mean_cosine(np.ones((4, 5))) == pytest.approx(1)
    assert rulers.linear_cka(cloud, 3 * cloud + 1) == pytest.approx(1)
    assert rulers.neighbours_kept(cloud, 2 * cloud) == 1
    assert rulers.neighbours_kept(cloud, rng.normal(size=(200, 5))) < 0.1


def test_redrawn_layers_are_other_ones():
    model, before = fresh_model(0), dict(fresh_model(0).named_parameters())
    redraw(model)
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert {"bert.encoder.layer.2.output.dense.weight", "bert.pooler.dense.weight"} <= changed
    assert not any(name.startswith(("bert.embeddings", "bert.encoder.layer.0", "classifier")) for name in changed)


def test_no_more_than_90_locked_lines(release, solution):
    for notebook in (release, solution):
        locked = [
            len(c.source.splitlines()) for c in notebook.cells
            if c.cell_type == "code" and c.metadata.get("nbgrader", {}).get("locked")
        ]  # fmt: skip
        assert sum(locked) <= 90 and max(locked) <= 20


def test_the_set_up_comes_first(release):
    code = [c for c in release.cells if c.cell_type == "code"]
    assert [c.metadata.nbgrader.grade_id for c in code[:3]] == ["imports", "data", "model"]


def test_the_slider_stands_without_scripts(finished):
    notebook, results = finished
    inside = figures.look_inside(notebook.lab, results, notebook.tokenizer)
    places = inside_figures.places(inside)
    assert {len(run) for run in places.values()} == {EPOCHS + 1}
    assert all(np.shape(place) == (40, 2) for run in places.values() for place in run)


def test_stored_sentences_are_in_no_review():
    stored = inside_figures.everyday()
    every = [*stored["asked"], *(s for group in stored["topics"].values() for s in group)]
    texts = {row["text"] for split in load_reviews().values() for row in split}
    assert len(set(every)) == len(every) == 52 and not texts & set(every)


def test_the_notebook_says_what_the_run_cell_needs(release):
    source = cell(release, "run").source
    assert "start_again" in source and "train_tinybert(model, train_loader, optimizer" in source
    assert json.loads(nbformat.writes(release))["metadata"]["autograder"] == {"lesson": "tinybert"}


# --- What a check answers


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ("def train_tinybert(model:\n    pass", {"train_tinybert"}),  # which does not compile
        ("optimizer = train_tinybert = losses = None", {"optimizer", "train_tinybert", "losses"}),
        ("optimizer, scheduler = make()", {"optimizer"}),
        ('optimizer.param_groups[0]["lr"] = 1', {"optimizer"}),
        ("losses = train_tinybert(model, train_loader, optimizer, num_epochs=2)", {"losses"}),
        ("# optimizer = 1\nprint(optimizer == model)\nstep(lab, model=model)", set()),
    ],
)
def test_which_cell_makes_a_check_out_of_date(source, made):
    assert {name for name in ("optimizer", "train_tinybert", "losses", "model") if stale.makes(source, name)} == made


def test_an_answer_is_out_of_date_from_the_next_change_on(monkeypatch):
    class Handle(list):
        def update(self, data, raw):
            self.append(data["text/html"])

    loop, optimizer = Handle(), Handle()
    shown = [(Verdict("Loop", 6, [], about=("train_tinybert",)), loop), (Verdict("Rate", 2, [], about=("optimizer",)), optimizer)]
    monkeypatch.setattr(stale, "shown", shown)
    for source in ("1 + 1", "def train_tinybert(:", "def train_tinybert(): pass"):
        stale.look(SimpleNamespace(raw_cell=source))
    assert len(loop) == 1 and "Out of date: Loop" in loop[0] and "✓" not in loop[0]
    assert optimizer == []


def test_a_check_behind_a_cell_that_stopped_says_whose_version_it_speaks_of(monkeypatch):
    shell, boxes = InteractiveShell(), []
    monkeypatch.setattr(stale, "notebook", lambda: shell)
    for name, empty in (("shown", []), ("before", {}), ("left", {})):
        monkeypatch.setattr(stale, name, empty)

    def display(data, **_):
        boxes.append(data["text/html"])
        return SimpleNamespace(update=lambda data, raw: None)

    monkeypatch.setattr("IPython.display.display", display)

    def told(source):
        shell.run_cell(source)
        stale.show(Verdict("Loop", 6, [], about=("train_tinybert",)))
        return "stopped with" in boxes[-1] and "✓" not in boxes[-1]

    stale.watch()
    right = "def train_tinybert(): pass"
    assert not told("train_tinybert = None")
    assert not told("def train_tinybert(:")  # there is nothing of before, as in grading
    assert not told(right)
    assert told("def train_tinybert(:") and "SyntaxError" in boxes[-1]
    assert told("1 / 0") and told("train_tinybert = missing") and "NameError" in boxes[-1]
    assert not told(f"{right}\n1 / 0")  # made anew before it stopped: so it is in grading
    assert told("def train_tinybert(:") and not told(right)
    assert not told("1 / 0")
    shell.run_cell("del train_tinybert")


@pytest.mark.parametrize("change", [(), WRONG["a sum"]])
def test_a_rehearsal_speaks_of_no_points(change):
    rehearsal = try_history(variation(*change))
    assert "rehearsal" in rehearsal.as_html()
    assert not any(re.search(r"\d of \d|points", said) for said in (rehearsal.head, repr(rehearsal), str(rehearsal)))
