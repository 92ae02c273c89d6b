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
    found: dict[str, Array] = {}
    for path, axes, blocks in all_blocks(spec):
        parts = _split(leaves[path], tuple(axes), 0, spec)
        for (name, groups), part in zip(blocks, parts, strict=True):
            if _has_elements(groups, spec):
                found[name] = part
    return found


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


def _split(x: Array, axes: tuple[Axis, ...], i: int, spec: PermutationSpec) -> list[Array]:
    if i == len(axes):
        return [x]
    axis, before, behind = axes[i], axes[:i], axes[i + 1 :]
    if isinstance(axis, Product):
        sizes = tuple(size_of(f, spec.sizes) for f in axis.factors)
        x = x.reshape(*x.shape[:i], *sizes, *x.shape[i + 1 :])
        return _split(x, before + axis.factors + behind, i, spec)
    if isinstance(axis, Sum):
        stops = [*itertools.accumulate(size_of(part, spec.sizes) for part in axis.parts)]
        return [
            block
            for part, start, stop in zip(axis.parts, [0, *stops], stops, strict=False)
            for block in _split(
                jax.lax.slice_in_dim(x, start, stop, axis=i), (*before, part, *behind), i, spec
            )
        ]
    return _split(x, axes, i + 1, spec)


def _merge(blocks: Iterator[Array], axes: tuple[Axis, ...], i: int, spec: PermutationSpec) -> Array:
    if i == len(axes):
        return next(blocks)
    axis, before, behind = axes[i], axes[:i], axes[i + 1 :]
    if isinstance(axis, Product):
        x = _merge(blocks, before + axis.factors + behind, i, spec)
        rest = x.shape[i + len(axis.factors) :]
        return x.reshape(*x.shape[:i], size_of(axis, spec.sizes), *rest)
    if isinstance(axis, Sum):
        parts = [_merge(blocks, (*before, part, *behind), i, spec) for part in axis.parts]
        return jnp.concatenate(parts, axis=i)
    return _merge(blocks, axes, i + 1, spec)
