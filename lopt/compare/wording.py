"""What a report says of its numbers and pictures."""

from lopt.compare.curves import FINAL_FRACTION
from lopt.compare.results import Comparison

COLUMNS = {
    "faster / level / slower": "the tasks on which the interval of its speedup over seeds lies "
    "above one, contains one, lies below one.",
    "lowest loss on": "the tasks on which it ends lowest, or is not behind the lowest on every "
    "seed; optimizers that are level share a task.",
    "profile score": "the mean height of its curve in the picture of profiles, from 1 to 4 times "
    "the steps of the fastest: 1 if it is the fastest on every task, 0 if it never comes within 4 "
    "times.",
    "failed on": "the tasks on which it could not run, or diverged at every setting.",
    "diverged": "the fraction of all its trials and seeds whose final loss is more than twice the "
    "first, or not finite.",
    "state": "what it keeps beside the params; in brackets, times the reference's, as the "
    "milliseconds of a step are.",
}
"""What columns of the tables say that their names do not."""


CAPTIONS = {
    "curves": "Training loss, smoothed, at each optimizer's best setting, with the range over "
    "seeds.",
    "rates": "Final loss against the learning rate, in multiples of each optimizer's best.",
    "speedups": "Times as fast as the reference, with 95 % intervals.",
    "profile": "The fraction of tasks on which an optimizer needs at most so many times the steps "
    "of the fastest.",
}
"""What each picture shows."""


def title(results: Comparison) -> str:
    """What the report is headed with."""
    if len(results.tasks) > 2:
        return f"{len(results.optimizers)} optimizers on {len(results.tasks)} tasks"
    return f"{len(results.optimizers)} optimizers on {' and '.join(results.tasks)}"


def how(results: Comparison) -> str:
    """How the numbers came about, in a paragraph."""
    return (
        f"Every tuned optimizer has {results.budget} trials on each task and is shown at the one "
        f"of the lowest {results.measure.replace('_', ' ')}; all start from the same params and "
        f"see the same batches, with {results.seeds} seeds of each setting. Losses are training "
        f"losses, the final one the mean of the last {100 * FINAL_FRACTION:g} % of the steps, with "
        "the standard error over seeds. Times as fast: the steps (or the time) that the reference "
        "needs to its own final loss over those that the optimizer needs; over tasks the "
        "interquartile mean, with a 95 % bootstrap interval over tasks and seeds. In every table "
        "the fastest in steps stand first. The rules are in docs/comparing.md."
    )
