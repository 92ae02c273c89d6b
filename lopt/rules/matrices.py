"""The layout of a model: each tensor as a matrix with two sides, its kind, and its bias."""

import math
from itertools import chain
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from lopt.symmetry import Axes, PermutationSpec
from lopt.symmetry.axes import groups_of
from lopt.symmetry.roles import axis_roles, bias_of_each, by_side

KINDS = ("vector", "table", "hidden", "input", "output", "through")
"""The kinds of tensors: a vector or scalar, a table of which single rows are read, or a matrix
between true groups, from a fixed group, to one, or from one to another."""

_GUESS = "output"
"""The kind of all matrices without a spec, which theta was not meta-trained for. "base" begins most
carefully on this kind; with "hidden" in its place the loss of an autoencoder hardly falls."""


class Matrix(NamedTuple):
    """A tensor as the matrix from all that it reads, space included, to all that it writes.

    A stack holds many matrices or vectors of one shape. Attributes but the last three describe one
    of them.

    Attributes:
      shape: the sizes of its axes, in `order`.
      order: its axes, those of the input side first.
      inputs: how many axes are on the input side; 0 for vectors and scalars.
      spatial: at how many places it reads.
      kind: one of `KINDS`.
      stack: the axes of the whole tensor along which it is a stack.
      copies: how many matrices or vectors the tensor holds.
      bias: the place of its bias in the layout, None without one.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    inputs: int
    spatial: int
    kind: str
    stack: tuple[int, ...] = ()
    copies: int = 1
    bias: int | None = None

    @property
    def sides(self) -> tuple[int, int]:
        """The sizes of the input side and of the output side."""
        return math.prod(self.shape[: self.inputs]), math.prod(self.shape[self.inputs :])

    @property
    def fan_in(self) -> int:
        """How many numbers each output sums up; one for a table, of which one row is read."""
        return 1 if self.kind == "table" else max(1, self.sides[0] if self.inputs else 1)

    @property
    def alone(self) -> "Matrix":
        """Without the place of its bias: equal for tensors that one program can serve."""
        return self._replace(bias=None)

    def arranged(self, x: Array) -> Array:
        """One tensor as a matrix of shape `sides`; vectors stay as they are."""
        return x.transpose(self.order).reshape(self.sides) if self.inputs else x

    def restored(self, x: Array) -> Array:
        """The inverse of `arranged`."""
        return x.reshape(self.shape).transpose(np.argsort(self.order)) if self.inputs else x

    def separated(self, x: Array) -> Array:
        """A stack with one leading axis over its copies; other tensors stay as they are."""
        if not self.stack:
            return x
        first = jnp.moveaxis(x, self.stack, range(len(self.stack)))
        return first.reshape(self.copies, *first.shape[len(self.stack) :])

    def joined(self, x: Array, like: Array) -> Array:
        """The inverse of `separated`, for a tensor of the shape of another one."""
        if not self.stack:
            return x
        sizes = [like.shape[i] for i in self.stack]
        return jnp.moveaxis(x.reshape(*sizes, *x.shape[1:]), range(len(sizes)), self.stack)

    def copied(self, state: PyTree[Array]) -> PyTree[Array]:
        """The state of one matrix, repeated for each of a stack along a leading axis."""
        if not self.stack:
            return state
        return jax.tree.map(lambda x: jnp.tile(x, (self.copies, *[1] * x.ndim)), state)


def matrices(spec: PermutationSpec) -> list[Matrix]:
    """The layout that a spec describes, in the order of `spec.entries`.

    >>> axes = {"kernel": Axes("input", "h"), "weight": Axes("k", "h", roles=("output", "input"))}
    >>> spec = PermutationSpec(axes, {"input": 3, "h": 4, "k": 5}, fixed=["input"])
    >>> for found in matrices(spec):
    ...     print(found.shape, found.inputs, found.kind, found.fan_in)
    (3, 4) 1 input 3
    (4, 5) 1 hidden 4
    """
    roles = axis_roles(spec)
    layout = [_matrix(axes, r, spec) for r, (_, axes) in zip(roles, spec.entries, strict=True)]
    place = {path: i for i, (path, _) in enumerate(spec.entries)}
    told = bias_of_each(spec)
    biases = [place[told[path]] if path in told else None for path, _ in spec.entries]
    return _with_biases(layout, biases)


def guessed(params: PyTree[Array]) -> list[Matrix]:
    """The layout without a spec: the last axis is the output side, and all matrices are of a kind.

    A bias is the only vector in the same module that is as long as the output side.
    """
    spec = unrelated(params)
    layout = [m._replace(kind=_GUESS) if m.inputs else m for m in matrices(spec)]
    modules = [path[:-1] for path, _ in spec.entries]
    vectors: dict[tuple, list[int]] = {}
    for i, (module, matrix) in enumerate(zip(modules, layout, strict=True)):
        if matrix.shape and not matrix.inputs:
            vectors.setdefault((module, matrix.shape), []).append(i)
    beside = [
        vectors.get((module, matrix.shape[matrix.inputs :]), [])
        for module, matrix in zip(modules, layout, strict=True)
    ]
    return _with_biases(layout, [found[0] if len(found) == 1 else None for found in beside])


def unrelated(params: PyTree[Array]) -> PermutationSpec:
    """A spec in which no two axes share a group."""
    leaves, structure = jax.tree.flatten(params)
    shapes = [np.shape(x) for x in leaves]
    names = [[f"{i}.{k}" for k in range(len(shape))] for i, shape in enumerate(shapes)]
    sizes = dict(zip(chain(*names), chain(*shapes), strict=True))
    return PermutationSpec(jax.tree.unflatten(structure, [Axes(*ns) for ns in names]), sizes)


def _with_biases(layout: list[Matrix], biases: list[int | None]) -> list[Matrix]:
    """The layout with the biases that fit: a table has none, a stack one with as many copies."""

    def fits(matrix: Matrix, bias: Matrix) -> bool:
        sums = matrix.inputs > 0 and matrix.kind != "table"
        return sums and not bias.inputs and matrix.copies == bias.copies

    return [
        matrix._replace(bias=bias if bias is not None and fits(matrix, layout[bias]) else None)
        for matrix, bias in zip(layout, biases, strict=True)
    ]


def _matrix(axes: Axes, roles: tuple[str, ...], spec: PermutationSpec) -> Matrix:
    shape = spec.shape(axes)
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
