"""Reach the verdicts on a submission outside its kernel, from the evidence that it left.

What the kernel says of itself may be made up. So the numbers decide: the weights that training
came to must be those of the solution's loop on the same probe, drawn from a seed nobody could
know before. Or the calls that the evidence lists, made again in a clean kernel, lead to these numbers:
then the rules say what is wrong about them. Where neither does, the points are withheld, and
somebody should look.
"""

import dataclasses
from functools import cached_property

from .. import draws
from ..evidence import Malformed, read
from ..judge import (
    Finding,
    judge_learning_rate,
    judge_loss_history,
    judge_parameter_groups,
    judge_training_loop,
)
from ..judge.iterations import iterations
from ..judge.numbers import same_losses, same_steps, same_weights
from ..judge.training import lacks_default, never_trained
from ..records import HistoryRecord, Movement, OptimizerRecord, TrainingRecord
from ..verdict import POINTS, Verdict

SAME = ("num_epochs", "default_epochs", "examples", "batches")  # of a trial, decided by the seed


class Examiner:
    """Judges one submission; to be asked for its test cells in their order."""

    def __init__(self, reference, seed):
        self.reference, self.seed = reference, seed
        self.training = None  # the TrainingRecord that the loop's own cell left
        self.trusted = None  # the same, its events known to be true; None if they are not
        self.loop = None  # the findings on it
        self.checks = {
            "test_parameter_groups": ("Parameter groups", self.parameter_groups),
            "test_learning_rate": ("Learning rate", self.learning_rate),
            "test_training_loop": ("Training loop", self.training_loop),
            "test_loss_history": ("Loss history", self.loss_history),
        }

    def verdict(self, cell, evidence):
        """Return the Verdict on a test cell, by its grade id, from the text of its evidence."""
        check, judge = self.checks[cell]
        try:
            findings = judge(evidence)
        except Malformed as error:
            findings = [withheld(check, f"No evidence can be read from this cell: {error}.")]
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            # Well formed, and yet no record of anything that can have happened.
            findings = [withheld(check, f"The evidence in this cell contradicts itself: {error!r}.")]
        return Verdict(check, findings, withheld=any(f.rule == "withheld" for f in findings))

    def parameter_groups(self, evidence):
        return judge_parameter_groups(self.optimizer(evidence), self.seed)

    def learning_rate(self, evidence):
        return judge_learning_rate(self.optimizer(evidence), self.seed)

    def optimizer(self, evidence):
        """Return the OptimizerRecord, what it says of the model replaced by what is known of it."""
        record, expected = read(evidence, OptimizerRecord), self.expected
        record.left_by_setup = expected.left_by_setup
        if record.is_optimizer:
            for name, movement in expected.movements.items():
                found, wanted = record.movements.get(name, Movement([])).values, movement.values
                as_long = list(map(len, found)) == list(map(len, wanted))
                if not as_long or any(wanted[0]) and not any(found[0]):
                    raise Malformed(f"`{name}` is not as the set-up made it")
            record.movements = {name: record.movements[name] for name in expected.movements}
        return record

    @cached_property
    def expected(self):
        """The OptimizerRecord of the solution: two test cells need it."""
        return self.reference.optimizer(self.seed)

    def training_loop(self, evidence):
        self.training = record = read(evidence, TrainingRecord)
        self.must_be_planned(record)
        findings = judge_training_loop(record)
        points = POINTS["Training loop"]
        hopeless = any(
            trial.error and not lacks_default(trial) or never_trained(trial, points)
            for trial in record.trials
        )
        if hopeless or not record.is_callable:
            self.trusted, self.loop = record, findings  # neither this check nor the next has points for it
            return findings
        trials, again = self.verify(record, suspected=bool(findings))
        if again and (trials or not findings):
            findings = worst(findings + judge_training_loop(again))
        self.loop = findings
        if trials is None:
            return [*findings, withheld("Training loop", UNEXPLAINED)]
        self.trusted = dataclasses.replace(record, trials=trials)
        return findings

    def must_be_planned(self, record):
        """Raise Malformed if the trials are not those that the seed draws, up to one that stopped."""
        described, planned = (
            [[getattr(trial, name) for name in SAME] for trial in trials]
            for trials in (record.trials, draws.trials(self.seed))
        )
        cut_short = not record.is_callable or any(t.error or t.used_global for t in record.trials[-1:])
        if described != (planned[: len(described)] if cut_short else planned):
            raise Malformed("these are not the trials that were asked for")

    def verify(self, record, suspected):
        """Return ([Trial with true events], TrainingRecord of the trials that were made again).

        The first is None where the numbers cannot be explained, the second where there was no
        need to make any again. suspected: whether the rules found mistakes; then the solution's
        loop is asked last, as each way costs about as much as the check that left the evidence.
        """
        trials, again = [], []
        for number, trial in enumerate(record.trials):
            done = self.reference.rerun(trial, number, self.seed) if suspected else None
            if not (done and explains(done, trial)):
                if right := as_solved(trial, self.solved[number]):
                    trials.append(right)
                    continue
                done = done or self.reference.rerun(trial, number, self.seed)
            if len(done.events) == len(trial.events):  # else it was cut short, by what cannot be made again
                again.append(with_events(trial, done))
            trials.append(trial if explains(done, trial) else None)
        return None if None in trials else trials, again and dataclasses.replace(record, trials=again)

    @cached_property
    def solved(self):
        """The Trials of the solution's loop."""
        return self.reference.training(self.seed).trials

    def loss_history(self, evidence):
        history = read(evidence, HistoryRecord)
        if min([history.run.batches, *history.run.batch_sizes]) < 1:
            raise Malformed("a run without batches")
        if self.training is None:
            raise Malformed("there is none of the training loop either")
        if self.trusted is None:
            return [withheld("Loss history", UNEXPLAINED)]
        return judge_loss_history(self.trusted, history, self.loop)


def worst(findings):
    """Return one finding for each rule, the one that costs most."""
    found = {}
    for finding in findings:
        if finding.rule not in found or finding.points > found[finding.rule].points:
            found[finding.rule] = finding
    return list(found.values())


def explains(done, trial):
    """Whether a trial's calls, made again, came to its numbers."""
    as_long = len(trial.events) == len(done.events)
    return as_long and same_weights(trial, done) and same_losses(trained(trial), trained(done))


def as_solved(trial, right):
    """Return the trial, its events known to be true, if it came to the solution's numbers."""
    if same_weights(trial, right) and same_steps(trial, right):
        return trial if same_losses(trained(trial), trained(right)) else with_events(trial, right)
    return None


def trained(trial):
    """Return the trial with the forward calls only that it learnt from."""
    return dataclasses.replace(trial, events=[i.forward for i in iterations(trial)])


def with_events(trial, other):
    """Return the trial with the events of another."""
    return dataclasses.replace(trial, events=other.events)


UNEXPLAINED = "The weights that training came to do not follow from the calls that were made."


def withheld(check, observed):
    """Return the finding that takes all points until somebody has looked."""
    return Finding(
        "withheld", POINTS[check], observed,
        "the weights that AdamW's steps on each batch's own loss lead to.",
        "Something else changes weights, gradients or what the checks record: take it out, or ask "
        "your instructor, who was told to look at this by hand.",
        "Section 5, Details",
    )  # fmt: skip
