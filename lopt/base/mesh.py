"""Arrays that lie divided over the devices of a mesh."""

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental.shard_alike import shard_alike
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, PyTree


def mesh_of(tree: PyTree[Array], *kinds: AxisType) -> AbstractMesh | None:
    """The mesh over which arrays lie, traced or not, if it has axes of these kinds.

    Without a mesh, and within `jax.shard_map`, where each device sees its own part, it is None.
    """
    for x in jax.tree.leaves(tree):
        mesh = jax.typeof(x).sharding.mesh
        if not set(kinds or (AxisType.Auto, AxisType.Explicit)).isdisjoint(mesh.axis_types):
            return mesh
    return None


def gathered(tree: PyTree[Array], like: PyTree[Array] | None = None) -> PyTree[Array]:
    """Arrays that are whole on each device, where the compiler divides work over a mesh.

    Small arrays that follow from large ones are best whole: the compiler divides them as the large
    ones are, and then exchanges them in each operation that needs them otherwise. Where the arrays
    are constants, `like` are some that lie over the mesh.
    """
    given = None if like is None else mesh_of(like, AxisType.Auto)

    def whole(x: Array) -> Array:
        mesh = given or mesh_of(x, AxisType.Auto)
        if mesh is None or not isinstance(x, jax.core.Tracer):  # JAX constrains traced arrays only
            return x
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, P()))

    return jax.tree.map(whole, tree)


def laid_out_like(x: Float[Array, "..."], like: Array) -> Float[Array, "..."]:
    """An array of the same shape as another, divided as it is, also if it is a constant."""
    # Zeros made from a shape are constants, which JAX would lay out whole on each device.
    if not isinstance(like, jax.core.Tracer) or mesh_of(like, AxisType.Auto) is None:
        return x
    return shard_alike(x, like)[0]


def by_compiler(function: Callable[..., Any], *args: Any, like: Any) -> Any:
    """`function(*args)`, with the compiler to divide what is computed, over all axes of the mesh.

    Axes that were explicit (`jax.sharding.AxisType.Explicit`) are so again for the results, which
    then lie as `like`, arrays in their structure.
    """
    mesh = mesh_of(args, AxisType.Explicit)
    if mesh is None:
        return function(*args)
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    explicit = tuple(name for name, kind in kinds if kind == AxisType.Explicit)
    everywhere = NamedSharding(mesh, P())

    def layout(x: Array) -> NamedSharding:
        sharding = jax.typeof(x).sharding
        return everywhere if sharding.mesh.empty else sharding

    out = jax.tree.map(layout, like)
    return jax.sharding.auto_axes(function, axes=explicit, out_sharding=out)(*args)
