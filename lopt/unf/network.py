"""Networks over weight spaces: equivariant, and invariant."""

from collections.abc import Callable, Sequence

import flax.linen as nn
from jaxtyping import Array, Float, PyTree

from lopt.errors import UserError, suggest
from lopt.symmetry import PermutationSpec
from lopt.unf.exact import ExactLayer
from lopt.unf.layer import channels_of
from lopt.unf.pointwise import PointwiseLayer
from lopt.unf.relational import RelationalLayer
from lopt.unf.views import add

LAYERS = {"exact": ExactLayer, "relational": RelationalLayer, "pointwise": PointwiseLayer}


class UNF(nn.Module):
    """A universal neural functional: equivariant layers with non-linearities between.

    Attributes:
      spec: the groups of the weight space.
      features: the number of channels after each layer.
      layers: the kind of each layer, or one for all: "exact", "relational", "pointwise".
        The hybrid of the paper is pointwise layers and a last exact one.
      activation: applied between layers, not after the last.
      kernel_init: as in `Layer`.
    """

    spec: PermutationSpec
    features: Sequence[int]
    layers: str | Sequence[str] = "relational"
    activation: Callable[[Array], Array] = nn.relu
    kernel_init: str = "fan_in"

    def kinds(self) -> tuple[str, ...]:
        """The kind of each layer."""
        kinds = (
            (self.layers,) * len(self.features)
            if isinstance(self.layers, str)
            else tuple(self.layers)
        )
        for kind in kinds:
            if kind not in LAYERS:
                raise UserError(f"no layer {kind!r}; {suggest(kind, LAYERS)}")
        if len(kinds) != len(self.features):
            raise UserError(
                f"{len(kinds)} layers and {len(self.features)} features; give one for each layer"
            )
        return kinds

    @nn.compact
    def __call__(
        self, tree: PyTree[Float[Array, "... channels"]]
    ) -> PyTree[Float[Array, "... features"]]:
        """Map a weight space."""
        channels_of(self.spec, tree)
        layers = [
            LAYERS[kind](self.spec, n, self.kernel_init)
            for kind, n in zip(self.kinds(), self.features, strict=True)
        ]
        layout = next(
            (x.layout for x in layers if not isinstance(x, PointwiseLayer)), layers[0].layout
        )
        arrays = layout.pack(tree)
        for i, layer in enumerate(layers):
            if not isinstance(layer, PointwiseLayer) and layer.layout != layout:
                arrays = layer.layout.pack(layout.unpack(arrays))
                layout = layer.layout
            activation = None if i == len(layers) - 1 else self.activation
            arrays = [add(s, activation) for s in layer.summands(arrays, layout)]
        return layout.unpack(arrays)
