"""Meta-gradients against their exact values, on gradient descent with a learned step size."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimized import compiled

from lopt.base.errors import UserError
from lopt.meta import ES, NRES, PES, TBPTT, Problem
from lopt.meta.particles import over_pairs, twice
from lopt.meta.staggered import Staggered
from lopt.meta.unroll import init_run, unroll
from lopt.tasks import quadratic

HORIZON, TRUNCATION, SIGMA = 6, 2, 0.01
TASK = quadratic(dimension=3, condition=4.0)
THETA = {"rate": jnp.array(0.4), "shrink": jnp.array([0.1, -0.2])}
PAIRS = 4096


def optimizer(theta):
    """Gradient descent whose step size theta sets, and changes from step to step."""
    return optax.sgd(lambda count: step_size(theta, count))


def step_size(theta, count):
    return theta["rate"] * jnp.exp(theta["shrink"][0] * jnp.sin(count) + theta["shrink"][1])


PROBLEM = Problem(TASK, optimizer)


def expected_losses(theta):
    """The loss of each step of a run in closed form, over the normal draw of the params."""
    rates = jax.vmap(lambda count: step_size(theta, count))(jnp.arange(HORIZON))
    factors = jnp.cumprod(1 - rates[:, None] * TASK.curvature, axis=0)
    x = jnp.concatenate([jnp.ones((1, TASK.curvature.size)), factors[:-1]])
    return 0.5 * jnp.sum(TASK.curvature * x**2, axis=1)


OF_STEPS = jax.jacobian(expected_losses)(THETA)
EXACT = jax.tree.map(lambda g: g.mean(0), OF_STEPS)
PRECISION = 0.2 * min(float(jnp.abs(g).min()) for g in jax.tree.leaves(EXACT))
"""Of the means that are compared, so that no component of `EXACT` could come out as zero."""


def drawn(function, seed, draws=80):
    """The results of a function of a key, for many keys, one by one, compiled as users do."""
    keys = jax.random.split(jax.random.key(seed), draws)
    return compiled(lambda keys: jax.lax.map(function, keys), keys)(keys)


def assert_mean_is(estimates, exact, scale=1.0):
    """The mean of estimates is the exact value within four standard errors, which are small."""

    def check(draws, value):
        bound = 4 * draws.std(0, ddof=1) / np.sqrt(len(draws))
        assert np.all(bound < scale * PRECISION)
        np.testing.assert_array_less(np.abs(draws.mean(0) - scale * value), bound)

    jax.tree.map(check, jax.tree.map(np.asarray, estimates), exact)


def test_the_exact_gradient_is_that_of_runs():
    def mean_loss(theta, key):
        run = init_run(TASK, optimizer(theta), key, HORIZON)
        return unroll(TASK, optimizer(theta), run, HORIZON)[1].values.mean()

    keys = jax.random.split(jax.random.key(9), 20_000)
    assert_mean_is(jax.jit(jax.vmap(jax.grad(mean_loss), (None, 0)))(THETA, keys), EXACT)


def test_the_mean_of_es_is_the_gradient():
    es = ES(pairs=PAIRS, horizon=HORIZON, sigma=SIGMA)
    assert_mean_is(drawn(lambda key: es.gradient(PROBLEM, THETA, (), key)[0], seed=0), EXACT)


def in_lockstep(estimator, state):
    """The state with all runs at the start of a whole length."""
    remaining = jnp.full_like(runs_of(state).remaining, estimator.truncations)
    return with_runs(state, runs_of(state)._replace(remaining=remaining))


def runs_of(state):
    """The runs within an estimator's state."""
    return state if isinstance(state, Staggered) else state.staggered


def with_runs(state, staggered):
    """The state with other runs."""
    return staggered if isinstance(state, Staggered) else state._replace(staggered=staggered)


def over_a_run(pes, key):
    """The sum of the gradients of one run's truncations, all pairs in lockstep from its start."""
    init_key, key = jax.random.split(key)
    state = in_lockstep(pes, pes.init(PROBLEM, THETA, init_key))
    state, gradients = truncations(pes, state, key, pes.truncations)
    return jax.tree.map(lambda g: g.sum(0), gradients), state


