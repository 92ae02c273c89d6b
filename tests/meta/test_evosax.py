"""PES and NRES against those of evosax, a library of evolution strategies.

evosax' `PersistentES` and `NoiseReuseES` know no inner runs. They are asked for a population, told
its losses, and count inner steps to find out when the runs, all in lockstep, begin again. Their
gradient is

    g = sum_j a_j L_j / (N sigma^2)

over the N = 2n particles of the population, where a_j is the particle's accumulated perturbation
for PES, and the one it was given at the start of its run for NRES. The particles are antithetic,
first all plus and then all minus, so a_{n+i} = -a_i and

    g = sum_i a_i (L_i - L_{n+i}) / (2n sigma^2) = mean_i a_i (L_i+ - L_i-) / (2 sigma^2),

ours, with no factor between them. What differs is where a perturbation is drawn:

- PES draws in `ask`, from the key that `ask` is given; ours from the first half of the key of
  `gradient`.
- NRES draws in the `ask` that begins a run; ours beforehand, in `init` and in the `gradient` that
  ends a run. So evosax is given the key that ours drew with one truncation earlier.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from evosax.algorithms.distribution_based.noise_reuse_es import NoiseReuseES
from evosax.algorithms.distribution_based.persistent_es import PersistentES

from lopt.meta import NRES, PES, Problem
from lopt.meta.particles import over_pairs, twice
from lopt.meta.unroll import unroll
from lopt.tasks import quadratic

PAIRS, TRUNCATION, HORIZON, SIGMA = 3, 2, 6, 0.1
TRUNCATIONS = 8
"""Of three to a run: the runs begin again after the third and the sixth."""

THETA = {"rate": jnp.float32(0.4), "shrink": jnp.array([0.1, -0.2])}
TASK = quadratic(dimension=3, condition=4.0)


def optimizer(theta):
    """Gradient descent whose step size theta sets, and changes from step to step."""

    def schedule(count):
        return theta["rate"] * jnp.exp(theta["shrink"][0] * jnp.sin(count) + theta["shrink"][1])

    return optax.sgd(schedule)


PROBLEM = Problem(TASK, optimizer)
OUTER = optax.adam(0.05)


def keys_of_truncations():
    init_key, key = jax.random.split(jax.random.key(0))
    return init_key, jax.random.split(key, TRUNCATIONS)


def ours(estimator):
    """The gradient of each truncation, and theta after each, as an outer Adam moves it."""
    init_key, keys = keys_of_truncations()
    gradient = jax.jit(lambda *arguments: estimator.gradient(PROBLEM, *arguments)[:2])
    state = estimator.init(PROBLEM, THETA, init_key)
    together = jnp.full_like(state.staggered.remaining, estimator.truncations)
    state = state._replace(staggered=state.staggered._replace(remaining=together))
    theta, outer_state = THETA, OUTER.init(THETA)
    for key in keys:
        estimate, state = gradient(theta, state, key)
        updates, outer_state = OUTER.update(estimate, outer_state)
        theta = optax.apply_updates(theta, updates)
        yield estimate, theta


def theirs(algorithm, estimator, draw_keys, run_keys):
    """The same of evosax, the inner runs of its population unrolled here."""
    seen = optax.GradientTransformation(lambda _: jnp.zeros(3), lambda g, _, p=None: (g, g))
    es = algorithm(2 * PAIRS, THETA, optax.chain(seen, OUTER), optax.constant_schedule(SIGMA))
    params = es.default_params.replace(T=HORIZON, K=TRUNCATION)
    state = es.init(jax.random.key(1), THETA, params)

    @jax.jit
    @jax.vmap
    def truncation(theta, run):
        return unroll(TASK, optimizer(theta), run, TRUNCATION)

    for i, (draw_key, run_key) in enumerate(zip(draw_keys, run_keys, strict=True)):
        if i % (HORIZON // TRUNCATION) == 0:
            fresh = estimator.init_runs(PROBLEM, THETA, run_key, over_pairs, PAIRS)
            runs = twice(PROBLEM, fresh.runs)
        population, state = es.ask(draw_key, state, params)
        runs, losses = truncation(population, runs)
        state, _ = es.tell(jax.random.key(2), population, losses.values.mean(1), state, params)
        unravel = jax.flatten_util.ravel_pytree(THETA)[1]
        yield unravel(state.opt_state[0]), es.get_mean(state)


def assert_lockstep(ours, theirs):
    steps = list(zip(ours, theirs, strict=True))
    assert len(steps) == TRUNCATIONS
    for one, other in steps:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), one, other
        )


@pytest.fixture(scope="module")
def drawn():
    """The two halves of each truncation's key: for perturbations, and for the runs after it."""
    init_key, keys = keys_of_truncations()
    return init_key, *zip(*map(jax.random.split, keys), strict=True)


def test_pes_is_that_of_evosax(drawn):
    init_key, draw_keys, run_keys = drawn
    pes = PES(PAIRS, TRUNCATION, HORIZON, sigma=SIGMA)
    evosax = theirs(PersistentES, pes, draw_keys, (init_key, *run_keys[:-1]))
    assert_lockstep(ours(pes), evosax)


def test_nres_is_that_of_evosax(drawn):
    init_key, draw_keys, run_keys = drawn
    first_draw, first_run = jax.random.split(init_key)
    nres = NRES(PAIRS, TRUNCATION, HORIZON, sigma=SIGMA)
    shifted = (first_draw, *draw_keys[:-1]), (first_run, *run_keys[:-1])
    assert_lockstep(ours(nres), theirs(NoiseReuseES, nres, *shifted))
