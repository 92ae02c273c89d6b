"""Antithetic perturbations of theta, and what is measured with them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

Theta = PyTree[Array]


class Metrics(NamedTuple):
    """What an estimator saw while it took a gradient.

    Attributes:
      meta_loss: the mean inner loss over particles and steps, capped.
      diverged: the share of inner runs whose loss is above the cap or not a number.
      inner_steps: how many inner steps were taken.
    """

    meta_loss: Float[Array, ""]
    diverged: Float[Array, ""]
    inner_steps: int


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


def cap(
    losses: Float[Array, "..."], limit: float
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Losses held at a limit, which also stands for what is no number; and where that was."""
    diverged = ~(losses < limit)
    return jnp.where(diverged, limit, losses), diverged


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
