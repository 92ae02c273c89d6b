"""Prints what the devices of this process exchange in a meta-step of each estimator.

Theta is 1,000 numbers whose mean is a learning rate: its size is all that should matter.
"""

import json

import jax
import jax.numpy as jnp
import optax

from lopt.meta import ES, NRES, PES, TBPTT, MetaTraining, Problem
from lopt.meta.communication import communication
from lopt.meta.devices import particle_mesh
from lopt.tasks import mlp

ESTIMATORS = (ES(8, 2), PES(8, 2, 8), NRES(8, 2, 8), TBPTT(8, 2, 8))


def main():
    task, found = mlp(widths=(4,), batch_size=8), {}
    for estimator in ESTIMATORS:
        mesh = particle_mesh(2 * estimator.pairs)
        problem = Problem(task, lambda theta: optax.adam(theta.mean()), mesh=mesh)
        training = MetaTraining([problem], [estimator], optax.adam(1e-3))
        state = training.init(jnp.full(1000, 0.1), jax.random.key(0))
        found[type(estimator).__name__] = communication(training, state)._asdict()
    print(json.dumps({"devices": jax.device_count(), "estimators": found}))


if __name__ == "__main__":
    main()
