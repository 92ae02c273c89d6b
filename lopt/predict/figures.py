"""The pictures: the scores, predicted against true ones, tau against the number of networks."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from lopt.base.printed import printable
from lopt.compare.looks import AS_IT_IS, SAFE, Label, label_lines, looks
from lopt.predict.experiment import Experiment, Outcome
from lopt.predict.summary import Summaries

_PANEL = (2.4, 2.5)  # inches of a predictor's scatter

CAPTIONS = {
    "scores": "How many networks have which score, those to train on and those of the test.",
    "scatter": "Predicted against true scores of the test, at all training networks; the mean of "
    "the seeds.",
    "sizes": "Kendall's tau on the test against the number of training networks, validation "
    "included; the mean of the seeds, and each of them.",
}
"""A sentence below each picture."""


def figures(
    experiment: Experiment, outcomes: Sequence[Outcome], found: Summaries
) -> dict[str, Figure]:
    """All pictures by name."""
    pictures = {"scores": scores(experiment), "scatter": scatter(experiment, outcomes)}
    if len(experiment.settings.sizes) > 1:
        pictures["sizes"] = sizes(experiment, found)
    return pictures


def scores(experiment: Experiment) -> Figure:
    """A histogram of the networks' scores."""
    figure = Figure(figsize=(5.4, 3.0), layout="constrained")
    axes = figure.subplots()
    values, tested = experiment.networks.scores, experiment.tested
    edges = np.linspace(values.min(), values.max(), 21)
    if experiment.settings.loss == "cross_entropy":
        edges = np.linspace(0, 1, 21)
    axes.hist(
        [values[~tested], values[tested]],
        edges.tolist(),
        stacked=True,
        color=[SAFE[9], SAFE[1]],
        label=["to train on", "test"],
    )
    axes.set(xlabel="score", ylabel="networks")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def scatter(experiment: Experiment, outcomes: Sequence[Outcome]) -> Figure:
    """Predicted against true scores, a panel for each predictor."""
    names = list(experiment.settings.predictors)
    true = experiment.networks.scores[experiment.tested]
    largest = max(o.job.size for o in outcomes)
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(columns * _PANEL[0], rows * _PANEL[1]), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for (name, look), axes in zip(looks(names, names[0]).items(), grid.flat, strict=False):
        seeds = [o.predictions for o in outcomes if (o.job.name, o.job.size) == (name, largest)]
        axes.plot(true, np.mean(seeds, 0), ".", color=look.color, markersize=3, alpha=0.5)
        ends = [true.min(), true.max()]
        axes.plot(ends, ends, color="#BBBBBB", linewidth=0.8, zorder=0)
        axes.set_title(printable(name), fontsize=9, **AS_IT_IS)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("true score", fontsize=9)
    figure.supylabel("predicted score", fontsize=9)
    return figure


def sizes(experiment: Experiment, found: Summaries) -> Figure:
    """Tau against the number of training networks."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    names, counts = list(experiment.settings.predictors), sorted({size for _, size in found})
    labels = []
    for name, look in looks(names, names[0]).items():
        taus = [found[name, size].taus for size in counts]
        means = np.mean(taus, 1)
        axes.plot(counts, means, color=look.color, linestyle=look.line, linewidth=1.4)
        axes.plot(counts, taus, ".", color=look.color, markersize=4)
        labels.append(Label(counts[-1], means[-1], name, look.color))
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{n:,}" for n in counts])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.2f}"))
    axes.set(xlabel="training networks", ylabel="Kendall's tau on the test")
    axes.spines[["top", "right"]].set_visible(False)
    label_lines(axes, labels)
    return figure
