"""Antithetic perturbations of theta, and what is measured with them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
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
    leaves, structure = jax.tree.flatten(theta)
    keys = jax.random.split(key, len(leaves))
    noise = [
        sigma * jax.random.normal(k, (pairs, *x.shape), x.dtype)
        for k, x in zip(keys, leaves, strict=True)
    ]
    return structure.unflatten(noise)


def antithetic(theta: Theta, noise: Theta) -> Theta:
    """Theta + noise and theta - noise, along a new leading axis of two."""
    return jax.tree.map(lambda t, e: jnp.stack([t + e, t - e]), theta, noise)


def cap(
    losses: Float[Array, "..."], limit: float
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Losses held at a limit, which also stands for what is no number; and where that was."""
    diverged = ~(losses < limit)
    return jnp.where(diverged, limit, losses), diverged


def es_gradient(
    noise: Theta, plus: Float[Array, " pairs"], minus: Float[Array, " pairs"], sigma: float
) -> Theta:
    """mean_i noise_i (plus_i - minus_i) / (2 sigma^2), of the structure of theta."""
    weight = (plus - minus) / (2 * sigma**2 * plus.shape[0])
    return jax.tree.map(lambda e: jnp.tensordot(weight.astype(e.dtype), e, axes=1), noise)
