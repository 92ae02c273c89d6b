"""The sentences of a report: verdicts, and how its numbers and pictures came about."""

import math

from lopt.compare.curves import FINAL_FRACTION
from lopt.compare.results import Results
from lopt.compare.tables import number

CAPTIONS = {
    "curves": "Training loss, smoothed, at each optimizer's best setting, with the range over "
    "seeds.",
    "rates": "Final loss against the learning rate, in multiples of each optimizer's best.",
    "speedups": "Times as fast as the reference, with 95 % intervals.",
    "profile": "The fraction of tasks on which an optimizer needs at most so many times the steps "
    "of the fastest.",
}
"""The caption of each picture."""


def title(results: Results) -> str:
    """The heading of the report."""
    if len(results.tasks) > 2:
        return f"{len(results.optimizers)} optimizers on {len(results.tasks)} tasks"
    return f"{len(results.optimizers)} optimizers on {' and '.join(results.tasks)}"


def verdicts(results: Results) -> list[str]:
    """A sentence for each learned or user-defined optimizer: how it stands by the reference."""
    return [
        _verdict(results, name)
        for name in results.optimizers
        if results.kinds[name] not in ("baseline", "control") and name != results.reference
    ]


def how(results: Results) -> str:
    """A paragraph on how the numbers came about."""
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


def _verdict(results: Results, name: str) -> str:
    place, tasks = results.standings[name], len(results.tasks)
    words = f"{name} is {number(place.speedup.mean)} times as fast as {results.reference} in steps"
    if not math.isnan(place.speedup.low):
        over = "interquartile mean" if tasks > 1 else "mean"
        low, high = number(place.speedup.low), number(place.speedup.high)
        words += f" ({over} of {tasks * results.seeds} runs, 95 % interval {low} to {high})"
    if not math.isnan(place.in_time.mean):
        words += f", {number(place.in_time.mean)} in time"
    if tasks > 1:
        words += f"; faster on {place.wins} of {tasks} tasks, level on {place.ties}, slower on "
        words += str(place.losses)
    if place.failed:
        words += f"; it failed on {place.failed}"
    if baseline := results.fastest_baseline:
        speed = number(results.standings[baseline].speedup.mean)
        words += f"; the fastest baseline is {baseline}, {speed} times as fast in steps"
    return f"{words}."