def truncations(estimator, state, key, count, between=lambda state: state):
    """The state after some gradients, and these along a leading axis."""

    def body(state, key):
        gradient, state, _ = estimator.gradient(PROBLEM, THETA, between(state), key)
        return state, gradient

    return jax.lax.scan(body, state, jax.random.split(key, count))


@pytest.mark.parametrize("kind", [PES, NRES])
def test_the_mean_over_a_run_is_the_gradient(kind):
    estimator = kind(pairs=PAIRS, truncation=TRUNCATION, horizon=HORIZON, sigma=SIGMA)
    estimates = drawn(lambda key: over_a_run(estimator, key)[0], seed=1)
    assert_mean_is(estimates, EXACT, scale=estimator.truncations)


@pytest.mark.parametrize("kind", [PES, NRES])
def test_the_mean_over_runs_of_random_length_is_the_gradient(kind):
    """Each truncation's mean is that of the ages which its runs have, all fresh at the first."""
    estimator = kind(PAIRS, TRUNCATION, HORIZON, shortest=TRUNCATION, sigma=SIGMA)
    count = estimator.truncations

    def draw(key):
        fresh_key, init_key, key = jax.random.split(key, 3)
        fresh = estimator.init_runs(PROBLEM, THETA, fresh_key, over_pairs, PAIRS)
        state = estimator.init(PROBLEM, THETA, init_key)
        state = state._replace(staggered=twice(PROBLEM, fresh))
        return truncations(estimator, state, key, count)[1]

    lengths = np.diff(np.log(np.arange(1, count + 2))) / np.log(count + 1)  # P(1), P(2), ...
    at_least = lengths[::-1].cumsum()[::-1]
    survive = np.append(at_least[1:], 0) / at_least
    ages = [np.eye(count)[0]]
    for _ in range(count - 1):
        ended, older = ages[-1] @ (1 - survive), ages[-1] * survive
        ages.append(np.append(ended, older[:-1]))

    def expected(of_steps):
        of_truncations = of_steps.reshape(count, TRUNCATION, *of_steps.shape[1:]).mean(1)
        return np.tensordot(np.stack(ages), of_truncations, axes=1)

    assert_mean_is(drawn(draw, seed=3), jax.tree.map(expected, OF_STEPS))


def test_a_late_truncation_has_less_variance_with_reused_than_with_accumulated_noise():
    def variance(kind):
        estimator = kind(pairs=64, truncation=1, horizon=HORIZON, sigma=SIGMA)

        @jax.jit
        @jax.vmap
        def last(key):
            init_key, key = jax.random.split(key)
            state = in_lockstep(estimator, estimator.init(PROBLEM, THETA, init_key))
            return truncations(estimator, state, key, estimator.truncations)[1]["rate"][-1]

        return np.var(last(jax.random.split(jax.random.key(1), 1024)))

    assert variance(NRES) < 0.9 * variance(PES)


def test_backpropagation_through_whole_runs_is_the_gradient():
    estimator = TBPTT(pairs=PAIRS, truncation=HORIZON, horizon=HORIZON)

    def draw(key):
        return estimator.gradient(PROBLEM, THETA, estimator.init(PROBLEM, THETA, key), key)[0]

    assert_mean_is(drawn(draw, seed=0), EXACT)


def test_backpropagation_through_truncations_is_biased():
    estimator = TBPTT(pairs=PAIRS, truncation=TRUNCATION, horizon=HORIZON)
    draw = jax.jit(jax.vmap(lambda key: over_a_run(estimator, key)[0]["rate"]))
    draws = np.asarray(draw(jax.random.split(jax.random.key(2), 16)))
    error = draws.std(ddof=1) / np.sqrt(len(draws))
    assert abs(draws.mean() - estimator.truncations * EXACT["rate"]) > 10 * error


