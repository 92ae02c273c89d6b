"""How an optimizer looks in every picture: a colour and a line that anybody can tell apart."""

from collections.abc import Sequence
from typing import NamedTuple

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
