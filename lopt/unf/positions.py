"""Learned embeddings of positions, where the order of a small fixed axis means something."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lopt.symmetry import Axes, PermutationSpec
from lopt.symmetry.roles import COARSE_ROLES, coarse_roles


class PositionEmbedding(nn.Module):
    """Add to each element the embeddings of its positions on the small fixed axes.

    An axis is embedded if its group is fixed and no larger than `max_positions`, as those of
    convolution space are. There is one table for each role, so that meta-parameters do not depend
    on the spec; spatial axes of different sizes share their center. The layers that follow remain
    equivariant to the true groups, and are so no longer to the embedded ones.

    Attributes:
      spec: the groups of the weight space.
      max_positions: the size of the tables.
    """

    spec: PermutationSpec
    max_positions: int

    @nn.compact
    def __call__(
        self, tree: PyTree[Float[Array, "... channels"]]
    ) -> PyTree[Float[Array, "... channels"]]:
        """The tree with embeddings added; shapes stay as they are."""
        leaves = jax.tree.leaves(tree)
        shape = (self.max_positions, leaves[0].shape[-1])
        tables = {
            role: self.param(role, nn.initializers.normal(0.02), shape).astype(leaves[0].dtype)
            for role in COARSE_ROLES
        }
        embedded = [
            self._embed(axes, roles, x, tables)
            for (_, axes), roles, x in zip(
                self.spec.entries, coarse_roles(self.spec), leaves, strict=True
            )
        ]
        return jax.tree.unflatten(jax.tree.structure(tree), embedded)

    def _embed(
        self, axes: Axes, roles: tuple[str, ...], x: Array, tables: dict[str, Array]
    ) -> Array:
        for i, (axis, role) in enumerate(zip(axes, roles, strict=True)):
            size = x.shape[i]
            if axis in self.spec.fixed and size <= self.max_positions:
                start = (self.max_positions - size) // 2 if role == "spatial" else 0
                rows = tables[role][start : start + size]
                x = x + jnp.expand_dims(rows, range(1, x.ndim - 1 - i))
        return x
