"""Names at the lines of a picture, in place of a legend."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from lopt.base.printed import printable
from lopt.compare.palette import ink

AS_IT_IS: Mapping[str, Any] = {"parse_math": False, "usetex": False}
"""Properties of a matplotlib text with a name in it: dollars and backslashes stay what they are."""

_SIZE = 7.0
"""Points of a label."""

_LEADING = 1.22
"""The distance of two labels, in sizes."""


class Label(NamedTuple):
    """A name at the end of a line.

    Attributes:
      x: where the line ends, in data coordinates.
      y: likewise; a label of a line that has no end is left out.
      text: the name.
      color: that of the line.
    """

    x: float
    y: float
    text: str
    color: str


def label_lines(axes: Axes, labels: Sequence[Label]) -> None:
    """Write labels at the right of a panel, apart from each other, each tied to its line's end.

    The axes must have their final scales; their limits are held.

    Args:
      axes: of the panel.
      labels: one for each line.
    """
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())
    low, high = axes.get_ylim()
    shown = [label for label in labels if np.isfinite(label.y)]
    shown.sort(key=lambda label: label.y)
    if not shown:
        return
    to_fraction = axes.transScale.transform
    bottom, top = (to_fraction((axes.get_xlim()[1], y))[1] for y in (low, high))
    ends = [to_fraction((label.x, np.clip(label.y, low, high)))[1] for label in shown]
    wanted = (np.array(ends) - bottom) / (top - bottom)
    figure: Any = axes.figure
    inches = figure.get_figheight() / max(1, axes.get_gridspec().nrows) * 0.72
    places = spread(wanted, _SIZE * _LEADING / 72 / inches)
    for label, end, place in zip(shown, wanted, places, strict=True):
        if label.x < axes.get_xlim()[1]:
            ends_at = [label.x, axes.get_xlim()[1]]
            axes.plot(ends_at, [label.y] * 2, ":", color=label.color, linewidth=0.6, alpha=0.6)
        line: dict[str, Any] = {"linewidth": 0.6, "alpha": 0.7, "clip_on": False}
        axes.plot([1.0, 1.03], [end, place], color=label.color, transform=axes.transAxes, **line)
        axes.text(
            1.04,
            place,
            printable(label.text),
            transform=axes.transAxes,
            color=ink(label.color),
            fontsize=_SIZE,
            verticalalignment="center",
            **AS_IT_IS,
        )


def spread(wanted: Float[np.ndarray, " labels"], gap: float) -> Float[np.ndarray, " labels"]:
    """Places in ascending order that are a gap apart and as near to those wanted as can be.

    Labels that would overlap are put around their common mean (isotonic regression by pooling),
    and all of them between 0 and 1 if they fit.

    >>> spread(np.array([0.0, 0.5, 0.5]), 0.1), spread(np.array([0.0, 0.0]), 0.1)
    (array([0.  , 0.45, 0.55]), array([0. , 0.1]))
    """
    steps = gap * np.arange(len(wanted))
    pools: list[list[float]] = []
    for value in wanted - steps:
        pools.append([value])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    means = np.concatenate([[np.mean(pool)] * len(pool) for pool in pools])
    return np.clip(means, 0.0, max(0.0, 1.0 - steps[-1])) + steps
