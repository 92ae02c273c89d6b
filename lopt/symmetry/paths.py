"""Where the tensors of a tree are, whichever containers it is made of."""

from collections.abc import Hashable
from typing import Any

import jax
from flax import nnx
from flax.core.meta import AxisMetadata
from jaxtyping import PyTree

Path = tuple[Hashable, ...]
"""The keys, fields and indices from a tree's root to a tensor."""


def leaves_with_path(tree: PyTree[Any]) -> list[tuple[Path, Any]]:
    """(path, leaf) of each leaf, in the order of `jax.tree.leaves`.

    A path tells keys, fields and indices, not kinds of containers. Flax NNX hands out a model's
    params as variables or as bare arrays, and linen's partitioned params come in boxes; arrays are
    at the path of the variable or the box.

    >>> from flax import nnx
    >>> leaves_with_path({"dense": [1.0, nnx.Param(2.0)]})
    [(('dense', 0), 1.0), (('dense', 1), 2.0)]
    """
    found = []
    for path, leaf in jax.tree.leaves_with_path(tree, is_leaf=_is_box):
        plain = tuple(map(_plain, path))
        if _is_box(leaf):
            inner = jax.tree.leaves_with_path(leaf)
            found += [((*plain, *map(_plain, rest)), value) for (_, *rest), value in inner]
        else:
            found.append((plain, leaf))
    return found


def arranged(tree: PyTree[Any], like: PyTree[Any]) -> PyTree[Any]:
    """The leaves of a tree in the structure of another one, which has the same paths."""
    leaves = dict(leaves_with_path(tree))
    ordered = [leaves[path] for path, _ in leaves_with_path(like)]
    return jax.tree.unflatten(jax.tree.structure(like), ordered)


def unboxed(tree: PyTree[Any]) -> PyTree[Any]:
    """A tree with bare arrays in place of variables and boxes.

    >>> from flax import nnx
    >>> unboxed({"dense": [1.0, nnx.Param(2.0)]})
    {'dense': [1.0, 2.0]}
    """
    return jax.tree.map(_content, tree, is_leaf=_is_box)


def boxed(tree: PyTree[Any], like: PyTree[Any]) -> PyTree[Any]:
    """The inverse of `unboxed`: arrays in the variables and boxes of another tree; None stays."""

    def one(box: Any, value: Any) -> Any:
        leaves = jax.tree.leaves(value)
        if not _is_box(box) or not leaves:
            return value
        return jax.tree.unflatten(jax.tree.structure(box), leaves)

    return jax.tree.map(one, like, tree, is_leaf=_is_box)


def name_of(path: Path) -> str:
    """A path as people write it: `params/Dense_0/kernel`."""
    return "/".join(map(str, path))


def _is_box(node: Any) -> bool:
    return isinstance(node, nnx.Variable | AxisMetadata)


def _content(node: Any) -> Any:
    if not _is_box(node):
        return node
    return node.get_value() if isinstance(node, nnx.Variable) else node.unbox()


def _plain(entry: Any) -> Hashable:
    for attribute in ("key", "idx", "name"):
        if hasattr(entry, attribute):
            return getattr(entry, attribute)
    return entry
