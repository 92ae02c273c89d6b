"""Prints how far each estimator's meta-gradients over all devices are from those on one."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lopt.meta import ES, NRES, PES, TBPTT, Problem
from lopt.meta.devices import particle_mesh
from lopt.tasks import quadratic

PAIRS = jax.device_count()
ESTIMATORS = (ES(PAIRS, 4), PES(PAIRS, 2, 4), NRES(PAIRS, 2, 4), TBPTT(PAIRS, 2, 4))
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
        found.append([*jax.tree.leaves(gradient), metrics.meta_loss])
    return np.array(found)


def main():
    distances = {}
    for estimator in ESTIMATORS:
        alone = gradients(estimator, None)
        spread = gradients(estimator, particle_mesh(2 * PAIRS))
        distances[type(estimator).__name__] = float(np.max(np.abs(spread / alone - 1)))
    print(json.dumps({"devices": jax.device_count(), "distances": distances}))


if __name__ == "__main__":
    main()
