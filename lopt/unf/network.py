"""Networks over weight spaces: equivariant, and invariant."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lopt.base.checks import SIZE, named, sequence
from lopt.base.errors import UserError, suggest
from lopt.symmetry import PermutationSpec
from lopt.symmetry.paths import arranged
from lopt.unf.cpu.activation import relu
from lopt.unf.cpu.averages import mean
from lopt.unf.exact import ExactLayer
from lopt.unf.layer import channels_of, with_channels
from lopt.unf.pointwise import PointwiseLayer
from lopt.unf.relational import RelationalLayer
from lopt.unf.summands import add

LAYERS = {"exact": ExactLayer, "relational": RelationalLayer, "pointwise": PointwiseLayer}
POOLINGS = ("tensors", "network")


def layer_kinds(layers: str | Sequence[str], count: int) -> tuple[str, ...]:
    """The kind of each of `count` layers, from one for all or one for each; else a `UserError`."""
    kind = named("layer", LAYERS)
    if isinstance(layers, str):
        kinds = (kind("layers", layers),) * count
    else:
        kinds = sequence(kind)("layers", layers)
    if not kinds or len(kinds) != count:
        raise UserError(
            f"{len(kinds)} layers and {count} features; give one or more layers, "
            "and the features of each"
        )
    return kinds


class UNF(nn.Module):
    """A universal neural functional: equivariant layers with non-linearities between.

    It takes and returns a pytree with the structure of the spec, each leaf of shape
    `(*param.shape, channels)`, and commutes with the permutations of the spec's true groups
    (Zhou, Finn & Harrison, arXiv 2402.05232).

    Attributes:
      spec: the groups of the weight space.
      features: the number of channels after each layer.
      layers: the kind of each layer, or one for all: `"exact"`, `"relational"` or `"pointwise"`.
        The hybrid of the paper is pointwise layers and then one exact layer.
      activation: applied between layers, not after the last.
      kernel_init: how coefficients start, as in `Layer`.
      output_scale: what the first output is multiplied by, as `kernel_scale` of the last layer.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from lopt.symmetry import Axes, PermutationSpec
      >>> spec = PermutationSpec({"w": Axes("in", "out"), "b": Axes("out")}, {"in": 3, "out": 2})
      >>> x = {"w": jnp.ones((3, 2, 1)), "b": jnp.ones((2, 1))}
      >>> net = UNF(spec, features=(16, 16, 1), layers=("pointwise", "pointwise", "exact"))
      >>> y, theta = net.init_with_output(jax.random.key(0), x)
      >>> y["w"].shape
      (3, 2, 1)
    """

    spec: PermutationSpec
    features: Sequence[int]
    layers: str | Sequence[str] = "relational"
    activation: Callable[[Array], Array] = relu
    kernel_init: str = "fan_in"
    output_scale: float = 1.0

    @nn.compact
    def __call__(
        self,
        tree: PyTree[Float[Array, "... channels"]],
        constants: Float[Array, " more_channels"] | None = None,
    ) -> PyTree[Float[Array, "... features"]]:
        """Map a weight space.

        Args:
          tree: the structure of the spec, each leaf of shape `(*param.shape, channels)`.
          constants: further channels that are the same at every element of every leaf, such as
            the time. The result is that of a tree that has them as its last channels; where the
            first layer can, it takes them as a bias, at no cost for each element.

        Returns:
          The same structure, each leaf of shape `(*param.shape, features[-1])`.

        Raises:
          SpecError: if the tree does not have the structure and the shapes of the spec, or its
            leaves have different numbers of channels.
          UserError: if a layer or an initialization has a name that does not exist, there are not
            as many layers as features, or features are not a sequence of positive integers.
        """
        channels_of(self.spec, tree)
        features = sequence(SIZE)("features", self.features)
        kinds = layer_kinds(self.layers, len(features))
        scales = (*[1.0] * (len(kinds) - 1), self.output_scale)
        layers = [
            LAYERS[kind](self.spec, n, self.kernel_init, kernel_scale=scale)
            for kind, n, scale in zip(kinds, features, scales, strict=True)
        ]
        own = arranged(tree, like=self.spec.axes)
        if constants is not None and not layers[0].takes_constants:
            last, constants = constants, None
            own = jax.tree.map(lambda x: with_channels(x, last), own)
        layout = next((x for x in layers if not isinstance(x, PointwiseLayer)), layers[0]).layout
        arrays = layout.pack(own)
        for i, layer in enumerate(layers):
            if not isinstance(layer, PointwiseLayer) and layer.layout != layout:
                arrays = layer.layout.pack(layout.unpack(arrays))
                layout = layer.layout
            activation = None if i == len(layers) - 1 else self.activation
            summands = layer.summands(arrays, layout, None if i else constants)
            arrays = [add(parts, activation) for parts in summands]
        return arranged(layout.unpack(arrays), like=tree)


class InvariantUNF(nn.Module):
    """A vector from a weight space, unchanged by the permutations of the spec's true groups.

    Equivariant layers, then the mean over the elements of each tensor, which pools every group
    away, then a multilayer perceptron.

    Attributes:
      spec: the groups of the weight space.
      features: the number of channels after each equivariant layer.
      outputs: the width of each layer of the perceptron; the last is that of the result, and none
        at all hands out what is pooled.
      layers: the kinds of the equivariant layers, as in `UNF`.
      pooling: `"tensors"` hands the perceptron each tensor's mean, so that its coefficients are
        tied to the spec; `"network"` their mean, so that they fit any spec.
      activation: applied after each layer but the last.
      kernel_init: how equivariant layers start, as in `Layer`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from lopt.symmetry import Axes, PermutationSpec
      >>> spec = PermutationSpec({"w": Axes("in", "out"), "b": Axes("out")}, {"in": 3, "out": 2})
      >>> x = {"w": jnp.ones((3, 2, 1)), "b": jnp.ones((2, 1))}
      >>> net = InvariantUNF(spec, features=(16, 16), outputs=(32, 1))
      >>> y, theta = net.init_with_output(jax.random.key(0), x)
      >>> y.shape
      (1,)
    """

    spec: PermutationSpec
    features: Sequence[int]
    outputs: Sequence[int]
    layers: str | Sequence[str] = "relational"
    pooling: str = "tensors"
    activation: Callable[[Array], Array] = relu
    kernel_init: str = "fan_in"

    @nn.compact
    def __call__(self, tree: PyTree[Float[Array, "... channels"]]) -> Float[Array, " outputs"]:
        """Map a weight space to a vector.

        Args:
          tree: the structure of the spec, each leaf of shape `(*param.shape, channels)`.

        Returns:
          A vector of length `outputs[-1]`, or of what is pooled.

        Raises:
          SpecError: as in `UNF`.
          UserError: as in `UNF`, and if there is no pooling of the name.
        """
        if self.pooling not in POOLINGS:
            raise UserError(f"no pooling {self.pooling!r}; {suggest(self.pooling, POOLINGS)}")
        outputs = sequence(SIZE)("outputs", self.outputs)
        tree = UNF(self.spec, self.features, self.layers, self.activation, self.kernel_init)(tree)
        leaves = [leaf for leaf in jax.tree.leaves(tree) if leaf.size]
        x = jnp.stack([mean(x.reshape(-1, x.shape[-1]), 0) for x in map(self.activation, leaves)])
        x = x.reshape(-1) if self.pooling == "tensors" else jnp.mean(x, 0)
        for i, width in enumerate(outputs):
            x = nn.Dense(width, dtype=x.dtype)(self.activation(x) if i else x)
        return x
