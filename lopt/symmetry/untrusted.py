"""Specs in files that anybody may have written: read within limits."""

import json
from typing import Any

from lopt.symmetry.axes import size_of
from lopt.symmetry.spec import PermutationSpec, SpecError

# The most that a spec in a file may have.
_TENSORS = 4096
_AXES = 32  # of a tensor, and groups and parentheses in one axis
_DEEPEST = 64  # params within each other
_UNITS = 10**7  # on all axes of all tensors together: layers have an index for each


def spec_from_file(text: Any) -> PermutationSpec:
    """Read what `PermutationSpec.to_json` wrote; raises `SpecError` if malformed or beyond limits.

    >>> from lopt.symmetry import Axes
    >>> spec = PermutationSpec({"w": Axes("a", "b*c")}, {"a": 3, "b": 2, "c": 2})
    >>> spec_from_file(spec.to_json()) == spec
    True
    >>> spec_from_file(spec.to_json().replace("3", "300000000"))
    Traceback (most recent call last):
        ...
    lopt.symmetry.spec.SpecError: ... may have up to 10,000,000 units in a group, not 300,000,000
    """
    try:
        data = json.loads(text)
        tensors = data["tensors"]
        _require_most("tensors", len(tensors), _TENSORS)
        for path, axes, *_ in tensors:
            _require_most("levels of params", len(path), _DEEPEST)
            _require_most("axes of a tensor", len(axes), _AXES)
            for axis in axes:
                _require_most("groups in an axis", 1 + sum(map(axis.count, "*+(")), _AXES)
        for size in data["sizes"].values():
            _require_most("units in a group", size, _UNITS)
        spec = PermutationSpec.from_json(text)
        units = (size_of(axis, spec.sizes) for _, axes in spec.entries for axis in axes)
        _require_most("units on all axes", sum(units), _UNITS)
        return spec
    except SpecError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise SpecError(f"its spec is malformed ({type(error).__name__}: {error})") from error


def _require_most(what: str, count: int, most: int) -> None:
    if count > most:
        found = f"not {count:,}" if count < 10**12 else "not more"
        raise SpecError(f"the spec in a file may have up to {most:,} {what}, {found}")
