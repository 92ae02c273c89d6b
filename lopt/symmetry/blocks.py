"""Tensors whose every axis is one plain group: composite axes split apart, and merged again."""

import itertools
from collections.abc import Iterable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lopt.symmetry.axes import Axes, Axis, Product, Sum, fold, size_of
from lopt.symmetry.paths import Path, leaves_with_path, name_of
from lopt.symmetry.spec import PermutationSpec, require_spec

Groups = tuple[str, ...]
Part = tuple[tuple[int, str], ...]


def block_groups(spec: PermutationSpec) -> dict[str, Groups]:
    """The groups of each block's axes; the keys are those of `split_blocks`'s result.

    A tensor with plain axes is one block, named by its path. A merged axis becomes several axes; a
    tensor with concatenated axes becomes several blocks, named `path#0`, `path#1`, ... Where two
    names would be the same, the later one gets primes. Blocks without elements are left out.

    Raises:
      SpecError: if the spec is not a `PermutationSpec`.
    """
    return {
        name: groups
        for _, _, blocks in all_blocks(spec)
        for name, groups in blocks
        if _has_elements(groups, spec)
    }


def split_blocks(spec: PermutationSpec, tree: PyTree[Array]) -> dict[str, Array]:
    """The tensors of `tree` as blocks; axes behind those of the spec (channels) stay last."""
    leaves = dict(leaves_with_path(tree))
    return {
        name: part
        for path, axes, blocks in all_blocks(spec)
        for (name, groups), part in zip(
            blocks, _split(leaves[path], tuple(axes), 0, spec), strict=True
        )
        if _has_elements(groups, spec)
    }


def merge_blocks(spec: PermutationSpec, blocks: dict[str, Array]) -> PyTree[Array]:
    """The inverse of `split_blocks`: a pytree with the structure of the spec."""
    filled = ((blocks[name], groups) for name, groups in block_groups(spec).items())
    example, its_groups = next(filled, (jnp.zeros(()), ()))
    trailing = example.shape[len(its_groups) :]

    def block(name: str, groups: Groups) -> Array:
        if name in blocks:
            return blocks[name]
        return jnp.zeros((*(spec.sizes[g] for g in groups), *trailing), example.dtype)

    leaves = [
        _merge((block(*named) for named in parts), tuple(axes), 0, spec)
        for _, axes, parts in all_blocks(spec)
    ]
    return jax.tree.unflatten(jax.tree.structure(spec.axes), leaves)


def _has_elements(groups: Groups, spec: PermutationSpec) -> bool:
    return all(spec.sizes[g] for g in groups)


def all_blocks(spec: PermutationSpec) -> Iterator[tuple[Path, Axes, list[tuple[str, Groups]]]]:
    """Each tensor's path and axes, and the name and the groups of each of its blocks."""
    taken: set[str] = set()
    for path, axes in require_spec(spec).entries:
        parts = [tuple(group for _, group in part) for part in parts_of(axes)]
        named = []
        for i, groups in enumerate(parts):
            name = name_of(path) if len(parts) == 1 else f"{name_of(path)}#{i}"
            while name in taken:
                name += "'"
            taken.add(name)
            named.append((name, groups))
        yield path, axes, named


def parts_of(axes: Axes) -> list[Part]:
    """The axes of each block of a tensor, each by the tensor's axis that it is in and its group."""

    def product(factors: Iterable[list[Part]]) -> list[Part]:
        return [tuple(itertools.chain(*some)) for some in itertools.product(*factors)]

    def total(parts: Iterable[list[Part]]) -> list[Part]:
        return list(itertools.chain(*parts))

    def one(i: int, group: str) -> list[Part]:
        return [((i, group),)]

    return product(fold(axis, partial(one, i), product, total) for i, axis in enumerate(axes))


def _split(x: Array, axes: tuple[Axis, ...], i: int, spec: PermutationSpec) -> Iterator[Array]:
    if i == len(axes):
        yield x
        return
    axis = axes[i]
    if isinstance(axis, Product):
        factors = axis.factors
        sizes = tuple(size_of(f, spec.sizes) for f in factors)
        x = x.reshape(*x.shape[:i], *sizes, *x.shape[i + 1 :])
        yield from _split(x, axes[:i] + factors + axes[i + 1 :], i, spec)
    elif isinstance(axis, Sum):
        start = 0
        for part in axis.parts:
            stop = start + size_of(part, spec.sizes)
            piece = jax.lax.slice_in_dim(x, start, stop, axis=i)
            yield from _split(piece, (*axes[:i], part, *axes[i + 1 :]), i, spec)
            start = stop
    else:
        yield from _split(x, axes, i + 1, spec)


def _merge(parts: Iterator[Array], axes: tuple[Axis, ...], i: int, spec: PermutationSpec) -> Array:
    if i == len(axes):
        return next(parts)
    axis = axes[i]
    if isinstance(axis, Product):
        factors = axis.factors
        x = _merge(parts, axes[:i] + factors + axes[i + 1 :], i, spec)
        size = size_of(axis, spec.sizes)
        return x.reshape(*x.shape[:i], size, *x.shape[i + len(factors) :])
    if isinstance(axis, Sum):
        pieces = [_merge(parts, (*axes[:i], part, *axes[i + 1 :]), i, spec) for part in axis.parts]
        return jnp.concatenate(pieces, axis=i)
    return _merge(parts, axes, i + 1, spec)
