"""Antithetic perturbations of theta, and what is measured with them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, PyTree

from lopt.meta.estimator import Metrics, Problem, Theta

AXIS = "particles"
"""The axis of a mesh that particles are spread over."""


def normal_like(key: Array, theta: Theta, pairs: int, sigma: float) -> Theta:
    """Independent Gaussian perturbations of theta, one per pair, along a new leading axis."""
    flat, unravel = ravel_pytree(theta)
    noise = sigma * jax.random.normal(key, (pairs, flat.size), flat.dtype)
    return jax.vmap(unravel)(noise)


def antithetic(theta: Theta, noise: Theta) -> Theta:
    """All `theta + noise`, then all `theta - noise`: one leading axis of particles, two a pair."""
    return jax.tree.map(lambda t, e: jnp.concatenate([t + e, t - e]), theta, noise)


def twice(tree: PyTree[Array]) -> PyTree[Array]:
    """What both particles of each pair share, in the order of `antithetic`."""
    return jax.tree.map(lambda x: jnp.concatenate([x, x]), tree)


def over_particles(problem: Problem, function: Callable[..., Any], *particles: Any) -> Any:
    """Call `function(task, *particle)` for every particle: vmapped, and spread over the mesh.

    Args:
      problem: whose task and mesh.
      function: what is done with one particle.
      *particles: pytrees with a leading axis of particles, a multiple of the mesh's size.
    """
    batched = jax.vmap(function, (None, *(0 for _ in particles)))
    if problem.mesh is not None:
        spread = PartitionSpec(AXIS)
        specs = (PartitionSpec(), *(spread for _ in particles))
        batched = jax.shard_map(
            batched, mesh=problem.mesh, in_specs=specs, out_specs=spread, check_vma=False
        )
    return batched(problem.task, *particles)


def measure(
    problem: Problem, losses: Float[Array, "particles steps"], limit: float
) -> tuple[Float[Array, " particles"], Metrics]:
    """The mean scaled loss of each particle, held at a limit that stands for NaN as well.

    Args:
      problem: whose scale.
      losses: of each inner step.
      limit: the cap, in scaled losses.
    """
    scaled = losses / problem.scale
    diverged = ~(scaled < limit)
    means = jnp.where(diverged, limit, scaled).mean(1)
    return means, Metrics(means.mean(), diverged[:, -1].mean(), losses.size)


def es_gradient(noise: Theta, means: Float[Array, " particles"], sigma: float) -> Theta:
    """mean_i noise_i (L_i+ - L_i-) / (2 sigma^2), of the structure of theta.

    Args:
      noise: perturbations, or sums of them, with a leading axis of pairs.
      means: the loss L of each particle, in the order of `antithetic`.
      sigma: standard deviation of one perturbation.
    """
    plus, minus = jnp.split(means, 2)
    weight = (plus - minus) / (2 * sigma**2 * plus.shape[0])
    return jax.tree.map(lambda e: jnp.tensordot(weight.astype(e.dtype), e, axes=1), noise)


def choose(condition: Array, new: PyTree[Array], old: PyTree[Array]) -> PyTree[Array]:
    """Entries of `new` where the condition holds along the leading axis, else those of `old`."""

    def one(a: Array, b: Array) -> Array:
        return jnp.where(condition.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(one, new, old)
