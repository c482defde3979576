"""Every rule of the training loop and the loss history, kept and broken."""

import pytest
import torch
from loops import RIGHT, WRONG_HISTORIES, WRONG_LOOPS, variation

from autograder.tinybert import judge
from autograder.tinybert.checks import check_training_loop
from autograder.tinybert.collect import collect_training, watch
from autograder.tinybert.collect.probe import Probe
from autograder.tinybert.draws import Plan
from autograder.tinybert.records import HistoryRecord, RunRecord

SEEDS = (8, 20031)


def cases(names):
    """Each name with the first seed, every other one with the second too; of them, a sixth without `slow`."""
    return [
        pytest.param(name, seed, marks=[pytest.mark.slow] * bool(seed != SEEDS[0] or number % 6))
        for number, name in enumerate(names)
        for seed in SEEDS[: 2 - number % 2]
    ]


def findings(function, seed=8):
    """Return what both checks find, without the notebook's own run."""
    record = collect_training(function, seed)
    history = HistoryRecord([0.5], RunRecord(batches=1, step_losses=[0.5], batch_sizes=[3]))
    return judge.judge_training_loop(record), judge.judge_loss_history(record, history)


@pytest.mark.parametrize(("name", "seed"), cases(RIGHT))
def test_right_loops_lose_nothing(name, seed):
    assert findings(variation(*RIGHT[name]), seed) == ([], [])


@pytest.mark.parametrize(("name", "seed"), cases(WRONG_LOOPS))
def test_wrong_loops_lose_one_rule_by_its_name(name, seed):
    replacements, rule, words = WRONG_LOOPS[name]
    found, _ = findings(variation(*replacements), seed)
    assert [finding.rule for finding in found] == [rule]
    assert found[0].points > 0
    assert words in str(found[0])


@pytest.mark.parametrize(("name", "seed"), cases(WRONG_HISTORIES))
def test_wrong_histories_lose_one_rule_and_leave_the_loop_alone(name, seed):
    replacements, rule, words = WRONG_HISTORIES[name]
    loop, history = findings(variation(*replacements), seed)
    assert loop == []
    assert [finding.rule for finding in history] == [rule]
    assert words in str(history[0])


def test_two_mistakes_are_two_messages():
    two = WRONG_LOOPS["no zero_grad"][0] + WRONG_LOOPS["no mask"][0]
    assert {f.rule for f in findings(variation(*two))[0]} == {"zero_grad", "attention_mask"}


@pytest.mark.parametrize("value", [None, 3, "train_tinybert"])
def test_what_is_no_function_scores_nothing(value):
    assert check_training_loop(value).points == 0


def test_exit_in_the_loop_is_a_finding():
    verdict = check_training_loop(variation(("losses = []", "raise SystemExit")))
    assert verdict.points == 0 and "SystemExit" in str(verdict)


def test_a_check_leaves_random_state_threads_and_globals_alone():
    function = variation()
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    kept = dict(function.__globals__)
    check_training_loop(function)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert function.__globals__ == kept


def test_a_check_says_nothing_itself(capsys):
    check_training_loop(variation())
    assert capsys.readouterr() == ("", "")


def own_losses(losses, run):
    record = collect_training(variation(), 8)
    return [f.rule for f in judge.judge_loss_history(record, HistoryRecord(losses, run))]


def test_the_notebooks_own_losses_come_from_its_own_run():
    probe = Probe(Plan(epochs=2, examples=7, batch_size=3, layers=3, seed=1))
    with watch(probe.model, probe.loader, probe.optimizer, 2, each_epoch=lambda: "measured") as run:
        losses = variation()(probe.model, probe.loader, probe.optimizer, num_epochs=2)
    assert run.each_epoch == ["measured", "measured"]
    assert own_losses(losses, run) == []
    assert own_losses(losses[::-1], run) == ["own_run"]
    assert own_losses([0.7, 0.6], run) == ["own_run"]
    assert own_losses(None, run) == ["own_run"]
    assert own_losses(losses, RunRecord(batches=3)) == ["own_run"]


def test_a_run_that_ends_in_nan_is_still_ones_own():
    nan = float("nan")
    run = RunRecord(batches=1, step_losses=[0.7, nan], batch_sizes=[3, 3])
    assert own_losses([0.7, nan], run) == []
    assert own_losses([0.7, 0.7], run) == ["own_run"]


def test_ones_own_mean_may_be_by_batch_or_by_example():
    run = RunRecord(batches=2, step_losses=[0.2, 0.8, 0.3, 0.5], batch_sizes=[3, 1, 3, 1])
    assert own_losses([0.5, 0.4], run) == []
    assert own_losses([0.35, 0.35], run) == []
    assert own_losses([0.5, 0.35], run) == ["own_run"]
