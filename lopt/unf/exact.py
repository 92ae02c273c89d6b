"""The exact layer: every equivariant linear map of a weight space."""

import math
from collections.abc import Sequence

import flax.linen as nn
import numpy as np
from jaxtyping import Array, Float

from lopt.unf.cpu.averages import mean
from lopt.unf.cpu.once import concatenate_once
from lopt.unf.layer import Layer
from lopt.unf.layout import Bundles, Layout
from lopt.unf.plan import Matmul, Plan, plan_for
from lopt.unf.summands import Shape, Summand, add, diagonal


class ExactLayer(Layer):
    r"""The layer of universal neural functionals (Zhou, Finn & Harrison, arXiv 2402.05232).

    Its outputs span all linear maps that commute with every permutation of every group, fixed
    groups included (their sizes do not enter the meta-parameters):

    .. math:: y_t = b_t + \sum_u \sum_{P \in \mathcal{P}(t, u)} E_P(x_u) W_P

    over the set partitions P of the axes of tensors t and u taken together into blocks of one
    group; E_P takes the diagonals of the axes of u that share a block, averages those that share
    none with t, and writes to t's diagonals and broadcasts. There are as many P as the product over
    groups of the Bell number of how many of the axes carry the group; `plan_for(spec)` prints them.

    Its meta-parameters are tied to the spec, but not to the names of its groups.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from lopt.symmetry import Axes, PermutationSpec
      >>> spec = PermutationSpec({"w": Axes("in", "out"), "b": Axes("out")}, {"in": 3, "out": 2})
      >>> x = {"w": jnp.ones((3, 2, 5)), "b": jnp.ones((2, 5))}
      >>> y, theta = ExactLayer(spec, features=4).init_with_output(jax.random.key(0), x)
      >>> y["b"].shape
      (2, 4)
    """

    @property
    def layout(self) -> Layout:
        """Tensors of the same groups, side by side in the channels."""
        return Bundles(self.spec)

    @nn.compact
    def summands(
        self, arrays: Sequence[Array], layout: Layout, constants: Array | None = None
    ) -> list[list[Summand]]:
        """The layer on the arrays of `Bundles`, which hold all channels."""
        del constants
        plan, dtype = plan_for(self.spec), arrays[0].dtype
        channels = arrays[0].shape[-1] // layout.copies[0]
        kernels = []
        for i, m in enumerate(plan.matmuls):
            scale = self._scale(plan, m, channels)
            kernels.append(self.coefficients(f"kernel_{i}", scale, dtype))
        bias = self.bias(plan.tensors, dtype)
        products = _multiply(plan, kernels, _reduce(plan, arrays))
        return _broadcast(plan, products, bias)

    def _scale(
        self, plan: Plan, matmul: Matmul, channels: int
    ) -> Float[np.ndarray, "channels_in channels_out"]:
        """The standard deviations of one matmul's coefficients."""
        blocks = []
        for target, order in matmul.outputs:
            column = []
            for source, _ in matmul.inputs:
                shape = (plan.width(source), plan.width(target))
                if not self.starts_pointwise:
                    terms = plan.terms_into(plan.reductions[target].bundle)
                    column.append(np.full(shape, 1 / math.sqrt(terms * channels)))
                elif plan.is_identity(source, target, order):
                    column.append(np.eye(*shape) / math.sqrt(channels))
                else:
                    column.append(np.zeros(shape))
            blocks.append(np.concatenate(column, 0))
        scale = self.kernel_scale * np.concatenate(blocks, 1)
        return scale.repeat(channels, 0).repeat(self.features, 1)


def _reduce(plan: Plan, arrays: Sequence[Array]) -> list[Array]:
    """The array of each reduction, each made from its parent."""
    values: list[Array] = []
    for r in plan.reductions:
        if r.parent is None:
            values.append(arrays[r.bundle])
        elif len(r.axes) == 1:
            values.append(mean(values[r.parent], *r.axes))
        else:
            values.append(diagonal(values[r.parent], *r.axes))
    return values


def _multiply(plan: Plan, kernels: Sequence[Array], values: Sequence[Array]) -> list[list[Summand]]:
    """The summands that each reduction broadcasts, from one matmul for each signature."""
    products: list[list[Summand]] = [[] for _ in plan.reductions]
    for m, kernel in zip(plan.matmuls, kernels, strict=True):
        x = [values[i].transpose(*order, len(order)) for i, order in m.inputs]
        y = concatenate_once(x, -1) @ kernel
        features = kernel.shape[1] // plan.outputs_of(m)
        start = 0
        for target, order in m.outputs:
            stop = start + plan.width(target) * features
            products[target].append(Summand(y, Shape(channels=(start, stop), order=order)))
            start = stop
    return products


def _broadcast(
    plan: Plan, products: Sequence[list[Summand]], bias: Float[Array, "tensors features"]
) -> list[list[Summand]]:
    """The summands of each bundle's output: each reduction's sum is broadcast to its parent."""
    sums = [list(p) for p in products]
    offsets = np.cumsum([0, *(len(b.names) for b in plan.bundles)])
    outputs: list[list[Summand]] = [[]] * len(plan.bundles)
    for i, r in reversed(list(enumerate(plan.reductions))):
        if not r.kept and all(len(block) == 1 for block in r.averaged):
            sums[i].append(Summand(bias[offsets[r.bundle] : offsets[r.bundle + 1]].reshape(-1)))
        if r.parent is None:
            outputs[r.bundle] = sums[i]
            continue
        total = add(sums[i])
        if len(r.axes) == 1:
            sizes = (*total.shape[: r.axes[0]], 1, *total.shape[r.axes[0] : -1])
            sums[r.parent].append(Summand(total, Shape(sizes=sizes)))
        else:
            sums[r.parent].append(Summand(total, Shape(diagonal=r.axes)))
    return outputs
