import jax
import numpy as np
import optax
import pytest

from lopt.errors import UserError
from lopt.meta.unroll import start, unroll
from lopt.parts import build
from lopt.symmetry import check_spec
from lopt.tasks import TASKS, mlp

SMALL = {
    "mlp": mlp(widths=(8, 6), batch_size=16),
    "quadratic": build(TASKS, "quadratic"),
}


def test_every_task_is_tested():
    assert set(SMALL) == set(TASKS)


@pytest.mark.parametrize("name", SMALL)
def test_the_loss_falls_under_adam(name):
    task = SMALL[name]
    optimizer = optax.adam(0.02)
    run = start(task, optimizer, jax.random.key(0))
    before = task.evaluate(run.params, run.model_state)["loss"]
    run, losses = jax.jit(lambda task, run: unroll(task, optimizer, run, 100))(task, run)
    after = task.evaluate(run.params, run.model_state)["loss"]
    assert losses[-10:].mean() < 0.5 * losses[:10].mean()
    assert after < 0.5 * before


@pytest.mark.parametrize("name", SMALL)
def test_the_inferred_spec_is_proved(name):
    task = SMALL[name]
    key = jax.random.key(1)
    params, state = task.init(key)
    task.spec.validate(params)

    def loss(params, state, batch, key):
        return task.loss(params, state, batch, key)[0]

    assert check_spec(loss, params, task.spec, state, task.batch(state, key), key)


@pytest.mark.parametrize("name", SMALL)
def test_a_task_is_pure_and_vmaps_over_keys(name):
    task = SMALL[name]
    keys = jax.random.split(jax.random.key(2), 3)

    def loss(key):
        params, state = task.init(key)
        return task.loss(params, state, task.batch(state, key), key)[0]

    np.testing.assert_allclose(jax.vmap(loss)(keys), [loss(k) for k in keys], rtol=1e-4)


def test_hidden_layers_of_the_mlp_are_its_true_groups():
    assert [SMALL["mlp"].spec.sizes[g] for g in SMALL["mlp"].spec.groups] == [8, 6]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("mlp(data='digit')", "unknown data set 'digit'; did you mean digits"),
        ("mlp(widths=(8, 0))", "must be positive integers, not 0"),
        ("mlp(widths=(3.5,))", "must be positive integers, not 3.5"),
        ("quadratic(condition=0.1)", "condition must be at least 1, not 0.1"),
    ],
)
def test_impossible_tasks_are_refused(part, message):
    with pytest.raises(UserError, match=message):
        build(TASKS, part)
