"""The relational layer: coefficients belong to kinds of relation, and fit any weight space."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lopt.symmetry.roles import COARSE_ROLES
from lopt.unf.cpu.averages import mean
from lopt.unf.cpu.once import concatenate_once
from lopt.unf.layer import Layer, with_channels
from lopt.unf.layout import Layout, Stacks
from lopt.unf.roles import Relations, Stack, relations_of, stacks_for
from lopt.unf.summands import Shape, Summand, add, map_channels

_RELATIONS = 5
"""The terms of a matrix' output: from itself, its two sides, its own mean and the network's."""


class RelationalLayer(Layer):
    r"""An equivariant layer whose meta-parameters do not depend on the weight space.

    Let :math:`a_{t,k}` be tensor t averaged onto its axis k, which has the group g(t,k) and the
    role r(t,k): input or output side of a matrix or kernel, spatial, or the axis of a vector. A
    group's feature is the mean over all axes that it indexes,

    .. math:: h_g = \mathrm{mean}_{(t,k): g(t,k)=g} \; a_{t,k} C_{r(t,k)}

    and a tensor's output, with all summands broadcast to its shape, is

    .. math:: y_t = x_t W + \sum_k h_{g(t,k)} D_{r(t,k)} + \bar x_t T + \bar x N
              + \mathrm{space}(x_t) S + b

    where the means are over the tensor, over the tensors of the network, and over the spatial axes
    of a kernel. The cost is linear in the size of the network.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from lopt.symmetry import Axes, PermutationSpec
      >>> small = PermutationSpec({"w": Axes("in", "out")}, {"in": 3, "out": 2})
      >>> large = PermutationSpec({"a": Axes("i", "h"), "b": Axes("h")}, {"i": 7, "h": 9})
      >>> x = {"w": jnp.ones((3, 2, 5))}
      >>> theta = RelationalLayer(small, features=4).init(jax.random.key(0), x)
      >>> x = {"a": jnp.ones((7, 9, 5)), "b": jnp.ones((9, 5))}
      >>> RelationalLayer(large, features=4).apply(theta, x)["b"].shape
      (9, 4)
    """

    @property
    def layout(self) -> Layout:
        """Tensors of one shape, stacked."""
        return Stacks(self.spec)

    takes_constants = True

    @nn.compact
    def summands(
        self, arrays: Sequence[Array], layout: Layout, constants: Array | None = None
    ) -> list[list[Summand]]:
        """The layer on the arrays of `Stacks`."""
        own, dtype = arrays[0].shape[-1], arrays[0].dtype
        constants = jnp.zeros(0, dtype) if constants is None else constants
        channels = own + len(constants)
        terms = 1 if self.starts_pointwise else _RELATIONS
        full = self.kernel_scale / math.sqrt(terms * channels)
        cross = 0.0 if self.starts_pointwise else full

        def coefficients(name: str, scale: float, rows: int) -> Array:
            return self.coefficients(name, np.full((rows, self.features), scale), dtype)

        # The letters are those of the class' formula; C and D have a matrix for each role.
        W = coefficients("own", full, channels)
        into = 1 / math.sqrt(channels)
        C = [coefficients(f"collect_{role}", into, channels) for role in COARSE_ROLES]
        D = [coefficients(f"spread_{role}", cross, self.features) for role in COARSE_ROLES]
        T = coefficients("tensor", cross, channels)
        N = coefficients("network", cross, channels)
        S = coefficients("space", cross, channels)
        bias = self.bias(1, dtype)

        stacks = stacks_for(self.spec)
        relations = relations_of(stacks)
        reduced = [_reduce(x, stack) for x, stack in zip(arrays, stacks, strict=True)]
        # What is the same everywhere is so in every average.
        reduced = jax.tree.map(lambda x: with_channels(x, constants), reduced)
        h = _group_features(relations, [r.axes for r in reduced], C)
        sides = _side_terms(relations, h, D)
        means = concatenate_once([r.whole for r in reduced], 0)
        everywhere = means @ T + jnp.mean(means, 0) @ N + bias + constants @ W[own:]
        outputs, start = [], 0
        for x, r, side in zip(arrays, reduced, sides, strict=True):
            stop = start + x.shape[0]
            whole = Summand(everywhere, Shape(rows=(start, stop), sizes=_sizes(x.shape[:-1], 0)))
            matrix = None if r.space is None else r.space @ S
            outputs.append([map_channels(x, W[:own]), *_broadcast_terms(whole, side, matrix)])
            start = stop
        return outputs


class _Reduced(NamedTuple):
    """The averages of one stack of tensors: the a_{t,k} and means of the formula."""

    axes: list[Array]  # onto each axis, (tensors, size, channels)
    space: Array | None  # over space, (tensors, *other sizes, channels); None if none is spatial
    whole: Array  # over each tensor, (tensors, channels)


def _reduce(x: Array, stack: Stack) -> _Reduced:
    rank, spatial = len(stack.shape), stack.roles.count("spatial")
    if rank == 0:
        return _Reduced([], None, x)
    if 0 < spatial < rank:
        space = _mean_over(x, 1, 1 + spatial)
        axes = _onto_each(_mean_over(x, 1 + spatial, 1 + rank)) + _onto_each(space)
    else:
        space, axes = None, _onto_each(x)
    smallest = min(axes, key=lambda a: a.shape[1])
    return _Reduced(axes, space, mean(smallest, 1))


def _onto_each(x: Array) -> list[Array]:
    """Averages onto each axis between the first and the last, from halves that are shared.

    Of axes (i, j, k, l) it averages k and l away once for i and j, and i and j once for k and l:
    two passes over the tensor in place of four.
    """
    rank = x.ndim - 2
    if rank == 1:
        return [x]
    half = 1 + rank // 2
    return _onto_each(_mean_over(x, half, 1 + rank)) + _onto_each(_mean_over(x, 1, half))


def _mean_over(x: Array, start: int, stop: int) -> Array:
    shape = (*x.shape[:start], math.prod(x.shape[start:stop]), *x.shape[stop:])
    return mean(x.reshape(shape), start)


def _broadcast_terms(whole: Summand, sides: list[Summand], matrix: Array | None) -> list[Summand]:
    """The terms of a stack's output that are constant along some axes, few and large.

    Terms that broadcast along the same axes are added first, at their own size: a kernel's output
    gets one view that is constant over inputs and outputs and one that is constant over space, in
    place of one for each axis and each mean. `whole` has the terms of means and the bias, `sides`
    those of the axes' groups, and `matrix`, (tensors, inputs, outputs, features), that of the mean
    over space.
    """
    if not sides:
        return [whole]
    if matrix is None:
        return [Summand(add([sides[0], whole])), *sides[1:]]
    spatial = len(sides) - (matrix.ndim - 2)
    sizes = (matrix.shape[0], *[1] * spatial, *matrix.shape[1:-1])
    over_space = Summand(matrix, Shape(sizes=sizes))
    return [Summand(add([whole, *sides[:spatial]])), Summand(add([over_space, *sides[spatial:]]))]


def _sizes(shape: Sequence[int], *kept: int) -> tuple[int, ...]:
    """The sizes of some axes, and ones for the others."""
    return tuple(n if i in kept else 1 for i, n in enumerate(shape))


def _group_features(
    relations: Relations, averages: Sequence[list[Array]], C: Sequence[Array]
) -> Float[Array, "units features"]:
    """h_g of all groups, the units of one below those of the other.

    Axes of one role have one C, so that all of them are one matmul: `below` has the units of all
    their axes as rows. A group's feature is then the mean of its axes' rows, wherever these are.
    """
    mapped: dict[int, Array] = {}
    for number, (role, kernel) in enumerate(zip(relations.roles, C, strict=True)):
        if role.sides:
            rows = [averages[i][k] for i, k in role.sides]
            below = concatenate_once([r.reshape(-1, r.shape[-1]) for r in rows], 0)
            mapped[number] = below @ kernel
    features = []
    for members in relations.groups:
        parts = [mapped[role][start : start + size] for role, start, size in members]
        features.append(sum(parts[1:], parts[0]) * (1 / len(parts)))
    return jnp.concatenate(features) if features else jnp.zeros((0, C[0].shape[-1]))


def _side_terms(relations: Relations, h: Array, D: Sequence[Array]) -> list[list[Summand]]:
    """h_g D_r for each axis of each stack, of size one along the stack's other axes."""
    sides: list[dict[int, Summand]] = [{} for _ in relations.shapes]
    for role, kernel in zip(relations.roles, D, strict=True):
        if role.sides:
            mapped = h @ kernel
            start = 0
            for i, k in role.sides:
                sizes = _sizes(relations.shapes[i], 0, 1 + k)
                stop = start + math.prod(sizes)
                sides[i][k] = _rows(mapped, role.index[start:stop], sizes)
                start = stop
    return [[side[k] for k in sorted(side)] for side in sides]


def _rows(x: Array, index: Int[np.ndarray, " rows"], sizes: tuple[int, ...]) -> Summand:
    """The rows at an index, as a slice without a copy where the index is consecutive."""
    if np.all(np.diff(index) == 1):
        return Summand(x, Shape(rows=(int(index[0]), int(index[-1]) + 1), sizes=sizes))
    return Summand(x[index], Shape(sizes=sizes))
