"""Judge the lines that `train_tinybert` printed, one for each epoch."""

import re

from ...rule import Said, rule
from ..records import Trial
from .numbers import near

HINT = "Hint 6 under TODO #2"
LINES, LONGEST, MOST = 2000, 1000, 50  # epoch lines, and characters and numbers of each, that count
WHOLE = r"(\d+)(?:\.0*)?(?!\.?\d)"
# A progress bar, up to what somebody has hung on it: how often it is drawn depends on the machine.
BAR = r"\d+%\|.*?\| *[\d.]+\w*/[\d.]+\w* \[[^,\]]*(, *[^,\]]*)?"
NUMBER = r"nan|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"


def printed_numbers(text: str) -> list[list[float]]:
    """Return the numbers in lines such as `Epoch 1, Loss: 0.6931`, those after the word loss first."""
    return [numbers for _, numbers in epoch_lines(text)]


def epoch_lines(text: str) -> list[tuple[int, list[float]]]:
    """Return (epoch, [the other numbers, those after the word loss first]) of such lines."""
    found = []
    lines = [line[:LONGEST].lower() for line in text.splitlines() if "epoch" in line.lower()]
    for line in [line for line in lines if "loss" in line][:LINES]:
        line = re.sub(rf"\x1b\[[\d;]*m|{BAR}", "", line)  # colours and bars
        named = list(re.finditer(r"epoch(?!s)\D*?" + WHOLE, line))
        before = [match for match in named if match.end() <= line.index("loss")]
        epoch = before[-1] if before else named[0] if named else re.search(r"(?<![\d.])" + WHOLE, line)
        if epoch:
            first, _, last = (line[: epoch.start(1)] + line[epoch.end(1) :]).partition("loss")
            numbers = re.findall(NUMBER, f"{last} {first}")[:MOST]
            found.append((int(epoch.group(1)), [float(number) for number in numbers]))
    return found


def printed_losses(text: str) -> list[float]:
    """Return the first number of each such line."""
    return [numbers[0] for numbers in printed_numbers(text) if numbers]


@rule(1, "A line such as `Epoch 1, Loss: 0.6931` after every epoch, the number with a decimal point.", HINT)
def printed(trial: Trial) -> Said | None:
    """A line for every epoch, with the epoch's number and its mean loss."""
    found = epoch_lines(trial.printed)
    shown = [numbers for _, numbers in found]
    labels = {epoch for epoch, _ in found}
    wanted = iter(shown)
    entries = trial.returned or []
    # In their order, each in a line of its own.
    if shown and all(any(shows(numbers, loss) for numbers in wanted) for loss in entries):
        if len(labels) < min(trial.num_epochs, len(entries)):
            return (
                f"The epoch lines carry only {len(labels)} different numbers for {trial.num_epochs} epochs.",
                "Without its number a line does not say which epoch it is about.",
            )
        return None
    if shown:
        return (
            f"{len(shown)} epoch lines were printed, and not all show the returned means.",
            "Print the same number that you append, after the loop over batches.",
        )
    lines = [line.strip()[:60] for line in trial.printed.split("\n") if line.strip()]
    first = next((line for line in lines if "epoch" in line.lower()), next(iter(lines), None))
    return (
        "No line shows an epoch's number together with its loss, with both words, epoch and loss; "
        f"one reads `{first}`." if first
        else "No epoch lines were printed.",
        "A run of minutes that says nothing leaves you guessing; print the mean once an epoch.",
    )  # fmt: skip


def shows(numbers: list[float], loss: float | str) -> bool:
    return isinstance(loss, float) and any(near(value, loss, 0.006) for value in numbers)
