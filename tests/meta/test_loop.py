import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lopt.meta import ES, NRES, PES, TBPTT, MetaTraining, Problem
from lopt.tasks import quadratic

PROBLEM = Problem(quadratic(), lambda theta: optax.adam(jnp.exp(theta["log_rate"])))


def train(estimator, theta, steps=40, problems=(PROBLEM,), seed=0, rate=0.2, **options):
    estimators = [estimator] * len(problems)
    training = MetaTraining(problems, estimators, optax.adam(rate), **options)
    state = training.init(theta, jax.random.key(seed))
    states, reports = zip(*training.run(state, steps), strict=True)
    return states[-1], reports


@pytest.mark.parametrize(
    "estimator",
    [
        ES(pairs=4, horizon=20, sigma=0.1),
        PES(4, 5, 20, sigma=0.1),
        NRES(4, 5, 20, sigma=0.1),
        TBPTT(4, 5, 20),
    ],
)
def test_a_learning_rate_is_learned(estimator):
    state, reports = train(estimator, {"log_rate": jnp.log(jnp.float32(1e-3))})
    assert 0.02 < float(jnp.exp(state.theta["log_rate"])) < 2
    losses = [float(r.inner[0].meta_loss) for r in reports]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_one_theta_is_learned_on_several_problems_by_their_weights():
    theta = {"log_rate": jnp.float32(-3.0)}
    other = PROBLEM._replace(task=quadratic(dimension=3, condition=2.0))
    estimator = ES(pairs=2, horizon=5, sigma=0.1)
    alone, _ = train(estimator, theta, 1, problems=(PROBLEM,))
    both, reports = train(estimator, theta, 1, problems=(PROBLEM, other))
    only_first, _ = train(estimator, theta, 1, problems=(PROBLEM, other), weights=(1.0, 0.0))
    assert len(reports[0].inner) == 2
    assert reports[0].inner[0].meta_loss != reports[0].inner[1].meta_loss

    def gradient(state):
        return state.outer_state[0].mu["log_rate"]

    np.testing.assert_allclose(gradient(alone), gradient(only_first), rtol=1e-6)
    only_second, _ = train(estimator, theta, 1, problems=(PROBLEM, other), weights=(0.0, 2.0))
    most_first, reports = train(estimator, theta, 1, problems=(PROBLEM, other), weights=(3.0, 1.0))
    first, second = gradient(only_first), gradient(only_second)
    assert abs(first - second) > 1e-3 * abs(first)
    np.testing.assert_allclose(gradient(both), (first + second) / 2, rtol=1e-5)
    np.testing.assert_allclose(gradient(most_first), (3 * first + second) / 4, rtol=1e-5)
    losses = [m.meta_loss for m in reports[0].inner]
    np.testing.assert_allclose(reports[0].meta_loss, (3 * losses[0] + losses[1]) / 4, rtol=1e-6)


def test_a_problem_whose_gradient_is_clipped_does_not_outweigh_the_others():
    theta = {"log_rate": jnp.float32(-3.0)}
    loud = PROBLEM._replace(task=quadratic(dimension=3, condition=2.0), scale=1e-4)
    estimator = ES(pairs=2, horizon=5, sigma=0.1, loss_cap=1e9)
    gradients = [
        train(estimator, theta, 1, problems=(PROBLEM, loud), weights=w, clip=1e-3)[0]
        .outer_state[0]
        .mu["log_rate"]
        for w in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    ]
    quiet, clipped, both = gradients
    np.testing.assert_allclose(abs(clipped), 0.1 * 1e-3, rtol=1e-5)
    np.testing.assert_allclose(both, (quiet + clipped) / 2, rtol=1e-5)


def test_the_average_of_theta_is_exponential():
    start, estimator = {"log_rate": jnp.float32(-3.0)}, ES(pairs=2, horizon=5, sigma=0.1)
    average = start["log_rate"]
    for steps in (1, 2, 3):
        state, _ = train(estimator, start, steps, averaging=0.8)
        average = 0.8 * average + 0.2 * state.theta["log_rate"]
    np.testing.assert_allclose(state.average["log_rate"], average, rtol=1e-6)
    plain, _ = train(estimator, start, 3)
    assert plain.average["log_rate"] == plain.theta["log_rate"] == state.theta["log_rate"]


