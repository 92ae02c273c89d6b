"""A small zoo, and networks whose scores are known."""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lopt.predict import Model
from lopt.predict.networks import Networks
from lopt.predict.training import Zoo

ZOO = Zoo(
    widths=(6, 4),
    runs=(10, 2),
    snapshots=2,
    steps=60,
    every=10,
    batch_sizes=(16,),
    together=5,
    numbers=4,
    unseen=4,
    learning_rate=(3e-3, 1e-1),
)
"""Twenty networks of width 6 and four of width 4, in three shards."""


def mlps_of(spec, count, seed=0):
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.2, 1.8, count)

    def tensor(axes):
        shape = spec.shape(axes)
        return (rng.normal(size=(count, *shape)).T * size).T.astype(np.float32)

    params = jax.tree.map(tensor, spec.axes)
    names = tuple(f"network-{i}" for i in range(count))
    return Networks(params, size / 2, np.arange(count) // 2, names, spec)


KINDS = (
    "unf(layers=exact, channels=4, depth=2, hidden=(8,))",
    "unf(layers=relational, channels=4, depth=2, hidden=(8,))",
    "unf(layers=pointwise, channels=4, depth=2, hidden=(8,))",
    "stat_nn(hidden=(8,))",
    "neurons(width=4, channels=3, hidden=(8,))",
)


@dataclass(frozen=True)
class Largest(Model):
    """A kind of predictor of the user's own: it reads the largest weight."""

    power: float = 1.0

    def read(self, params, spec):
        largest = jnp.stack([jnp.max(jnp.abs(x)) for x in jax.tree.leaves(params)])
        return largest**self.power

    def network(self, spec):
        return nn.Dense(1)
