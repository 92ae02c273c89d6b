"""The interface that all equivariant layers share."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from lopt.base.checks import SIZE
from lopt.base.errors import UserError, suggest
from lopt.symmetry import PermutationSpec, SpecError
from lopt.symmetry.paths import arranged, leaves_with_path, name_of
from lopt.symmetry.spec import require_spec
from lopt.unf.layout import Layout
from lopt.unf.summands import Summand, add

INITS = ("fan_in", "pointwise_first")


class Layer(nn.Module):
    """A linear layer over a weight space that commutes with the permutations of its groups.

    A weight space is a pytree with the structure of the spec, each leaf of shape
    `(*param.shape, channels)`; what comes out has `features` channels instead.

    Attributes:
      spec: the groups of the weight space.
      features: the number of output channels.
      kernel_init: how coefficients start. `"fan_in"`: normal, their variance one over the number
        of channels that enter an output. `"pointwise_first"`: cross terms start at zero, so that
        the layer starts as one that maps each element's own channels.
      use_bias: whether a bias is added.
      kernel_scale: what the first output is multiplied by, through the first coefficients.
    """

    spec: PermutationSpec
    features: int
    kernel_init: str = "fan_in"
    use_bias: bool = True
    kernel_scale: float = 1.0

    @property
    def layout(self) -> Layout:
        """The arrangement of the weight space in which the layer works."""
        raise NotImplementedError

    takes_constants = False
    """Whether `summands` takes channels that are the same everywhere apart from the arrays."""

    def summands(
        self, arrays: Sequence[Array], layout: Layout, constants: Array | None = None
    ) -> list[list[Summand]]:
        """For each array of a layout, summands whose broadcast sum is the layer's output.

        Networks call it to stay in one layout, and to apply a non-linearity while they add.

        Args:
          arrays: of the layout.
          layout: the arrangement of the weight space that they are in.
          constants: if `takes_constants`, the last channels of every element, which the arrays
            leave out.
        """
        raise NotImplementedError

    def __call__(
        self, tree: PyTree[Float[Array, "... channels"]]
    ) -> PyTree[Float[Array, "... features"]]:
        """Map a weight space.

        Args:
          tree: the structure of the spec, each leaf of shape `(*param.shape, channels)`.

        Returns:
          The same structure, each leaf of shape `(*param.shape, features)`.

        Raises:
          SpecError: if the tree does not have the structure and the shapes of the spec, or its
            leaves have different numbers of channels.
          UserError: if there is no initialization of the name `kernel_init`, or features are no
            positive integer.
        """
        channels_of(self.spec, tree)
        SIZE("features", self.features)
        layout = self.layout
        outputs = [add(s) for s in self.summands(layout.pack(tree), layout)]
        return arranged(layout.unpack(outputs), like=tree)

    def coefficients(self, name: str, scale: Float[np.ndarray, "..."], dtype: jnp.dtype) -> Array:
        """Meta-parameters that start normal with the given standard deviations."""

        def init(key: Array) -> Array:
            return jax.random.normal(key, scale.shape) * jnp.asarray(scale)

        return self.param(name, init).astype(dtype)

    def bias(self, count: int, dtype: jnp.dtype) -> Float[Array, "count features"]:
        """Bias vectors that start at zero; zeros without a bias."""
        shape = (count, self.features)
        if not self.use_bias:
            return jnp.zeros(shape, dtype)
        return self.param("bias", nn.initializers.zeros, shape).astype(dtype)

    @property
    def starts_pointwise(self) -> bool:
        """Whether cross terms start at zero."""
        if self.kernel_init not in INITS:
            hint = suggest(self.kernel_init, INITS)
            raise UserError(f"no kernel_init {self.kernel_init!r}; {hint}")
        return self.kernel_init == "pointwise_first"


def channels_of(spec: PermutationSpec, tree: PyTree[Array]) -> int:
    """The number of channels of a weight space; raises `SpecError` if it does not fit the spec."""
    require_spec(spec).validate(tree, trailing=1)
    leaves = leaves_with_path(tree)
    if not any(x.size for _, x in leaves):
        raise SpecError("a weight space needs at least one parameter, and this one has none")
    (first, x), *others = leaves
    for path, y in others:
        if y.shape[-1] != x.shape[-1]:
            raise SpecError(
                f"{name_of(path)} has {y.shape[-1]} channels and {name_of(first)} has "
                f"{x.shape[-1]}; all tensors of a weight space need the same number"
            )
    return x.shape[-1]


def with_channels(
    x: Float[Array, "... channels"], constants: Float[Array, " some"]
) -> Float[Array, "... channels_and_some"]:
    """An array with further channels that are the same at every element."""
    everywhere = jnp.broadcast_to(constants, (*x.shape[:-1], *constants.shape))
    return jnp.concatenate([x, everywhere.astype(x.dtype)], -1)
