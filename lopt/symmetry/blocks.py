"""Tensors whose every axis is one plain group: composite axes split apart, and merged again."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lopt.symmetry.axes import Axis, Product, Sum, size_of
from lopt.symmetry.spec import PermutationSpec, name_of

Groups = tuple[str, ...]


def block_groups(spec: PermutationSpec) -> dict[str, Groups]:
    """The groups of each block's axes; the keys are those of `split`'s result.

    A tensor with plain axes is one block, named by its path. A merged axis becomes several axes; a
    tensor with concatenated axes becomes several blocks, named `path#0`, `path#1`, ...
    """
    blocks = {}
    for path, axes in spec.entries:
        parts = list(_parts(tuple(axes)))
        for i, groups in enumerate(parts):
            blocks[_name(name_of(path), i, len(parts))] = groups
    return blocks


def split(spec: PermutationSpec, tree: PyTree[Array]) -> dict[str, Array]:
    """The tensors of `tree` as blocks; axes behind those of the spec (channels) stay last."""
    blocks = {}
    for (path, axes), x in zip(spec.entries, jax.tree.leaves(tree), strict=True):
        parts = list(_split(x, tuple(axes), 0, spec))
        for i, part in enumerate(parts):
            blocks[_name(name_of(path), i, len(parts))] = part
    return blocks


def merge(spec: PermutationSpec, blocks: dict[str, Array]) -> PyTree[Array]:
    """The inverse of `split`: a pytree with the structure of the spec."""
    leaves = []
    for path, axes in spec.entries:
        count = len(list(_parts(tuple(axes))))
        parts = iter([blocks[_name(name_of(path), i, count)] for i in range(count)])
        leaves.append(_merge(parts, tuple(axes), 0, spec))
    return jax.tree.unflatten(jax.tree.structure(spec.axes), leaves)


def _name(path: str, index: int, count: int) -> str:
    return path if count == 1 else f"{path}#{index}"


def _parts(axes: tuple[Axis, ...]) -> Iterator[Groups]:
    for i, axis in enumerate(axes):
        if isinstance(axis, Product):
            yield from _parts(axes[:i] + axis.factors + axes[i + 1 :])
            return
        if isinstance(axis, Sum):
            for part in axis.parts:
                yield from _parts((*axes[:i], part, *axes[i + 1 :]))
            return
    yield axes


def _split(x: Array, axes: tuple[Axis, ...], i: int, spec: PermutationSpec) -> Iterator[Array]:
    if i == len(axes):
        yield x
    elif isinstance(axes[i], Product):
        factors = axes[i].factors
        sizes = tuple(size_of(f, spec.sizes) for f in factors)
        x = x.reshape(*x.shape[:i], *sizes, *x.shape[i + 1 :])
        yield from _split(x, axes[:i] + factors + axes[i + 1 :], i, spec)
    elif isinstance(axes[i], Sum):
        start = 0
        for part in axes[i].parts:
            stop = start + size_of(part, spec.sizes)
            piece = jax.lax.slice_in_dim(x, start, stop, axis=i)
            yield from _split(piece, (*axes[:i], part, *axes[i + 1 :]), i, spec)
            start = stop
    else:
        yield from _split(x, axes, i + 1, spec)


def _merge(parts: Iterator[Array], axes: tuple[Axis, ...], i: int, spec: PermutationSpec) -> Array:
    if i == len(axes):
        return next(parts)
    if isinstance(axes[i], Product):
        factors = axes[i].factors
        x = _merge(parts, axes[:i] + factors + axes[i + 1 :], i, spec)
        size = size_of(axes[i], spec.sizes)
        return x.reshape(*x.shape[:i], size, *x.shape[i + len(factors) :])
    if isinstance(axes[i], Sum):
        pieces = [
            _merge(parts, (*axes[:i], part, *axes[i + 1 :]), i, spec) for part in axes[i].parts
        ]
        return jnp.concatenate(pieces, axis=i)
    return _merge(parts, axes, i + 1, spec)
