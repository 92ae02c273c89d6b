"""A network over neurons, whose features are second-order statistics shared over groups."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lopt.base.mesh import gathered
from lopt.symmetry import PermutationSpec
from lopt.symmetry.axes import Axis, Sum, fold, size_of
from lopt.symmetry.roles import COARSE_ROLES, coarse_roles

_FLOOR = 1e-6  # of a unit's mean square beside its tensor's; below, it counts as zero


class Statistics(NamedTuple):
    """The statistics of one tensor: for each axis a row for each unit, and those of all of it."""

    axes: tuple[Float[Array, "size channels"], ...]
    tensor: Float[Array, " channels"]


def statistics(
    signals: Mapping[str, Float[Array, "..."]], cosines: Sequence[tuple[str, str]] = ()
) -> Statistics:
    r"""Second-order statistics of signals of one shape along each unit of each axis.

    A signal's average over a unit's weights is noise around zero where signs are random; its size,
    and its agreement with another signal, are not. With :math:`\langle x y \rangle_i` the mean of
    x y over the entries of unit i of an axis, and :math:`\langle x y \rangle` that over the tensor,
    the channels are, for each signal x and each pair (x, y) of `cosines` in turn,

    .. math:: \tfrac12 \log \frac{\langle x^2 \rangle_i}{\langle x^2 \rangle}, \qquad
              \frac{\langle x y \rangle_i}{\sqrt{\langle x^2 \rangle_i \langle y^2 \rangle_i}}

    for a unit, and :math:`\tfrac12 \log \langle x^2 \rangle` and the cosine for the tensor.
    All are zero where a signal is; the first is at least log(1e-3). Permuting an axis permutes the
    rows of its array and leaves the others. The signals are read once for each axis.

    >>> import jax.numpy as jnp
    >>> found = statistics({"x": jnp.array([[3.0, 4.0], [0.0, 0.0]])})
    >>> [a.shape for a in found.axes], float(jnp.exp(found.tensor[0]))
    ([(2, 1), (2, 1)], 2.5)
    """
    pairs = [*((name, name) for name in signals), *cosines]
    products = jnp.stack([signals[a] * signals[b] for a, b in pairs])
    rank = products.ndim - 1
    means = [jnp.mean(products, [j + 1 for j in range(rank) if j != k]) for k in range(rank)]
    axes = [gathered(x).T for x in means]
    smallest = min(axes, key=lambda a: a.shape[0], default=products[None])
    rows = jnp.concatenate([jnp.mean(smallest, 0, keepdims=True), *axes])
    squares, mixed = rows[:, : len(signals)], rows[:, len(signals) :]
    names = list(signals)
    first, second = (np.array([names.index(pair[i]) for pair in cosines], int) for i in (0, 1))
    cosine = mixed * _inverse_root(squares[:, first] * squares[:, second])
    whole = squares[:1]
    positive = whole > 0
    relative = jnp.maximum(squares / jnp.where(positive, whole, 1), _FLOOR)
    scale = jnp.where(jnp.arange(len(rows))[:, None] > 0, relative, jnp.where(positive, whole, 1))
    logs = jnp.where(positive, 0.5 * jnp.log(scale), 0)
    tensor, *units = jnp.split(
        jnp.concatenate([logs, cosine], 1), np.cumsum([1, *(a.shape[0] for a in axes)])[: rank + 1]
    )
    return Statistics(tuple(units[:rank]), tensor[0])


def _inverse_root(x: Float[Array, "..."]) -> Float[Array, "..."]:
    positive = x > 0
    return jnp.where(positive, jax.lax.rsqrt(jnp.where(positive, x, 1)), 0)


class NeuronNetwork(nn.Module):
    r"""An equivariant network over the units of a weight space's axes, for any weight space.

    With :math:`u_{t,k}` the features of the units of axis k of tensor t, whose role is r(t,k) and
    whose group is g(t,k), and :math:`c_t` those of the tensor,

    .. math:: h_{t,k} = \sigma(u_{t,k} A + c_t B + b_{r(t,k)}), \qquad
              h_g = \mathrm{mean}_{(t,k): g(t,k) = g} \; h_{t,k},

    and the outputs of units and of tensors are

    .. math:: y_{t,k} = h_{t,k} D_{r(t,k)} + h_{g(t,k)} E_{r(t,k)}, \qquad
              z_t = c_t L + \sigma(c_t F + \mathrm{mean}_{k, i}(h_{t,k}) G + b) H.

    Along a composite axis a unit takes part in the group of each factor. The outputs start at zero.
    The cost is that of small matrices: rows are units, not parameters.
    """

    spec: PermutationSpec
    hidden: int  # the width of h
    unit_outputs: int
    tensor_outputs: int

    @nn.compact
    def __call__(
        self,
        units: Sequence[tuple[Float[Array, "size channels"], ...]],
        tensors: Float[Array, "tensors features"],
    ) -> tuple[
        list[tuple[Float[Array, "size outputs"], ...]], Float[Array, "tensors tensor_outputs"]
    ]:
        """The outputs of units, in lists as `units`, and those of all tensors, one row each.

        `units` has the features of each tensor's axes' units, in the order of `spec.entries`.
        """
        fan_in = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
        zeros = nn.initializers.zeros_init()
        features = tensors.shape[1]
        linear = self.param("linear", zeros, (features, self.tensor_outputs))
        readout = self.param("readout", zeros, (self.hidden, self.tensor_outputs))
        into = self.param("tensor", fan_in, (features, self.hidden))
        hidden = tensors @ into + self.param("tensor_bias", zeros, (self.hidden,))
        channels = max((a.shape[1] for axes in units for a in axes), default=1)
        pool = self.param("pool", fan_in, (self.hidden, self.hidden))
        roles = len(COARSE_ROLES)
        kernels = _Kernels(
            unit=self.param("unit", fan_in, (channels, self.hidden)),
            context=tensors @ self.param("unit_context", fan_in, (features, self.hidden)),
            role=self.param("unit_role", zeros, (roles, self.hidden)),
            own=self.param("own", zeros, (roles, self.hidden, self.unit_outputs)),
            shared=self.param("shared", zeros, (roles, self.hidden, self.unit_outputs)),
        )
        written, pooled = _units(self.spec, units, kernels)
        hidden = hidden + pooled @ pool
        return written, tensors @ linear + nn.silu(hidden) @ readout


class _Kernels(NamedTuple):
    """The coefficients of the part over units, by their letters in the formula."""

    unit: Float[Array, "channels hidden"]  # A
    context: Float[Array, "tensors hidden"]  # c B
    role: Float[Array, "roles hidden"]  # b
    own: Float[Array, "roles hidden outputs"]  # D
    shared: Float[Array, "roles hidden outputs"]  # E


def _units(
    spec: PermutationSpec, units: Sequence[tuple[Array, ...]], kernels: _Kernels
) -> tuple[list[tuple[Array, ...]], Float[Array, "tensors hidden"]]:
    """The outputs of all units, and the mean of the hidden features over each tensor's.

    Axes of one size are stacked: the program has as many operations as there are sizes, not axes.
    """
    rows = [a for axes in units for a in axes]
    if not rows:
        return [() for _ in units], jnp.zeros((len(units), kernels.role.shape[1]))
    role = np.array([COARSE_ROLES.index(r) for tensor in coarse_roles(spec) for r in tensor])
    owner = np.array([t for t, axes in enumerate(units) for _ in axes])
    stacks = _by_size([r.shape[0] for r in rows])
    hidden, means = {}, []
    for size, index in stacks.items():
        x = jnp.stack([rows[i] for i in index]) @ kernels.unit
        offset = kernels.context[owner[index]] + kernels.role[role[index]]
        hidden[size] = nn.silu(x + offset[:, None, :])
        means.append(jnp.mean(hidden[size], 1))
    order = np.concatenate(list(stacks.values()))
    average = np.zeros((len(units), len(order)), np.float32)
    average[owner[order], np.arange(len(order))] = 1
    average /= np.maximum(average.sum(1, keepdims=True), 1)
    pooled = jnp.matmul(average, jnp.concatenate(means))

    axes = [axis for _, tensor in spec.entries for axis in tensor]
    messages = _messages(axes, stacks, hidden, spec.sizes)
    outputs: dict[int, Array] = {}
    for size, index in stacks.items():
        y = jnp.einsum("anh,aho->ano", hidden[size], kernels.own[role[index]])
        y = y + jnp.einsum("anh,aho->ano", messages[size], kernels.shared[role[index]])
        outputs |= {i: y[k] for k, i in enumerate(index)}
    found = iter(outputs[i] for i in range(len(rows)))
    return [tuple(next(found) for _ in axes) for axes in units], pooled


def _by_size(sizes: Sequence[int]) -> dict[int, np.ndarray]:
    """The indices of each size."""
    found: dict[int, list[int]] = {}
    for i, size in enumerate(sizes):
        found.setdefault(size, []).append(i)
    return {size: np.array(index) for size, index in found.items()}


def _messages(
    axes: Sequence[Axis],
    stacks: Mapping[int, np.ndarray],
    hidden: Mapping[int, Float[Array, "axes size hidden"]],
    sizes: Mapping[str, int],
) -> dict[int, Float[Array, "axes size hidden"]]:
    """For each axis, in the order of the stacks, the mean over its groups' axes: h_g."""
    parts: list[tuple[str, Array]] = []
    first: dict[int, int] = {}
    for size, index in stacks.items():
        for k, i in enumerate(index):
            first[i] = len(parts)
            parts += _parts(axes[i], hidden[size][k], sizes)
    means: dict[int, Array] = {}
    for same in _by_size([x.shape[0] for _, x in parts]).values():
        names = np.array([parts[i][0] for i in same])
        weights = (names[:, None] == names[None]).astype(np.float32)
        weights /= weights.sum(1, keepdims=True)
        stack = jnp.stack([parts[i][1] for i in same])
        mixed = jnp.tensordot(weights, stack, 1)
        means |= {i: mixed[k] for k, i in enumerate(same)}
    return {
        size: jnp.stack([_spread(axes[i], map(means.__getitem__, count(first[i]))) for i in index])
        for size, index in stacks.items()
    }