def test_without_what_persists_the_gradient_is_biased():
    pes = PES(pairs=PAIRS, truncation=TRUNCATION, horizon=HORIZON, sigma=SIGMA)

    def forget(state):
        return state._replace(xi=jax.tree.map(jnp.zeros_like, state.xi))

    @jax.jit
    @jax.vmap
    def draw(key):
        state = in_lockstep(pes, pes.init(PROBLEM, THETA, key))
        return truncations(pes, state, key, pes.truncations, forget)[1]["rate"].sum()

    draws = np.asarray(draw(jax.random.split(jax.random.key(2), 16)))
    error = draws.std(ddof=1) / np.sqrt(len(draws))
    assert abs(draws.mean() - pes.truncations * EXACT["rate"]) > 10 * error


def test_one_truncation_of_a_whole_run_is_es():
    """From one key: it is split alike for the perturbations, and for the runs."""
    problem = PROBLEM._replace(task=quadratic(noise=1.0))
    settings = {"pairs": 4, "horizon": HORIZON, "sigma": SIGMA}
    es, pes = ES(**settings), PES(**settings, truncation=HORIZON)
    key = jax.random.key(4)
    theirs, _, their_metrics = es.gradient(problem, THETA, (), key)
    ours, state, metrics = pes.gradient(problem, THETA, pes.init(problem, THETA, key), key)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), ours, theirs)
    np.testing.assert_allclose(metrics, their_metrics, rtol=1e-6)
    assert np.all(np.asarray(state.staggered.runs.step) == 0)
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0), state.xi)
    assert metrics.inner_steps == 2 * 4 * HORIZON


def test_runs_are_staggered_and_restart_with_nothing_accumulated():
    pes = PES(pairs=3, truncation=TRUNCATION, horizon=HORIZON, sigma=SIGMA)
    state = pes.init(PROBLEM, THETA, jax.random.key(5))
    step, seen = jax.jit(lambda state, key: pes.gradient(PROBLEM, THETA, state, key)), []
    for k in jax.random.split(jax.random.key(6), 9):
        _, state, _ = step(state, k)
        seen.append(np.asarray(state.staggered.runs.step))
        fresh = seen[-1][:3] == 0
        np.testing.assert_array_equal(np.asarray(state.xi["rate"]) == 0, fresh)
    np.testing.assert_array_equal([s[:3] for s in seen], [s[3:] for s in seen])
    for steps in seen[3:]:
        assert sorted(steps[:3]) == [0, TRUNCATION, 2 * TRUNCATION]


def test_both_particles_of_a_pair_see_the_same_data():
    problem = PROBLEM._replace(task=quadratic(noise=1.0))
    pes = PES(pairs=2, truncation=TRUNCATION, horizon=HORIZON, sigma=1e-12)
    start = pes.init(problem, THETA, jax.random.key(7))
    _, state, _ = pes.gradient(problem, THETA, start, jax.random.key(8))
    x = np.asarray(state.staggered.runs.params["x"])
    np.testing.assert_allclose(x[:2], x[2:], rtol=1e-6)
    assert not np.allclose(x[0], x[1])
    other = dataclasses.replace(problem.task, noise=0.0)
    _, quiet, _ = pes.gradient(problem._replace(task=other), THETA, start, jax.random.key(8))
    assert not np.allclose(x, quiet.staggered.runs.params["x"])


def test_backpropagation_through_runs_above_the_cap_gives_nothing():
    tbptt = TBPTT(pairs=2, truncation=2, horizon=4, loss_cap=10.0)
    problem = Problem(TASK, lambda theta: optax.sgd(30.0 * (1 + theta["rate"])))
    state = tbptt.init(problem, THETA, jax.random.key(0))
    for _ in range(2):
        gradient, state, metrics = tbptt.gradient(problem, THETA, state, jax.random.key(1))
    assert metrics.diverged == 1
    assert all(np.all(g == 0) for g in jax.tree.leaves(gradient))


TRUNCATED = [kind(2, 2, 6, sigma=SIGMA) for kind in (PES, NRES)] + [TBPTT(2, 2, 6)]


