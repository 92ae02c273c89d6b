"""A network over neurons: what it reads of each is of second order, and shared over groups."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lopt.errors import UserError, suggest
from lopt.symmetry import PermutationSpec
from lopt.symmetry.axes import Axis, Product, Sum, size_of
from lopt.unf.roles import ROLES, axis_roles

SHARING = ("tensor", "axis", "group")
"""Who a neuron's outputs depend on: its tensor only, its own axis, all axes of its group."""

_FLOOR = 1e-6
"""A unit's mean square beside its tensor's below which it counts as zero."""


class Statistics(NamedTuple):
    """What `statistics` finds in one tensor, channels last.

    Attributes:
      axes: for each axis an array of shape (size, channels): a row for each unit of the axis.
      tensor: an array of shape (channels,) of the whole tensor.
    """

    axes: tuple[Float[Array, "size channels"], ...]
    tensor: Float[Array, " channels"]


def statistics(
    signals: Mapping[str, Float[Array, "..."]], cosines: Sequence[tuple[str, str]] = ()
) -> Statistics:
    r"""Second-order statistics of signals of one shape along each unit of each axis.

    A signal's average over a unit's weights is noise around zero where signs are random; its size,
    and its agreement with another signal, are not. With :math:`\langle x y \rangle_i` the mean of
    x y over the entries of unit i of an axis, and :math:`\langle x y \rangle` that over the tensor,
    the channels are, for each signal x and each pair (x, y) in turn,

    .. math:: \tfrac12 \log \frac{\langle x^2 \rangle_i}{\langle x^2 \rangle}, \qquad
              \frac{\langle x y \rangle_i}{\sqrt{\langle x^2 \rangle_i \langle y^2 \rangle_i}}

    for a unit, and :math:`\tfrac12 \log \langle x^2 \rangle` and the cosine for the tensor.
    All are zero where a signal is; the first is at least log(1e-3). Permuting an axis permutes the
    rows of its array and leaves the others. The signals are read once for each axis.

    Args:
      signals: arrays of one shape, by name.
      cosines: pairs of names.

    Returns:
      Arrays with `len(signals) + len(cosines)` channels.

    Example:
      >>> import jax.numpy as jnp
      >>> found = statistics({"x": jnp.array([[3.0, 4.0], [0.0, 0.0]])})
      >>> [a.shape for a in found.axes], float(jnp.exp(found.tensor[0]))
      ([(2, 1), (2, 1)], 2.5)
    """
    pairs = [*((name, name) for name in signals), *cosines]
    products = [signals[a] * signals[b] for a, b in pairs]
    rank = products[0].ndim
    axes = [
        jnp.stack([jnp.mean(p, [j for j in range(rank) if j != k]) for p in products], -1)
        for k in range(rank)
    ]
    if rank:
        smallest = min(axes, key=lambda a: a.shape[0])
        whole = jnp.mean(smallest, 0)
    else:
        whole = jnp.stack(products)
    squares = {name: i for i, name in enumerate(signals)}

    def cosine(means: Array) -> list[Array]:
        found = []
        for i, (a, b) in enumerate(cosines, start=len(squares)):
            scale = means[..., squares[a]] * means[..., squares[b]]
            positive = scale > 0
            norm = jnp.where(positive, jax.lax.rsqrt(jnp.where(positive, scale, 1)), 0)
            found.append(means[..., i] * norm)
        return found

    def unit(means: Array) -> Array:
        ratio = means[:, : len(squares)] / jnp.where(whole > 0, whole, 1)[: len(squares)]
        logs = 0.5 * jnp.log(jnp.maximum(ratio, _FLOOR))
        logs = jnp.where(whole[: len(squares)] > 0, logs, 0)
        return jnp.concatenate([logs, jnp.stack(cosine(means), -1)] if cosines else [logs], -1)

    squared = whole[: len(squares)]
    logs = jnp.where(squared > 0, 0.5 * jnp.log(jnp.where(squared > 0, squared, 1)), 0)
    tensor = jnp.concatenate([logs, jnp.stack(cosine(whole))] if cosines else [logs])
    return Statistics(tuple(unit(a) for a in axes), tensor)


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

    Attributes:
      spec: the groups of the weight space.
      hidden: the width of h.
      unit_outputs: channels written for each unit.
      tensor_outputs: channels written for each tensor.
      sharing: `"group"` as above; `"axis"` without E; `"tensor"` without units altogether.
    """

    spec: PermutationSpec
    hidden: int
    unit_outputs: int
    tensor_outputs: int
    sharing: str = "group"

    @nn.compact
    def __call__(
        self,
        units: PyTree[tuple[Float[Array, "size channels"], ...]],
        tensors: PyTree[Float[Array, " features"]],
    ) -> tuple[
        list[tuple[Float[Array, "size outputs"], ...]], Float[Array, "tensors tensor_outputs"]
    ]:
        """Map the features of units and tensors.

        Args:
          units: for each tensor, in the order of `spec.entries`, the features of its axes' units.
          tensors: for each tensor its own features.

        Returns:
          The outputs of units, in lists as `units`, and those of all tensors, one row each.
          With `sharing="tensor"` the former are empty lists.

        Raises:
          UserError: for an unknown `sharing`.
        """
        if self.sharing not in SHARING:
            raise UserError(f"no sharing {self.sharing!r}; {suggest(self.sharing, SHARING)}")
        context = jnp.stack(list(tensors))
        fan_in = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
        zeros = nn.initializers.zeros_init()
        linear = self.param("linear", zeros, (context.shape[1], self.tensor_outputs))
        readout = self.param("readout", zeros, (self.hidden, self.tensor_outputs))
        into = self.param("tensor", fan_in, (context.shape[1], self.hidden))
        bias = self.param("tensor_bias", zeros, (self.hidden,))
        hidden = context @ into + bias
        written: list[tuple[Array, ...]] = [() for _ in units]
        if self.sharing != "tensor":
            written, pooled = self._units(units, context, fan_in, zeros)
            hidden = hidden + pooled
        return written, context @ linear + nn.silu(hidden) @ readout

    def _units(
        self,
        units: Sequence[tuple[Array, ...]],
        context: Array,
        fan_in: nn.initializers.Initializer,
        zeros: nn.initializers.Initializer,
    ) -> tuple[list[tuple[Array, ...]], Array]:
        roles = [r for tensor in axis_roles(self.spec) for r in tensor]
        rows = [a for axes in units for a in axes]
        channels = rows[0].shape[1] if rows else 1
        kernel = self.param("unit", fan_in, (channels, self.hidden))
        by_tensor = self.param("unit_context", fan_in, (context.shape[1], self.hidden))
        by_role = self.param("unit_role", zeros, (len(ROLES), self.hidden))
        pool = self.param("pool", fan_in, (self.hidden, self.hidden))
        shape = (len(ROLES), self.hidden, self.unit_outputs)
        own = self.param("own", zeros, shape)
        if not rows:
            return [() for _ in units], jnp.zeros((len(context), self.hidden))

        index = [ROLES.index(r) for r in roles]
        owner = [t for t, axes in enumerate(units) for _ in axes]
        offsets = context @ by_tensor
        offsets = [offsets[t] + by_role[r] for t, r in zip(owner, index, strict=True)]
        sizes = [r.shape[0] for r in rows]
        hidden = _split(jnp.concatenate(rows) @ kernel, sizes)
        hidden = [nn.silu(h + o) for h, o in zip(hidden, offsets, strict=True)]

        means = [jnp.mean(h, 0) for h in hidden]
        zero = jnp.zeros(self.hidden)
        of_tensor = [
            _mean([m for m, t in zip(means, owner, strict=True) if t == i], zero)
            for i in range(len(units))
        ]
        outputs = [h @ own[r] for h, r in zip(hidden, index, strict=True)]
        if self.sharing == "group":
            shared = self.param("shared", zeros, shape)
            axes = [a for _, tensor in self.spec.entries for a in tensor]
            groups = _collect(axes, hidden, self.spec.sizes)
            outputs = [
                y + _spread(axis, groups, self.spec.sizes) @ shared[r]
                for y, axis, r in zip(outputs, axes, index, strict=True)
            ]
        found = iter(outputs)
        return [tuple(next(found) for _ in axes) for axes in units], jnp.stack(of_tensor) @ pool


def _split(x: Array, sizes: Sequence[int]) -> list[Array]:
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [x[i : i + n] for i, n in zip(starts, sizes, strict=True)]


def _mean(parts: Sequence[Array], empty: Array) -> Array:
    return sum(parts[1:], parts[0]) / len(parts) if parts else empty


def _collect(
    axes: Sequence[Axis], hidden: Sequence[Array], sizes: Mapping[str, int]
) -> dict[str, Array]:
    """The mean of each group over the axes, or parts of axes, that it indexes."""
    found: dict[str, list[Array]] = {}
    for axis, h in zip(axes, hidden, strict=True):
        for name, part in _parts(axis, h, sizes):
            found.setdefault(name, []).append(part)
    return {name: _mean(parts, parts[0]) for name, parts in found.items()}


def _parts(axis: Axis, x: Array, sizes: Mapping[str, int]) -> list[tuple[str, Array]]:
    """(group, rows of the group's units) for each group of an axis whose units' rows are x."""
    if isinstance(axis, str):
        return [(axis, x)]
    if isinstance(axis, Sum):
        rows = _split(x, [size_of(a, sizes) for a in axis.parts])
        return [p for a, r in zip(axis.parts, rows, strict=True) for p in _parts(a, r, sizes)]
    lengths = [size_of(a, sizes) for a in axis.factors]
    grid = x.reshape(*lengths, x.shape[-1])
    others = range(len(lengths))
    means = [jnp.mean(grid, [j for j in others if j != i]) for i in others]
    return [p for a, m in zip(axis.factors, means, strict=True) for p in _parts(a, m, sizes)]


def _spread(axis: Axis, groups: Mapping[str, Array], sizes: Mapping[str, int]) -> Array:
    """What the groups of an axis have for each of its units: the sum over factors."""
    if isinstance(axis, str):
        return groups[axis]
    if isinstance(axis, Sum):
        return jnp.concatenate([_spread(a, groups, sizes) for a in axis.parts])
    assert isinstance(axis, Product)
    lengths = [size_of(a, sizes) for a in axis.factors]
    total = 0.0
    for i, factor in enumerate(axis.factors):
        rows = _spread(factor, groups, sizes)
        shape = [n if j == i else 1 for j, n in enumerate(lengths)]
        total = total + rows.reshape(*shape, rows.shape[-1])
    return total.reshape(math.prod(lengths), total.shape[-1])
