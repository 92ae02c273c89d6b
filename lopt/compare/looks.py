"""How an optimizer looks in pictures: its colour, its line, its name in place of a legend."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from lopt.base.printed import printable

REFERENCE = "#000000"

SAFE = (
    "#CC6677",
    "#332288",
    "#117733",
    "#882255",
    "#44AA99",
    "#AA4499",
    "#999933",
    "#661100",
    "#6699CC",
    "#88CCEE",
    "#888888",
    "#DDCC77",
)
"""Twelve colours that the colour-blind tell apart, CARTO's "safe" palette, the pale ones last."""

_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))


class Look(NamedTuple):
    """Of an optimizer.

    Attributes:
      color: in hexadecimal.
      line: a line style of matplotlib.
    """

    color: str
    line: str | tuple[int, tuple[float, ...]]


def ink(color: str) -> str:
    """A colour as text is written in it: light ones darker, so that they can be read on white.

    >>> ink("#332288"), ink("#88CCEE")
    ('#332288', '#5E8DA5')
    """
    channels = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    light = 0.3 * channels[0] + 0.59 * channels[1] + 0.11 * channels[2]
    dark = min(1.0, 130 / light) if light else 1.0
    return "#" + "".join(f"{int(dark * c):02X}" for c in channels)


def looks(optimizers: Sequence[str], reference: str) -> dict[str, Look]:
    """The look of each: the reference black, the others in turn; dashed once colours are used up.

    >>> looks(["adamw", "muon"], "adamw")["adamw"]
    Look(color='#000000', line='-')
    """
    others = [name for name in optimizers if name != reference]
    found = {reference: Look(REFERENCE, _DASHES[0])}
    for i, name in enumerate(others):
        found[name] = Look(SAFE[i % len(SAFE)], _DASHES[i // len(SAFE) % len(_DASHES)])
    return found


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
