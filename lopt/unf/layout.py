"""Arrangements of a weight space's tensors, so that few large operations do a network's work."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lopt.symmetry import PermutationSpec, merge_blocks, split_blocks
from lopt.unf.cpu.once import concatenate_once
from lopt.unf.plan import Bundle, plan_for
from lopt.unf.roles import Stack, stacks_for


class Layout(Protocol):
    """A reversible arrangement of a weight space into a list of arrays."""

    @property
    def copies(self) -> tuple[int, ...]:
        """For each array, how many tensors lie side by side in its channels."""

    def pack(self, tree: PyTree[Array]) -> list[Array]:
        """The arrays of a tree with channels last."""

    def unpack(self, arrays: Sequence[Array]) -> PyTree[Array]:
        """The tree whose arrays these are."""


@dataclass(frozen=True)
class Bundles:
    """Tensors of the same groups, concatenated along channels: one array for each bundle."""

    spec: PermutationSpec

    @property
    def bundles(self) -> tuple[Bundle, ...]:
        return plan_for(self.spec).bundles

    @property
    def copies(self) -> tuple[int, ...]:
        return tuple(len(b.names) for b in self.bundles)

    def pack(self, tree: PyTree[Array]) -> list[Array]:
        """Arrays of shape (*sizes of the groups, tensors * channels)."""
        blocks = split_blocks(self.spec, tree)
        return [
            concatenate_once(
                [
                    blocks[name].transpose(*order, len(order))
                    for name, order in zip(b.names, b.transposes, strict=True)
                ],
                axis=-1,
            )
            for b in self.bundles
        ]

    def unpack(self, arrays: Sequence[Array]) -> PyTree[Array]:
        blocks = {}
        for bundle, x in zip(self.bundles, arrays, strict=True):
            parts = jnp.split(x, len(bundle.names), axis=-1)
            for name, order, part in zip(bundle.names, bundle.transposes, parts, strict=True):
                inverse = sorted(range(len(order)), key=order.__getitem__)
                blocks[name] = part.transpose(*inverse, len(order))
        return merge_blocks(self.spec, blocks)


@dataclass(frozen=True)
class Stacks:
    """Tensors of the same shape and roles, stacked: one array for each stack."""

    spec: PermutationSpec

    @property
    def stacks(self) -> tuple[Stack, ...]:
        return stacks_for(self.spec)

    @property
    def copies(self) -> tuple[int, ...]:
        """One: tensors do not share channels."""
        return (1,) * len(self.stacks)

    def pack(self, tree: PyTree[Array]) -> list[Array]:
        """Arrays of shape (tensors, *shape, channels)."""
        blocks = split_blocks(self.spec, tree)
        rows = {name: x.reshape(1, *x.shape) for name, x in blocks.items()}
        return [concatenate_once([rows[name] for name in s.names], axis=0) for s in self.stacks]

    def unpack(self, arrays: Sequence[Array]) -> PyTree[Array]:
        blocks = {}
        for stack, x in zip(self.stacks, arrays, strict=True):
            for i, name in enumerate(stack.names):
                blocks[name] = jax.lax.index_in_dim(x, i, axis=0, keepdims=False)
        return merge_blocks(self.spec, blocks)
