import jax
import jax.numpy as jnp
import pytest

from lopt.tasks import mlp


class Space:
    """A small weight space with random params and gradients."""

    def __init__(self):
        self.task = mlp(widths=(6, 5), batch_size=16)
        self.spec = self.task.spec
        self.params = self.random(0)

    def random(self, seed, dtype=jnp.float32):
        shapes, _ = jax.eval_shape(self.task.init, jax.random.key(0))
        leaves, structure = jax.tree.flatten(shapes)
        keys = jax.random.split(jax.random.key(seed), len(leaves))
        pairs = zip(keys, leaves, strict=True)
        return structure.unflatten([jax.random.normal(k, x.shape, dtype) for k, x in pairs])


@pytest.fixture(scope="session")
def space():
    return Space()
