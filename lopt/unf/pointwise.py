"""The pointwise layer: each element's own channels, as in Deep Sets without the pooling."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lopt.unf.layer import Layer
from lopt.unf.layout import Layout, Stacks
from lopt.unf.summands import Summand, map_channels


class PointwiseLayer(Layer):
    """One linear map of the channels, the same at every element of every tensor.

    .. math:: y_t[i] = x_t[i] W + b

    Its meta-parameters depend only on channel counts, so that they fit any weight space.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from lopt.symmetry import Axes, PermutationSpec
      >>> spec = PermutationSpec({"w": Axes("in", "out"), "b": Axes("out")}, {"in": 3, "out": 2})
      >>> x = {"w": jnp.ones((3, 2, 5)), "b": jnp.ones((2, 5))}
      >>> y, theta = PointwiseLayer(spec, features=4).init_with_output(jax.random.key(0), x)
      >>> y["w"].shape
      (3, 2, 4)
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
        """The layer on the arrays of any layout."""
        own = arrays[0].shape[-1] // layout.copies[0]
        channels = own + (0 if constants is None else len(constants))
        dtype = arrays[0].dtype
        scale = np.full((channels, self.features), self.kernel_scale / math.sqrt(channels))
        kernel = self.coefficients("kernel", scale, dtype)
        bias = self.bias(1, dtype)[0]
        if constants is not None:
            kernel, bias = kernel[:own], bias + constants @ kernel[own:]
        return [
            [map_channels(x, kernel), Summand(jnp.tile(bias, n))]
            for x, n in zip(arrays, layout.copies, strict=True)
        ]
