"""What each tensor of a model is as a matrix: its sides, and its kind."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Array

from lopt.symmetry import Axes, PermutationSpec
from lopt.symmetry.axes import groups_of
from lopt.symmetry.roles import axis_roles, by_side

KINDS = ("vector", "table", "hidden", "input", "output", "through")
"""What a tensor can be: a vector or scalar, a table of which single rows are read, or a matrix
between true groups, from a fixed group, to one, or from one to another."""


class Matrix(NamedTuple):
    """A tensor as the matrix from all that it reads, space included, to all that it writes.

    Attributes:
      shape: of the tensor with its axes in `order`.
      order: its axes, those of the input side first.
      inputs: how many axes are on the input side; 0 for tensors that have none: vectors, scalars.
      spatial: at how many places it reads.
      kind: one of `KINDS`.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    inputs: int
    spatial: int
    kind: str

    @property
    def fan_in(self) -> int:
        """How many numbers each output sums up: those of the input side, one if it is a table's."""
        return 1 if self.kind == "table" else max(1, math.prod(self.shape[: self.inputs]))

    def arranged(self, x: Array) -> Array:
        """A tensor of this layout with its axes in order."""
        return x if self.order == tuple(range(x.ndim)) else x.transpose(self.order)

    def restored(self, x: Array) -> Array:
        """The inverse of `arranged`."""
        return x if self.order == tuple(range(x.ndim)) else x.transpose(np.argsort(self.order))


def matrices(spec: PermutationSpec) -> list[Matrix]:
    """Each tensor as a matrix, in the order of `spec.entries`.

    >>> axes = {"kernel": Axes("input", "h"), "weight": Axes("k", "h", roles=("output", "input"))}
    >>> spec = PermutationSpec(axes, {"input": 3, "h": 4, "k": 5}, fixed=["input"])
    >>> for found in matrices(spec):
    ...     print(found.shape, found.inputs, found.kind, found.fan_in)
    (3, 4) 1 input 3
    (4, 5) 1 hidden 4
    """
    found = []
    for roles, (_, axes) in zip(axis_roles(spec), spec.entries, strict=True):
        order, shape = by_side(roles), spec.shape(axes)
        inputs = len(roles) - roles.count("output") if "output" in roles else 0
        spatial = math.prod(n for n, r in zip(shape, roles, strict=True) if r == "spatial")
        kind = _kind(axes, roles, spec) if inputs else "vector"
        found.append(Matrix(tuple(shape[i] for i in order), order, inputs, spatial, kind))
    return found


def _kind(axes: Axes, roles: tuple[str, ...], spec: PermutationSpec) -> str:
    if _is_table(axes, roles, spec):
        return "table"

    def fixed(role: str) -> bool:
        named = zip(axes, roles, strict=True)
        return {name for axis, r in named if r == role for name in groups_of(axis)} <= spec.fixed

    return {
        (False, False): "hidden",
        (True, False): "input",
        (False, True): "output",
        (True, True): "through",
    }[fixed("input"), fixed("output")]


def _is_table(axes: Axes, roles: tuple[str, ...], spec: PermutationSpec) -> bool:
    """Whether single rows are read: those of an embedding, or of one position each.

    Its input side is one axis, beside others of size one, of a group that is fixed as entries or
    places of something are ("Embed_0.entries"), and not as a model's inputs.
    """
    side = [
        axis
        for axis, size, role in zip(axes, spec.shape(axes), roles, strict=True)
        if role != "output" and size > 1
    ]
    return len(side) == 1 and all(
        name in spec.fixed and "." in name and not name.startswith("input.")
        for name in groups_of(side[0])
    )
