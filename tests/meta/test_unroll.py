import jax
import numpy as np
import optax

from lopt.meta.unroll import init_run, step, unroll
from lopt.tasks import mlp, quadratic


def test_an_unroll_is_its_steps():
    task, optimizer = mlp(widths=(4,), batch_size=8), optax.adam(0.01)
    run = init_run(task, optimizer, jax.random.key(0), 3)
    unrolled, losses = jax.jit(lambda run: unroll(task, optimizer, run, 3))(run)
    one = jax.jit(lambda run: step(task, optimizer, run))
    for i in range(3):
        run, loss = one(run)
        np.testing.assert_allclose(loss, losses.values[i], rtol=1e-5)
    assert int(unrolled.step) == 3
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        unrolled.params,
        run.params,
    )


def test_gradient_descent_on_a_quadratic_is_as_computed_by_hand():
    task, optimizer = quadratic(dimension=5, condition=100.0), optax.sgd(0.3)
    run = init_run(task, optimizer, jax.random.key(1), 4)
    x, curvature = np.asarray(run.params["x"]), np.asarray(task.curvature)
    _, (losses, fraction) = unroll(task, optimizer, run, 4)
    np.testing.assert_allclose(fraction, [0.0, 0.25, 0.5, 0.75])
    expected = [0.5 * np.sum(curvature * (x * (1 - 0.3 * curvature) ** t) ** 2) for t in range(4)]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_batches_depend_on_key_and_step_only():
    task = mlp(widths=(4,), batch_size=8)

    def losses(learning_rate, seed):
        optimizer = optax.sgd(learning_rate)
        run = init_run(task, optimizer, jax.random.key(seed), 2)
        return unroll(task, optimizer, run, 2)[1].values

    assert losses(0.1, 0)[0] == losses(0.5, 0)[0]
    assert losses(0.1, 0)[1] != losses(0.5, 0)[1]
    assert losses(0.0, 0)[0] != losses(0.0, 0)[1]
    assert losses(0.1, 0)[0] != losses(0.1, 1)[0]


def test_the_optimizer_is_told_the_loss_and_the_length_of_the_run():
    seen = []

    def update(updates, state, params=None, *, value, obj_fn, total_steps):
        seen.extend((value, obj_fn(params), total_steps))
        return updates, state

    optimizer = optax.GradientTransformationExtraArgs(lambda params: (), update)
    task = quadratic(noise=0.3)
    _, loss = step(task, optimizer, init_run(task, optimizer, jax.random.key(0), 7))
    assert seen == [loss, loss, 7]
