"""Bounds for parts that a file names, which anybody may have written."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from typing import Any

from ml_collections import ConfigDict

from lopt.base.checks import shown
from lopt.base.errors import UserError
from lopt.base.parts import Part, parse
from lopt.base.user_defined import is_user_defined

_LARGEST = 10**8  # the largest number of units, of examples or of steps: beyond any that is used

_LONGEST = 64
"""The longest sequence, and the largest number of what is traced once each: seconds of tracing."""

_TRACED = ("depth", "iterations")

_WIDE = ("widths", "width", "channels", "hidden")
"""Numbers of channels: theta has a coefficient at least for each pair of two that follow."""

_DEEPEST = 16  # how deep parts and sequences nest


def require_modest(part: Part, coefficients: int | None = None) -> None:
    """Refuse a part that would take long to make, or to trace.

    These are numbers above 10^8, a sequence or a depth above 64, parts and sequences more than 16
    deep within each other, or more channels than a theta of so many coefficients can be of.

    >>> require_modest("transformer(depth=1000)")
    Traceback (most recent call last):
        ...
    lopt.base.errors.UserError: what a file names may have depth up to 64
    """
    _require_modest("parts", part, 0)
    if coefficients is not None and isinstance(part, str | Mapping | ConfigDict):
        _require_as_wide(parse(part) if isinstance(part, str) else part, coefficients)


def _require_modest(name: str, value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise UserError(f"what a file names may nest its parts {_DEEPEST} deep")
    if isinstance(value, str):
        with suppress(UserError):
            value = parse(value)
    if isinstance(value, Mapping | ConfigDict):
        for key, inner in value.items():
            if key != "name":
                _require_modest(str(key), inner, depth + 1)
    elif isinstance(value, list | tuple):
        if len(value) > _LONGEST:
            raise UserError(f"what a file names may have up to {_LONGEST} {name}")
        for inner in value:
            _require_modest(name, inner, depth + 1)
    elif isinstance(value, int | float):
        most = _LONGEST if name in _TRACED else _LARGEST
        if not abs(value) <= most:  # NaN is not
            raise UserError(f"what a file names may have {name} up to {most:,}")


def _require_as_wide(part: Mapping[str, Any], coefficients: int) -> None:
    """Refuse widths whose theta would be larger, unless the part is user-defined."""
    if is_user_defined(str(part.get("name"))):
        return
    for name in (name for name in _WIDE if name in part):
        widths = part[name] if isinstance(part[name], list | tuple) else [part[name]]
        widths = [n for n in widths if isinstance(n, int)]
        again = widths[:1] if part.get("depth", 1) != 1 else []
        if any(a * b > coefficients for a, b in pairwise([1, *widths, *again])):
            raise UserError(
                f"a theta of {coefficients:,} coefficients has no {name} {shown(part[name])}"
            )
