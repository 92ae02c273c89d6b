"""What each tensor of a model is as a matrix: its sides, its kind, and how many it is."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from lopt.symmetry import Axes, PermutationSpec
from lopt.symmetry.axes import groups_of
from lopt.symmetry.roles import axis_roles, by_side

KINDS = ("vector", "table", "hidden", "input", "output", "through")
"""What a tensor can be: a vector or scalar, a table of which single rows are read, or a matrix
between true groups, from a fixed group, to one, or from one to another."""


class Matrix(NamedTuple):
    """A tensor as the matrix from all that it reads, space included, to all that it writes.

    A stack is many such matrices, or vectors: the other attributes are those of one of them.

    Attributes:
      shape: with its axes in `order`.
      order: its axes, those of the input side first.
      inputs: how many axes are on the input side; 0 for tensors that have none: vectors, scalars.
      spatial: at how many places it reads.
      kind: one of `KINDS`.
      stack: the axes of the whole tensor along which it is a stack.
      copies: how many matrices or vectors the tensor is.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    inputs: int
    spatial: int
    kind: str
    stack: tuple[int, ...] = ()
    copies: int = 1

    @property
    def fan_in(self) -> int:
        """How many numbers each output sums up: those of the input side, one if it is a table's."""
        return 1 if self.kind == "table" else max(1, math.prod(self.shape[: self.inputs]))

    def arranged(self, x: Array) -> Array:
        """One matrix with its axes in `order`."""
        return x if self.order == tuple(range(x.ndim)) else x.transpose(self.order)

    def restored(self, x: Array) -> Array:
        """The inverse of `arranged`."""
        return x if self.order == tuple(range(x.ndim)) else x.transpose(np.argsort(self.order))


def separated(layout: Sequence[Matrix], tree: PyTree[Array], like: PyTree[Array]) -> PyTree[Array]:
    """Arrays of the params' layout, those of stacks with one leading axis, over all matrices.

    Args:
      layout: of each param.
      tree: with the structure of `like`; None stays.
      like: the params.
    """

    def one(matrix: Matrix, x: Array, p: Array) -> Array:
        first = jnp.moveaxis(x, matrix.stack, range(len(matrix.stack)))
        return first.reshape(matrix.copies, *first.shape[len(matrix.stack) :])

    return _of_stacks(one, layout, tree, like)


def joined(layout: Sequence[Matrix], tree: PyTree[Array], like: PyTree[Array]) -> PyTree[Array]:
    """The inverse of `separated`."""

    def one(matrix: Matrix, x: Array, p: Array) -> Array:
        sizes = [p.shape[i] for i in matrix.stack]
        return jnp.moveaxis(x.reshape(*sizes, *x.shape[1:]), range(len(sizes)), matrix.stack)

    return _of_stacks(one, layout, tree, like)


def _of_stacks(
    function: Callable[[Matrix, Array, Array], Array],
    layout: Sequence[Matrix],
    tree: PyTree[Array],
    like: PyTree[Array],
) -> PyTree[Array]:
    found = iter(layout)

    def one(p: Array, x: Array | None) -> Array | None:
        matrix = next(found)
        return x if x is None or not matrix.stack else function(matrix, x, p)

    return jax.tree.map(one, like, tree)


def matrices(spec: PermutationSpec) -> list[Matrix]:
    """Each tensor as a matrix, in the order of `spec.entries`.

    >>> axes = {"kernel": Axes("input", "h"), "weight": Axes("k", "h", roles=("output", "input"))}
    >>> spec = PermutationSpec(axes, {"input": 3, "h": 4, "k": 5}, fixed=["input"])
    >>> for found in matrices(spec):
    ...     print(found.shape, found.inputs, found.kind, found.fan_in)
    (3, 4) 1 input 3
    (4, 5) 1 hidden 4
    """
    return [
        _matrix(tuple(axes), roles, spec)
        for roles, (_, axes) in zip(axis_roles(spec), spec.entries, strict=True)
    ]


def _matrix(axes: tuple, roles: tuple[str, ...], spec: PermutationSpec) -> Matrix:
    shape = spec.shape(Axes(*axes))
    stack = tuple(i for i, role in enumerate(roles) if role == "stack")
    rest = [i for i in range(len(roles)) if i not in stack]
    of_one = tuple(roles[i] for i in rest)
    sizes = [shape[i] for i in rest]
    order = by_side(of_one)
    inputs = 0 if set(of_one) <= {"vector"} else len(of_one) - of_one.count("output")
    return Matrix(
        shape=tuple(sizes[i] for i in order),
        order=order,
        inputs=inputs,
        spatial=math.prod(n for n, r in zip(sizes, of_one, strict=True) if r == "spatial"),
        kind=_kind([axes[i] for i in rest], of_one, spec) if inputs else "vector",
        stack=stack,
        copies=math.prod(shape[i] for i in stack),
    )


def _kind(axes: list, roles: tuple[str, ...], spec: PermutationSpec) -> str:
    if "entry" in roles:
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


def apart(spec: PermutationSpec, layout: list[Matrix]) -> PermutationSpec:
    """The spec of a list of all matrices and vectors, those of stacks one by one.

    Args:
      spec: of the tensors.
      layout: the tensors as matrices.
    """
    leaves = []
    for (_, axes), roles, matrix in zip(spec.entries, axis_roles(spec), layout, strict=True):
        rest = [i for i in range(len(axes)) if i not in matrix.stack]
        one = Axes(*(axes[i] for i in rest), roles=[roles[i] for i in rest])
        leaves += [one if matrix.stack else axes] * matrix.copies
    used = {name for axes in leaves for axis in axes for name in groups_of(axis)}
    sizes = {name: size for name, size in spec.sizes.items() if name in used}
    return PermutationSpec(leaves, sizes, spec.fixed & used)
