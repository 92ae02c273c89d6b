"""What an experiment found as files: results.json, report.md and its pictures."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lopt.base.atomic import replacing, write_atomically
from lopt.compare.report import table
from lopt.compare.statistics import Interval
from lopt.predict.experiment import Experiment, Outcome, Summary, summaries
from lopt.predict.figures import CAPTIONS, Summaries, figures
from lopt.predict.metrics import are_binary

WRITTEN = ("report.md", "results.json", "predictors")
"""What an experiment writes to its workdir, with pictures."""


def write(experiment: Experiment, outcomes: Sequence[Outcome], folder: Path) -> str:
    """Write the report to a folder, each file whole or not at all.

    Returns:
      The table of all predictors, in Markdown.

    Raises:
      OSError: if it cannot be written.
    """
    found = summaries(experiment, outcomes)
    pictures = figures(experiment, outcomes, found)
    for name, figure in pictures.items():
        with replacing(folder / f"{name}.png") as partial:
            figure.savefig(partial, dpi=150, format="png")
    write_atomically(folder / "report.md", markdown(experiment, found, list(pictures)))
    contents = json.dumps(plain(experiment, found), indent=1, allow_nan=False)
    write_atomically(folder / "results.json", contents + "\n")
    return "\n".join(main_table(experiment, found))


def markdown(experiment: Experiment, found: Summaries, pictures: Sequence[str]) -> str:
    """The report as a page of Markdown, its pictures as `NAME.png` beside it."""
    lines = ["# Scores predicted from weights", "", *main_table(experiment, found), ""]
    lines += [how(experiment), ""]
    for name in pictures:
        lines += [f"![{CAPTIONS[name]}]({name}.png)", "", CAPTIONS[name], ""]
    if len(experiment.settings.sizes) > 1:
        lines += ["## Tau against the number of training networks", ""]
        lines += [*size_table(experiment, found), ""]
    return "\n".join(lines)


def main_table(experiment: Experiment, found: Summaries) -> list[str]:
    """A row for each predictor at all training networks, the best first."""
    widths = list(experiment.others)
    binary = any(len(own.aucs) for own in found.values())
    header = (
        "predictor",
        "Kendall's tau",
        "95 % over test runs",
        *(("AUC", "accuracy") if binary else ()),
        "R²",
        "tau behind the best",
        *(f"tau at width {w}" for w in widths),
        "best epoch",
        "seconds",
    )
    rows = []
    for name, own in sorted(_largest(found).items(), key=lambda item: -item[1].tau.mean):
        elsewhere = [spread(own.elsewhere[w], 3) for w in widths]
        rows.append(
            (
                name,
                spread(own.taus, 4),
                f"{own.tau.low:.3f} to {own.tau.high:.3f}",
                *((spread(own.aucs, 3), spread(own.accuracies, 3)) if binary else ()),
                spread(own.r_squared, 3),
                between(own.behind),
                *elsewhere,
                f"{own.epochs:.1f}",
                f"{own.seconds:.0f}",
            )
        )
    return table(header, rows)


def size_table(experiment: Experiment, found: Summaries) -> list[str]:
    """A row for each predictor, a column for each number of training networks."""
    counts = sorted({size for _, size in found})
    rows = [
        (name, *(spread(found[name, n].taus, 3) for n in counts))
        for name in experiment.settings.predictors
    ]
    return table(("predictor", *(f"{n:,}" for n in counts)), rows)


def how(experiment: Experiment) -> str:
    """How the numbers came about, in a paragraph."""
    settings, networks, tested = experiment.settings, experiment.networks, experiment.tested
    budget, runs = settings.budget, networks.runs
    rates = ", ".join(f"{r:g}" for r in budget.learning_rates)
    trained, unseen = len(set(runs[~tested].tolist())), len(set(runs[tested].tolist()))
    return (
        f"{len(networks):,} networks.{_of_binary(networks.scores)} Splits are by training run: "
        f"{int(np.sum(~tested)):,} of {trained} runs to train on, "
        f"{100 * budget.validation:.0f} % of these runs for validation, and "
        f"{int(np.sum(tested)):,} of {unseen} runs for the test, which no "
        "training and no choice saw. Every predictor has the same budget at each of "
        f"{settings.seeds} seeds: Adam at {rates}, batches of {budget.batch_size}, at most "
        f"{budget.epochs} epochs, stopped after {budget.patience} without a better tau on "
        "validation, and the parameters "
        "of the best epoch and rate kept. The numbers are means over seeds ± the standard error. "
        "Intervals resample the runs of the test, 95 %; how far a predictor is behind the best is "
        "resampled in pairs. Seconds are those of one training, whatever else the machine did."
    )


def _of_binary(scores: np.ndarray) -> str:
    """What has to be known of tau if scores are binary."""
    if not are_binary(scores):
        return ""
    share = np.mean(scores)
    most = math.sqrt(2 * share * (1 - share))
    return (
        f" All scores are 0 or 1, and those that are alike are ties: a tau of {most:.2f} is the "
        "best that there can be, and AUC and accuracy are easier to read."
    )


def plain(experiment: Experiment, found: Summaries) -> dict[str, Any]:
    """The results as plain data."""
    settings, tested = experiment.settings, experiment.tested
    counts, edges = np.histogram(experiment.networks.scores, 20)
    return {
        "networks": len(experiment.networks),
        "test_networks": int(np.sum(tested)),
        "runs": len(set(experiment.networks.runs.tolist())),
        "test_runs": len(set(experiment.networks.runs[tested].tolist())),
        "scores": {"edges": edges.tolist(), "networks": counts.tolist()},
        "seeds": settings.seeds,
        "budget": {k: getattr(settings.budget, k) for k in settings.budget.__dataclass_fields__},
        "results": [
            {"predictor": name, "training_networks": size, **_plain(own)}
            for (name, size), own in found.items()
        ],
    }


def spread(values: np.ndarray, digits: int) -> str:
    """A mean with its standard error, if there are several values.

    >>> spread(np.array([0.5, 0.7]), 2)
    '0.60 ± 0.10'
    """
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {np.std(values, ddof=1) / math.sqrt(len(values)):.{digits}f}"


def between(interval: Interval) -> str:
    """A difference with its interval; nothing for zero."""
    if interval == (0, 0, 0):
        return ""
    return f"{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _largest(found: Summaries) -> dict[str, Summary]:
    most = max(size for _, size in found)
    return {name: own for (name, size), own in found.items() if size == most}


def _plain(own: Summary) -> dict[str, Any]:
    binary = {"aucs": _listed(own.aucs), "accuracies": _listed(own.accuracies)}
    elsewhere: Mapping[str, Any] = {k: v.tolist() for k, v in own.elsewhere.items()}
    return {
        "taus": own.taus.tolist(),
        "tau": _known(own.tau._asdict()),
        **(binary if len(own.aucs) else {}),
        "r_squared": _listed(own.r_squared),
        "behind_the_best": _known(own.behind._asdict()),
        "taus_at_other_widths": elsewhere,
        "seconds": own.seconds,
        "epochs": own.epochs,
        "learning_rates": own.learning_rates,
    }


def _listed(values: np.ndarray) -> list[float | None]:
    return list(_known(dict(enumerate(values.tolist()))).values())


def _known(values: Mapping[Any, float]) -> dict[Any, float | None]:
    """The values, with None in place of NaN, which JSON does not have."""
    return {k: None if math.isnan(v) else v for k, v in values.items()}