def _parts(axis: Axis, x: Array, sizes: Mapping[str, int]) -> list[tuple[str, Array]]:
    """(group, rows of the group's units) for each group of an axis whose units' rows are x."""
    if isinstance(axis, str):
        return [(axis, x)]
    if isinstance(axis, Sum):
        lengths = [size_of(a, sizes) for a in axis.parts]
        rows = jnp.split(x, np.cumsum(lengths)[:-1])
        return [p for a, r in zip(axis.parts, rows, strict=True) for p in _parts(a, r, sizes)]
    lengths = [size_of(a, sizes) for a in axis.factors]
    grid = x.reshape(*lengths, x.shape[-1])
    others = range(len(lengths))
    means = [jnp.mean(grid, [j for j in others if j != i]) for i in others]
    return [p for a, m in zip(axis.factors, means, strict=True) for p in _parts(a, m, sizes)]


def _spread(axis: Axis, means: Iterator[Array]) -> Array:
    """The inverse of `_parts` for the next means: one row for each unit, summed over factors."""

    def outer_sum(rows: list[Array]) -> Array:
        lengths = [r.shape[0] for r in rows]
        first, *others = (
            r.reshape(*(n if j == i else 1 for j, n in enumerate(lengths)), r.shape[-1])
            for i, r in enumerate(rows)
        )
        total = sum(others, first)
        return total.reshape(math.prod(lengths), total.shape[-1])

    return fold(axis, lambda _: next(means), outer_sum, jnp.concatenate)
