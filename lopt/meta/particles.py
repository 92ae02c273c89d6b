"""Antithetic perturbations of theta, what is measured with them, and where they lie.

Particles lie along one leading axis: all `theta + noise`, then all `theta - noise`. On a mesh of
`particle_mesh` the first half of the devices holds the former and the second half the latter: both
particles of a pair, and what belongs to the pair, are at the same place of their halves. What is
made of a pair for its particles, and the other way round, then never leaves a device.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, PyTree

from lopt.base.errors import UserError
from lopt.meta.estimator import Metrics, Problem, Theta
from lopt.meta.unroll import Losses

SIGN, PAIR = "sign", "pair"
"""The axes of a mesh: the two halves of the particles, and the pairs within a half.

On one device particles have one axis for both, since matrix products with two batch axes are slow
on the CPU ("The program of a meta-step" in docs/research-log.md).
"""


def particle_mesh(particles: int) -> Mesh | None:
    """A mesh over all devices of all processes; None where there is but one device.

    An even number of devices is halved: one half for each sign of the perturbations. A `UserError`
    if the particles, inner runs at a time, cannot be spread evenly.
    """
    devices = np.array(jax.devices())
    if devices.size == 1:
        return None
    if particles % devices.size:
        raise UserError(
            f"{particles} particles cannot be spread over {devices.size} devices; let the "
            f"estimator's pairs be a multiple of {devices.size // np.gcd(devices.size, 2)}"
        )
    if devices.size % 2:
        return Mesh(devices, (PAIR,))
    return Mesh(devices.reshape(2, -1), (SIGN, PAIR))


def normal_like(problem: Problem, key: Array, theta: Theta, pairs: int, sigma: float) -> Theta:
    """Independent Gaussian perturbations of theta, one per pair, along a new leading axis."""
    # one draw for all tensors compiles in a fraction of the time that one for each takes
    # ("The program of a meta-step" in docs/research-log.md)
    flat, unravel = ravel_pytree(theta)
    noise = sigma * jax.random.normal(key, (pairs, flat.size), flat.dtype)
    if mesh := _halves(problem):
        spread = NamedSharding(mesh, PartitionSpec(PAIR))
        noise = jax.lax.with_sharding_constraint(noise, spread)
    return jax.vmap(unravel)(noise)


def antithetic(problem: Problem, theta: Theta, noise: Theta) -> Theta:
    """All `theta + noise`, then all `theta - noise`: one leading axis of particles, two a pair."""
    mesh = _halves(problem)
    if mesh is None:
        return jax.tree.map(lambda t, e: jnp.concatenate([t + e, t - e]), theta, noise)

    def here(theta: Theta, noise: Theta) -> Theta:
        sign = _sign()
        return jax.tree.map(lambda t, e: t + sign.astype(e.dtype) * e, theta, noise)

    specs = (PartitionSpec(), PartitionSpec(PAIR))
    return _on_devices(mesh, here, specs, _particles(mesh))(theta, noise)


def twice(problem: Problem, tree: PyTree[Array]) -> PyTree[Array]:
    """Arrays of pairs, once for each of their two particles, in the order of `antithetic`."""
    mesh = _halves(problem)
    if mesh is None:
        return jax.tree.map(lambda x: jnp.concatenate([x, x]), tree)
    same = _on_devices(mesh, lambda x: x, (PartitionSpec(PAIR),), _particles(mesh))
    return same(tree)


def per_pair(problem: Problem, tree: PyTree[Array]) -> PyTree[Array]:
    """The inverse of `twice`: arrays that both particles of a pair have alike, once a pair."""
    mesh = _halves(problem)
    if mesh is None:
        return jax.tree.map(lambda x: x[: x.shape[0] // 2], tree)
    same = _on_devices(mesh, lambda x: x, (_particles(mesh),), PartitionSpec(PAIR))
    return same(tree)


def over_particles(
    problem: Problem, function: Callable[..., Any], *particles: Any, alike: tuple[Any, ...] = ()
) -> Any:
    """Call `function(task, *alike, *particle)` for every particle: vmapped, spread over the mesh.

    Particles lie along a leading axis, a multiple of the mesh's size. The function must take
    traced arrays as arguments, and not from where it is defined.
    """
    spec = None if problem.mesh is None else _particles(problem.mesh)
    return _over(problem, function, spec, alike, particles)


def over_pairs(
    problem: Problem, function: Callable[..., Any], *pairs: Any, alike: tuple[Any, ...] = ()
) -> Any:
    """As `over_particles`, once for both particles of a pair."""
    return _over(problem, function, PartitionSpec(PAIR) if _halves(problem) else None, alike, pairs)


def measure(
    problem: Problem, losses: Losses, limit: float
) -> tuple[Float[Array, " particles"], Bool[Array, " particles"], Metrics]:
    """The meta-loss of each particle, and whether it is lost.

    Losses are held at `limit`, in scaled losses, which stands for NaN as well. A particle is lost
    if its last loss is above the limit and no lower than its first: it is not on the way back.
    """
    scaled = losses.values / problem.scale
    above = ~(scaled < limit)
    capped = jnp.where(above, limit, scaled)
    means = problem.objective(capped, losses.fraction).mean(1)
    diverged = above[:, -1]
    lost = diverged & ~(scaled[:, -1] < scaled[:, 0])
    return means, lost, Metrics(means.mean(), diverged.mean(), scaled.size)


def both(problem: Problem, flags: Bool[Array, " particles"]) -> Bool[Array, " particles"]:
    """Whether a flag is set for both particles of the pair that each belongs to."""
    mesh = _halves(problem)
    if mesh is None:
        plus, minus = jnp.split(flags, 2)
        return twice(problem, plus & minus)

    def here(flags: Bool[Array, " particles"]) -> Bool[Array, " particles"]:
        return jax.lax.psum(flags.astype(jnp.float32), SIGN) == 2

    spec = _particles(mesh)
    return _on_devices(mesh, here, (spec,), spec)(flags)


def es_gradient(
    problem: Problem, noise: Theta, means: Float[Array, " particles"], sigma: float
) -> Theta:
    """mean_i noise_i (L_i+ - L_i-) / (2 sigma^2), of the structure of theta.

    Over devices it is the sum of what each has of it: the one thing of theta's size that a
    meta-step communicates. L is in `means`, in the order of `antithetic`.
    """
    scale = 2 * sigma**2 * (means.shape[0] // 2)

    def weighted(noise: Theta, differences: Float[Array, " pairs"]) -> Theta:
        weight = differences / scale
        return jax.tree.map(lambda e: jnp.tensordot(weight.astype(e.dtype), e, axes=1), noise)

    mesh = _halves(problem)
    if mesh is None:
        plus, minus = jnp.split(means, 2)
        return weighted(noise, plus - minus)

    def here(noise: Theta, means: Float[Array, " particles"]) -> Theta:
        differences = jax.lax.psum(_sign() * means, SIGN)
        return jax.lax.psum(weighted(noise, differences), PAIR)

    specs = (PartitionSpec(PAIR), _particles(mesh))
    return _on_devices(mesh, here, specs, PartitionSpec())(noise, means)


def choose(condition: Array, new: PyTree[Array], old: PyTree[Array]) -> PyTree[Array]:
    """Entries of `new` where the condition holds along the leading axis, else those of `old`."""

    def one(a: Array, b: Array) -> Array:
        return jnp.where(condition.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(one, new, old)


def _halves(problem: Problem) -> Mesh | None:
    """The problem's mesh, if it has a half for each sign."""
    mesh = problem.mesh
    return mesh if mesh is not None and SIGN in mesh.axis_names else None


def _sign() -> Float[Array, ""]:
    """1 on the devices of the first half, -1 on those of the second."""
    return 1.0 - 2.0 * jax.lax.axis_index(SIGN)


def _particles(mesh: Mesh) -> PartitionSpec:
    return PartitionSpec(mesh.axis_names)


def _over(
    problem: Problem,
    function: Callable[..., Any],
    spec: PartitionSpec | None,
    alike: tuple[Any, ...],
    each: tuple[Any, ...],
) -> Any:
    alike = (problem.task, *alike)
    batched = jax.vmap(function, (*(None for _ in alike), *(0 for _ in each)))
    if problem.mesh is not None and spec is not None:
        specs = (*(PartitionSpec() for _ in alike), *(spec for _ in each))
        batched = _on_devices(problem.mesh, batched, specs, spec)
    return batched(*alike, *each)


def _on_devices(
    mesh: Mesh, function: Callable, specs: tuple[PartitionSpec, ...], out: PartitionSpec
) -> Callable:
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=out, check_vma=False)