def test_losses_are_scaled():
    theta = {"log_rate": jnp.float32(-3.0)}
    estimator = PES(2, 5, 20, sigma=0.1, loss_cap=1e6)
    plain = train(estimator, theta, 1)[1][0]
    scaled = train(estimator, theta, 1, problems=(PROBLEM._replace(scale=4.0),))[1][0]
    np.testing.assert_allclose(plain.inner[0].meta_loss, 4 * scaled.inner[0].meta_loss, rtol=1e-6)
    np.testing.assert_allclose(plain.gradient_norm, 4 * scaled.gradient_norm, rtol=1e-5)


def test_the_same_seed_gives_the_same_theta_and_another_does_not():
    start, estimator = {"log_rate": jnp.float32(-3.0)}, PES(2, 5, 20, sigma=0.1)
    thetas = [train(estimator, start, 5, seed=s)[0].theta["log_rate"] for s in (1, 1, 2)]
    assert thetas[0] == thetas[1]
    assert thetas[0] != thetas[2]


def test_every_step_is_reported_once_and_counted():
    state, reports = train(ES(pairs=2, horizon=3), {"log_rate": jnp.float32(-3.0)}, steps=7)
    assert len(reports) == 7
    assert int(state.step) == 7


def test_resuming_from_a_state_is_as_if_never_stopped():
    training = MetaTraining([PROBLEM], [PES(2, 5, 20, sigma=0.1)], optax.adam(0.2))
    state = training.init({"log_rate": jnp.float32(-3.0)}, jax.random.key(0))
    whole = [s for s, _ in training.run(state, 6)]
    *_, (again, _) = training.run(whole[2], 6)
    assert again.theta["log_rate"] == whole[-1].theta["log_rate"]


@pytest.mark.parametrize("rate", [float("nan"), float("inf")])
def test_a_step_that_makes_theta_not_finite_is_skipped_and_counted(rate):
    theta = {"log_rate": jnp.float32(-3.0), "unused": jnp.ones(2)}
    state, reports = train(ES(pairs=2, horizon=3), theta, steps=2, rate=rate)
    assert all(jax.tree.leaves(jax.tree.map(jnp.array_equal, state.theta, theta)))
    assert int(state.outer_state[0].count) == 0
    assert [int(r.skipped) for r in reports] == [1, 2]
    assert all(np.isfinite(r.gradient_norm) for r in reports)


@pytest.mark.parametrize(
    "estimator", [ES(pairs=2, horizon=4), PES(2, 2, 4), NRES(2, 2, 4), TBPTT(2, 2, 4)]
)
def test_runs_that_all_diverge_do_not_move_theta(estimator):
    problem = PROBLEM._replace(optimizer=lambda theta: optax.sgd(jnp.nan * theta["log_rate"]))
    theta = {"log_rate": jnp.float32(-3.0)}
    state, reports = train(estimator, theta, 3, problems=(problem,))
    assert state.theta == theta
    assert [int(r.skipped) for r in reports] == [1, 2, 3]
    assert [float(r.inner[0].diverged) for r in reports] == [1, 1, 1]


def test_one_problem_that_diverges_does_not_keep_the_others_from_learning():
    lost = PROBLEM._replace(optimizer=lambda theta: optax.sgd(jnp.nan * theta["log_rate"]))
    theta = {"log_rate": jnp.float32(-3.0)}
    state, reports = train(ES(pairs=2, horizon=4), theta, 2, problems=(PROBLEM, lost))
    assert state.theta != theta
    assert int(reports[-1].skipped) == 0


class Broken(ES):
    """ES whose every second gradient is NaN."""

    def init(self, problem, theta, key):
        return jnp.int32(0)

    def gradient(self, problem, theta, state, key):
        gradient, _, metrics = super().gradient(problem, theta, (), key)
        factor = jnp.where(state % 2 == 0, jnp.nan, 1.0)
        return jax.tree.map(lambda g: g * factor, gradient), state + 1, metrics


def test_a_gradient_that_is_not_finite_is_skipped_and_counted():
    theta = {"log_rate": jnp.float32(-3.0)}
    first, reports = train(Broken(pairs=2, horizon=3), theta, steps=1)
    assert first.theta == theta
    assert int(first.outer_state[0].count) == 0
    last, reports = train(Broken(pairs=2, horizon=3), theta, steps=4)
    assert [int(r.skipped) for r in reports] == [1, 0, 1, 0]
    assert [int(r.step) for r in reports] == [1, 2, 3, 4]
    assert np.isfinite(last.theta["log_rate"])
    assert last.theta != theta
