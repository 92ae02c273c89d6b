"""Readings and predictions of many networks, a few networks at a time."""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, PyTree

from lopt.predict.models import FEATURES, STANDARD, Model, Readings
from lopt.symmetry import PermutationSpec
from lopt.unf import backend

_TOGETHER = 64  # networks in a chunk: memory bounds it, and with more of them nothing gets faster

_VARIES = 1e-6
"""A deviation below this fraction of the mean is the rounding of float32, and not divided by."""


class Standard(NamedTuple):
    """Brings readings to mean zero and variance one over the training networks.

    Each array has a center and a scale for each channel; the scale is one where it does not vary.
    """

    center: PyTree[Float[Array, " channels"]]
    scale: PyTree[Float[Array, " channels"]]

    def __call__(self, x: Readings) -> Readings:
        return jax.tree.map(lambda v, c, s: (v - c) / s, x, self.center, self.scale)


def standard_of(readings: PyTree[Float[np.ndarray, "networks ... channels"]]) -> Standard:
    """The standardization of many networks' readings."""

    def center(x: np.ndarray) -> np.ndarray:
        return np.mean(x, tuple(range(x.ndim - 1)))

    def scale(x: np.ndarray) -> np.ndarray:
        deviation = np.std(x, tuple(range(x.ndim - 1)))
        varies = deviation > _VARIES * (1 + np.abs(center(x)))
        return np.where(varies, deviation, np.ones_like(deviation))

    return Standard(jax.tree.map(center, readings), jax.tree.map(scale, readings))


def _in_chunks(function: Callable[..., PyTree[Array]]) -> Callable[..., Any]:
    """Compile a function of a model, a spec, maybe a theta, and many networks; call it in chunks.

    It returns NumPy arrays, whose leading axis are the networks.
    """
    compiled = jax.jit(function, static_argnums=(0, 1))

    @wraps(function)
    def of_all(*arguments: Any) -> PyTree[np.ndarray]:
        *fixed, networks = arguments
        count = len(jax.tree.leaves(networks)[0])
        size = min(_TOGETHER, count)
        found = []
        for start in range(0, count, size):
            # the last chunk repeats a network: one of another size would be compiled again
            index = np.minimum(np.arange(start, start + size), count - 1)
            part = compiled(*fixed, jax.tree.map(lambda v, i=index: v[i], networks))
            found.append(jax.tree.map(lambda v, n=count - start: np.asarray(v)[:n], part))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *found)

    return of_all


@_in_chunks
def read(
    model: Model, spec: PermutationSpec, params: PyTree[Float[Array, "networks ..."]]
) -> PyTree[Float[Array, "networks ... channels"]]:
    """The readings of many networks, not standardized yet."""
    return jax.vmap(lambda p: model.read(p, spec))(params)


@_in_chunks
def logits(
    model: Model, spec: PermutationSpec, theta: PyTree[Array], readings: Readings
) -> Float[Array, " networks"]:
    """A model's outputs for standardized readings of many networks."""
    network = model.network(spec)
    return _each(lambda r: network.apply(theta, r)[0], readings)


@_in_chunks
def _features(
    model: Model, spec: PermutationSpec, theta: PyTree[Array], readings: Readings
) -> Float[Array, "networks features"]:
    network = model.network(spec)

    def one(r: Readings) -> Array:
        _, found = network.apply(theta, r, mutable=[FEATURES])
        return jax.tree.leaves(found)[0]

    return _each(one, readings)


def standardized(
    model: Model, spec: PermutationSpec, theta: PyTree[Array], readings: Readings
) -> PyTree[Array]:
    """Theta whose perceptron reads features of mean zero and variance one over many networks.

    It is returned as it is if the model, a user-defined one, has no such perceptron.
    """
    if STANDARD not in theta:
        return theta
    theta = {name: theta[name] for name in theta if name != FEATURES}
    standard = standard_of(_features(model, spec, theta, readings))._asdict()
    places = flatten_dict(theta[STANDARD])
    found = {place: jnp.asarray(standard[place[-1]], jnp.float32) for place in places}
    return {**theta, STANDARD: unflatten_dict(found)}


def _each(function: Callable[[Readings], Array], readings: Readings) -> Array:
    # networks one by one stay in a CPU's cache; see "A zoo of networks that add" in the log
    if backend.on_cpu():
        return jax.lax.map(function, readings)
    return jax.vmap(function)(readings)
