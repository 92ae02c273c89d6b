"""The results of an experiment as files: results.json, report.md and its pictures."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lopt.base.atomic import write_atomically
from lopt.compare.report import save_pictures, table
from lopt.compare.statistics import Interval, standard_error
from lopt.predict.experiment import Experiment, Outcome
from lopt.predict.figures import CAPTIONS, figures
from lopt.predict.metrics import are_binary
from lopt.predict.summary import Summaries, Summary, summaries

WRITTEN = ("report.md", "results.json", "predictors")
"""The files and folders that an experiment writes to its workdir, beside pictures."""


def write(experiment: Experiment, outcomes: Sequence[Outcome], folder: Path) -> str:
    """Write the report, each file whole or not at all; returns its main table, in Markdown."""
    found = summaries(experiment, outcomes)
    pictures = figures(experiment, outcomes, found)
    save_pictures(pictures, folder)
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
    binary = are_binary(experiment.networks.scores)
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

    def row(name: str, summary: Summary) -> tuple[str, ...]:
        shown = (summary.aucs, summary.accuracies) if binary else ()
        elsewhere = [summary.taus_at_other_widths[width] for width in widths]
        behind = summary.behind_the_best
        return (
            name,
            _spread(summary.taus, 4),
            f"{summary.tau.low:.3f} to {summary.tau.high:.3f}",
            *(_spread(values, 3) for values in shown),
            _spread(summary.r_squared, 3),
            f"{behind.mean:.3f} ({behind.low:.3f} to {behind.high:.3f})" if any(behind) else "",
            *(_spread(taus, 3) for taus in elsewhere),
            f"{summary.epochs:.1f}",
            f"{summary.seconds:.0f}",
        )

    largest = max(size for _, size in found)
    shown = {name: summary for (name, size), summary in found.items() if size == largest}
    best_first = sorted(shown.items(), key=lambda item: -item[1].tau.mean)
    return table(header, [row(name, summary) for name, summary in best_first])


def size_table(experiment: Experiment, found: Summaries) -> list[str]:
    """A row for each predictor, a column for each number of training networks."""
    counts = sorted({size for _, size in found})
    rows = [
        (name, *(_spread(found[name, n].taus, 3) for n in counts))
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
        f"{experiment.most:,} of {trained} runs to train on, {100 * budget.validation:.0f} % of "
        f"these runs for validation, and {int(np.sum(tested)):,} of {unseen} runs for the test, "
        "which no training and no choice saw. Every predictor has the same budget at each of "
        f"{settings.seeds} seeds: Adam at {rates}, batches of {budget.batch_size}, at most "
        f"{budget.epochs} epochs, stopped after {budget.patience} without a better tau on "
        "validation, and the parameters of the best epoch and rate taken. The numbers are means "
        "over seeds ± the standard error. Intervals resample the runs of the test, 95 %; how far a "
        "predictor is behind the best is resampled in pairs. Seconds are those of one training, "
        "whatever else the machine did."
    )


def _of_binary(scores: np.ndarray) -> str:
    """The highest tau that there can be, if scores are binary."""
    if not are_binary(scores):
        return ""
    ones = np.mean(scores)
    # tau-b of a perfect order without ties among the predictions
    most = math.sqrt(2 * ones * (1 - ones))
    return (
        f" All scores are 0 or 1, and those that are alike are ties: a tau of {most:.2f} is the "
        "best that there can be, and AUC and accuracy are easier to read."
    )


def plain(experiment: Experiment, found: Summaries) -> dict[str, Any]:
    """The results as plain data."""
    settings, tested, networks = experiment.settings, experiment.tested, experiment.networks
    counts, edges = np.histogram(networks.scores, 20)
    return {
        "networks": len(networks),
        "test_networks": int(np.sum(tested)),
        "runs": len(set(networks.runs.tolist())),
        "test_runs": len(set(networks.runs[tested].tolist())),
        "scores": {"edges": edges.tolist(), "networks": counts.tolist()},
        "seeds": settings.seeds,
        "budget": asdict(settings.budget),
        "results": [
            {"predictor": name, "training_networks": size, **_plain(_known(summary))}
            for (name, size), summary in found.items()
        ],
    }


def _known(summary: Summary) -> dict[str, Any]:
    """The fields of a summary, without those that scores other than binary do not have."""
    fields = vars(summary)
    return {k: v for k, v in fields.items() if k not in ("aucs", "accuracies") or len(v)}


def _plain(value: Any) -> Any:
    """Plain data for JSON, which has no NaN: null takes its place."""
    if isinstance(value, Interval):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | tuple):
        return [_plain(v) for v in np.asarray(value).tolist()]
    return None if math.isnan(value) else value


def _spread(values: np.ndarray, digits: int) -> str:
    """A mean with its standard error, if there are several values."""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {standard_error(values):.{digits}f}"
