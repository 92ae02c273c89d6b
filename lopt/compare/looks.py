"""The looks of optimizers in pictures: colours, lines, names in place of a legend."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from lopt.base.printed import printable

REFERENCE = "#000000"

SAFE = (
    *("#CC6677", "#332288", "#117733", "#882255", "#44AA99", "#AA4499"),
    *("#999933", "#661100", "#6699CC", "#88CCEE", "#888888", "#DDCC77"),
)
"""Twelve colours that the colour-blind tell apart, CARTO's "safe" palette, the pale ones last."""

_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))

AS_IT_IS: Mapping[str, Any] = {"parse_math": False, "usetex": False}
"""Properties of a matplotlib text with a name in it: dollars and backslashes stay what they are."""

_READABLE = 0.51  # the brightest that a text on white may be: about four to one in contrast
_SIZE = 7.0  # points of a label
_LEADING = 1.22  # the distance of two labels, in sizes
_HEIGHT = 0.72  # the part of its row in a figure that a panel is high, without title and labels


class Look(NamedTuple):
    """A colour in hexadecimal, and matplotlib's style of a line."""

    color: str
    line: str | tuple[int, tuple[float, ...]]


class Label(NamedTuple):
    """A name at the end of a line, in data coordinates; one whose y is not finite is left out."""

    x: float
    y: float
    text: str
    color: str


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


def ink(color: str) -> str:
    """A colour as text is written in it: light ones darker, so that they can be read on white.

    >>> ink("#332288"), ink("#88CCEE")
    ('#332288', '#5e8ea5')
    """
    red, green, blue = to_rgb(color)
    light = 0.3 * red + 0.59 * green + 0.11 * blue  # as bright as the eye sees each
    dark = min(1.0, _READABLE / light) if light else 1.0
    return to_hex((dark * red, dark * green, dark * blue))


def label_lines(axes: Axes, labels: Sequence[Label]) -> None:
    """Write labels at the right of a panel, apart from each other, each tied to its line's end.

    The axes must have their final scales; their limits stay.
    """
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    axes.set(xlim=(left, right), ylim=(low, high))
    shown = sorted((label for label in labels if np.isfinite(label.y)), key=lambda label: label.y)
    if not shown:
        return
    ends = [(label.x, np.clip(label.y, low, high)) for label in shown]
    to_fraction = axes.transScale + axes.transLimits
    wanted = to_fraction.transform(ends)[:, 1]
    grid, figure = axes.get_gridspec(), cast(Figure, axes.figure)
    panel = _HEIGHT * figure.get_figheight() / (grid.nrows if grid else 1)
    for label, end, place in zip(
        shown, wanted, spread(wanted, _SIZE * _LEADING / 72 / panel), strict=True
    ):
        style: dict[str, Any] = {"color": label.color, "linewidth": 0.6}
        if label.x < right:
            axes.plot([label.x, right], [label.y] * 2, ":", alpha=0.6, **style)
        tie = [end, place]
        axes.plot([1, 1.03], tie, alpha=0.7, clip_on=False, transform=axes.transAxes, **style)
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

    All of them are between 0 and 1 if they fit.

    >>> spread(np.array([0.0, 0.5, 0.5]), 0.1), spread(np.array([0.0, 0.0]), 0.1)
    (array([0.  , 0.45, 0.55]), array([0. , 0.1]))
    """
    from scipy.optimize import isotonic_regression  # when it is used: commands start sooner

    # What is left of places a gap apart once the gaps are taken away is in ascending order.
    gaps = gap * np.arange(len(wanted))
    return np.clip(isotonic_regression(wanted - gaps).x, 0.0, max(0.0, 1.0 - gaps[-1])) + gaps
