"""The picture of a run's meta-loss."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def meta_loss_figure(
    history: Mapping[int, float], validations: Mapping[int, float] | None = None
) -> "Figure":
    """A picture of the meta-loss by meta-step, with its running mean and validations as points.

    The axis of losses is logarithmic where all are positive: those of `LogLoss` need not be.
    """
    # imported when a run ends: its first line should not wait for it
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    if history:
        steps, losses = (np.array(list(values)) for values in (history.keys(), history.values()))
        width = max(1, len(losses) // 25)
        mean = np.convolve(losses, np.ones(width) / width, mode="valid")
        axes.plot(steps, losses, color="C0", alpha=0.25, linewidth=0.8, label="one meta-step")
        axes.plot(steps[width - 1 :], mean, color="C0", label=f"mean of {width}")
    if validations:
        points = list(validations), list(validations.values())
        axes.plot(*points, "o", color="C1", markersize=4, label="validation, held-out task")
    positive = all(loss > 0 for loss in (*history.values(), *(validations or {}).values()))
    axes.set(xlabel="meta-step", ylabel="meta-loss", yscale="log" if positive else "linear")
    if axes.lines:
        axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