def after_a_truncation(estimator, divides, cap=10.0):
    """Where runs stand that were fresh before it, and diverge where theta is above a rate."""

    def optimizer(theta):
        return optax.sgd(jnp.where(theta["rate"] > divides, 1e4, 0.4))

    estimator = dataclasses.replace(estimator, loss_cap=cap)
    problem = Problem(TASK, optimizer)
    state = in_lockstep(estimator, estimator.init(problem, THETA, jax.random.key(0)))
    _, state, metrics = estimator.gradient(problem, THETA, state, jax.random.key(1))
    return state, metrics


@pytest.mark.parametrize("estimator", TRUNCATED)
def test_lost_runs_make_room_for_fresh_ones_and_are_counted(estimator):
    state, metrics = after_a_truncation(estimator, divides=0.0)
    assert (metrics.diverged, metrics.restarted) == (1, 1)
    assert np.all(np.asarray(runs_of(state).runs.step) == 0)
    assert np.all(np.asarray(runs_of(state).remaining) == estimator.truncations)
    if isinstance(estimator, PES):
        jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0), state.xi)


@pytest.mark.parametrize("estimator", TRUNCATED[:2])
def test_a_pair_goes_on_until_both_of_its_runs_are_lost(estimator):
    state, metrics = after_a_truncation(estimator, divides=THETA["rate"])
    assert (metrics.diverged, metrics.restarted) == (0.5, 0)
    assert np.all(np.asarray(runs_of(state).runs.step) == 2)


@pytest.mark.parametrize("estimator", TRUNCATED)
def test_runs_above_the_cap_that_fall_are_not_lost(estimator):
    _, metrics = after_a_truncation(estimator, divides=1.0, cap=1e-9)
    assert (metrics.diverged, metrics.restarted) == (1, 0)


@pytest.mark.parametrize("estimator", TRUNCATED)
def test_lost_runs_would_add_nothing_to_the_gradient(estimator):
    """Otherwise restarting them would change what is estimated."""
    problem = Problem(TASK, lambda theta: optax.sgd(30.0 * (1 + theta["rate"])))
    state = in_lockstep(estimator, estimator.init(problem, THETA, jax.random.key(0)))
    runs = runs_of(state).runs
    lost = runs._replace(params=jax.tree.map(lambda x: x + 1e3, runs.params))
    state = with_runs(state, runs_of(state)._replace(runs=lost))
    gradient, _, metrics = estimator.gradient(problem, THETA, state, jax.random.key(1))
    assert metrics.restarted == 1
    assert all(np.all(g == 0) for g in jax.tree.leaves(gradient))


def test_lengths_are_drawn_evenly_on_a_log_axis():
    estimator = PES(truncation=10, horizon=160, shortest=10)
    lengths = np.asarray(estimator.lengths(jax.random.key(0), 20_000))
    assert (lengths.min(), lengths.max()) == (1, 16)
    below = [(lengths <= n).mean() for n in (1, 3, 7)]
    np.testing.assert_allclose(below, np.log([2, 4, 8]) / np.log(17), atol=0.02)
    assert set(np.asarray(PES(truncation=10, horizon=160).lengths(jax.random.key(0), 9))) == {16}


@pytest.mark.parametrize(
    "estimator", [ES(pairs=2, horizon=6), PES(2, 2, 6), NRES(2, 2, 6), TBPTT(2, 2, 6)]
)
def test_diverging_runs_are_capped_and_counted(estimator):
    problem = Problem(TASK, lambda theta: optax.sgd(1e30 * (1 + theta["rate"])))
    state = estimator.init(problem, THETA, jax.random.key(0))
    gradient, state, metrics = estimator.gradient(problem, THETA, state, jax.random.key(1))
    assert float(metrics.meta_loss) <= estimator.loss_cap
    assert float(metrics.diverged) == 1
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ES(pairs=0), "ES: pairs"),
        (lambda: ES(sigma=0.0), "ES: sigma"),
        (lambda: NRES(sigma=-1.0), "NRES: sigma"),
        (lambda: TBPTT(horizon=100, truncation=10, shortest=200), "shortest"),
        (lambda: PES(horizon=30, truncation=20), "30 .* 20"),
        (lambda: PES(horizon=10, truncation=20), "10 .* 20"),
    ],
)
def test_impossible_numbers_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
