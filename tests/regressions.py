import jax
import jax.numpy as jnp

from lopt.tasks import Task, from_arrays


def linear_regression() -> Task:
    x = jax.random.normal(jax.random.key(1), (64, 4))
    y = x @ jax.random.normal(jax.random.key(2), (4, 3)) + 1

    def init(key):
        return {"w": 0.1 * jax.random.normal(key, (4, 3)), "b": jnp.zeros(3)}

    def loss(params, batch):
        x, y = batch
        return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)

    return from_arrays(init, loss, (x, y), batch_size=8)
