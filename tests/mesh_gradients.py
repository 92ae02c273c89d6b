"""Prints how far each estimator's meta-gradients over all devices are from those on one."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lopt.meta import ES, NRES, PES, TBPTT, Problem
from lopt.meta.particles import particle_mesh
from lopt.tasks import quadratic

PAIRS = jax.device_count()
LENGTHS = {"pairs": PAIRS, "truncation": 2, "horizon": 4, "loss_cap": 1.0}  # some runs are lost
ESTIMATORS = (ES(PAIRS, 4), PES(**LENGTHS), NRES(**LENGTHS), TBPTT(**LENGTHS))
THETA = {"rate": jnp.float32(0.1), "decay": jnp.float32(0.01)}


def optimizer(theta):
    return optax.chain(optax.add_decayed_weights(theta["decay"]), optax.sgd(theta["rate"]))


def gradients(estimator, mesh):
    problem = Problem(quadratic(noise=0.5), optimizer, mesh=mesh)
    step = jax.jit(lambda state, key: estimator.gradient(problem, THETA, state, key))
    state = jax.jit(lambda key: estimator.init(problem, THETA, key))(jax.random.key(0))
    found = []
    for i in range(5):
        gradient, state, metrics = step(state, jax.random.key(i))
        found.append([*jax.tree.leaves(gradient), metrics.meta_loss, 1 + metrics.restarted])
    return np.array(found)


def main():
    distances, restarted = {}, {}
    for estimator in ESTIMATORS:
        alone = gradients(estimator, None)
        spread = gradients(estimator, particle_mesh(2 * PAIRS))
        name = type(estimator).__name__
        distances[name] = float(np.max(np.abs(spread / alone - 1)))
        restarted[name] = float(alone[:, -1].mean() - 1)
    found = {"distances": distances, "restarted": restarted}
    print(json.dumps({"devices": jax.device_count(), **found}))


if __name__ == "__main__":
    main()
