"""The relational layer: coefficients belong to kinds of relation, and fit any weight space."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lopt.unf.averages import mean
from lopt.unf.layer import Layer
from lopt.unf.layout import Layout, Stacks
from lopt.unf.once import concatenate
from lopt.unf.roles import ROLES, Relations, Stack, relations_of
from lopt.unf.views import Shape, View, add, map_channels

_RELATIONS = 5
"""A matrix hears from itself, its two sides, its mean and the network's."""


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

    @nn.compact
    def summands(self, arrays: Sequence[Array], layout: Layout) -> list[list[View]]:
        """The layer on the arrays of `Stacks`."""
        channels, dtype = arrays[0].shape[-1], arrays[0].dtype
        heard = 1 if self.starts_pointwise else _RELATIONS
        own = self.kernel_scale / math.sqrt(heard * channels)
        cross = 0.0 if self.starts_pointwise else own

        def coefficients(name: str, scale: float, rows: int) -> Array:
            return self.coefficients(name, np.full((rows, self.features), scale), dtype)

        kernel = coefficients("own", own, channels)
        into = 1 / math.sqrt(channels)
        collect = [coefficients(f"collect_{role}", into, channels) for role in ROLES]
        spread = [coefficients(f"spread_{role}", cross, self.features) for role in ROLES]
        tensor = coefficients("tensor", cross, channels)
        network = coefficients("network", cross, channels)
        space = coefficients("space", cross, channels)
        bias = self.bias(1, dtype)

        relations = relations_of(layout.stacks)
        reduced = [_reduce(x, stack) for x, stack in zip(arrays, layout.stacks, strict=True)]
        groups = _collect(relations, [r.axes for r in reduced], collect)
        sides = _spread(relations, groups, spread)
        means = concatenate([r.whole for r in reduced], 0)
        constants = means @ tensor + jnp.mean(means, 0) @ network + bias
        outputs, start = [], 0
        for x, r, side in zip(arrays, reduced, sides, strict=True):
            stop = start + x.shape[0]
            whole = View(constants, Shape(rows=(start, stop), sizes=_sizes(x.shape[:-1], 0)))
            averaged = None if r.space is None else r.space @ space
            outputs.append([map_channels(x, kernel), *_hear(whole, side, averaged)])
            start = stop
        return outputs


class _Reduced(NamedTuple):
    """The averages of one stack of tensors.

    Attributes:
      axes: onto each axis, of shape (tensors, size, channels).
      space: over space, of shape (tensors, *other sizes, channels); None without spatial axes.
      whole: over each tensor, of shape (tensors, channels).
    """

    axes: list[Array]
    space: Array | None
    whole: Array


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
    """Averages onto each axis between the first and the last, from halves that are shared."""
    rank = x.ndim - 2
    if rank == 1:
        return [x]
    half = 1 + rank // 2
    return _onto_each(_mean_over(x, half, 1 + rank)) + _onto_each(_mean_over(x, 1, half))


def _mean_over(x: Array, start: int, stop: int) -> Array:
    shape = (*x.shape[:start], math.prod(x.shape[start:stop]), *x.shape[stop:])
    return mean(x.reshape(shape), start)


def _hear(whole: View, sides: list[View], space: Array | None) -> list[View]:
    """What each element of a stack of tensors hears from elsewhere.

    Args:
      whole: what a whole tensor hears.
      sides: what each axis hears.
      space: what a kernel's matrix hears, of shape (tensors, inputs, outputs, features).
    """
    if not sides:
        return [whole]
    if space is None:
        return [View(add([sides[0], whole])), *sides[1:]]
    spatial = len(sides) - (space.ndim - 2)
    sizes = (space.shape[0], *[1] * spatial, *space.shape[1:-1])
    matrix = View(space, Shape(sizes=sizes))
    return [View(add([whole, *sides[:spatial]])), View(add([matrix, *sides[spatial:]]))]


def _sizes(shape: Sequence[int], *kept: int) -> tuple[int, ...]:
    """The sizes of some axes, and ones for the others."""
    return tuple(n if i in kept else 1 for i, n in enumerate(shape))


def _collect(
    relations: Relations, averages: Sequence[list[Array]], kernels: Sequence[Array]
) -> Float[Array, "units features"]:
    """The features of all groups, one below the other."""
    mapped = []
    for role, kernel in zip(relations.roles, kernels, strict=True):
        if role.sides:
            rows = [averages[i][k] for i, k in role.sides]
            rows = concatenate([r.reshape(-1, r.shape[-1]) for r in rows], 0)
            mapped.append(rows @ kernel)
        else:
            mapped.append(None)
    features = []
    for members in relations.groups:
        parts = [mapped[role][start : start + size] for role, start, size in members]
        features.append(sum(parts[1:], parts[0]) * (1 / len(parts)))
    return jnp.concatenate(features) if features else jnp.zeros((0, kernels[0].shape[-1]))


def _spread(relations: Relations, features: Array, kernels: Sequence[Array]) -> list[list[View]]:
    """What the groups of each stack's axes have to say to it."""
    sides: list[dict[int, View]] = [{} for _ in relations.shapes]
    for role, kernel in zip(relations.roles, kernels, strict=True):
        if role.sides:
            said = features @ kernel
            start = 0
            for i, k in role.sides:
                sizes = _sizes(relations.shapes[i], 0, 1 + k)
                stop = start + math.prod(sizes)
                sides[i][k] = _rows(said, role.index[start:stop], sizes)
                start = stop
    return [[side[k] for k in sorted(side)] for side in sides]


def _rows(x: Array, index: Int[np.ndarray, " rows"], sizes: tuple[int, ...]) -> View:
    """Some rows, looked at in place where they are neighbours."""
    if np.all(np.diff(index) == 1):
        return View(x, Shape(rows=(int(index[0]), int(index[-1]) + 1), sizes=sizes))
    return View(x[index], Shape(sizes=sizes))
