"""What optimizers are trained on is the same for all of them, however their runs are cut up."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lopt.compare.runs import Program, Runs, shape
from lopt.compare.trials import Setting
from lopt.meta.unroll import init_run, step

MAKERS = {
    "sgdm": lambda rate, decay: optax.sgd(rate, momentum=0.9),
    "adamw": lambda rate, decay: optax.adamw(rate),
    "muon": lambda rate, decay: optax.contrib.muon(rate),
    "schedule_free": lambda rate, decay: optax.contrib.schedule_free_adamw(rate),
}
STILL, MOVING = Setting(0.0, "constant"), Setting(0.05, "cosine")


@pytest.fixture(scope="module")
def runs(regression):
    return Runs(regression, steps=6, seeds=3)


@pytest.fixture(scope="module")
def trained(runs):
    programs = {name: Program(runs, make, [MOVING, STILL]) for name, make in MAKERS.items()}
    return {name: list(program([STILL, MOVING])) for name, program in programs.items()}


def test_all_optimizers_see_the_same_params_and_batches(runs, trained):
    """At a rate of zero nothing but the starts and the batches is in the losses."""
    expected = trained["sgdm"][0].losses
    assert len(np.unique(expected)) == expected.size
    for still, moving in trained.values():
        np.testing.assert_allclose(still.losses, expected, rtol=1e-6)
        np.testing.assert_allclose(moving.losses[:, 0], expected[:, 0], rtol=1e-6)
        assert np.all(np.abs(moving.losses[:, 3] - expected[:, 3]) > 1e-4)


def test_runs_are_plain_training_runs(regression, trained):
    for name in ("adamw", "sgdm"):
        for seed in range(3):
            optimizer = MAKERS[name](optax.cosine_decay_schedule(0.05, 6), None)
            run = init_run(regression, optimizer, jax.random.key(1_000_000 + seed), 6)
            one_step = jax.jit(lambda run, optimizer=optimizer: step(regression, optimizer, run))
            for t in range(6):
                run, loss = one_step(run)
                np.testing.assert_allclose(trained[name][1].losses[seed, t], loss, rtol=1e-4)
            held_out = regression.evaluate(run.params, run.model_state)["loss"]
            found = trained[name][1].metrics["loss"][seed]
            np.testing.assert_allclose(found, held_out, rtol=1e-4)


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_runs_that_are_cut_to_fit_the_memory_are_the_same(runs, trained, at_once):
    needed = Program(runs, MAKERS["adamw"], [MOVING, STILL]).working_set()
    cut = Program(runs, MAKERS["adamw"], [MOVING, STILL], room=at_once * needed)
    assert cut.together == {1: 1, 2: 2, 5: 3}[at_once]
    for ours, expected in zip(cut([STILL, MOVING]), trained["adamw"], strict=True):
        np.testing.assert_allclose(ours.losses, expected.losses, rtol=1e-5)
        np.testing.assert_allclose(ours.metrics["loss"], expected.metrics["loss"], rtol=1e-5)


def test_where_memory_runs_out_fewer_runs_are_trained_at_once(runs, trained, monkeypatch):
    program, sizes = Program(runs, MAKERS["adamw"], [MOVING, STILL]), []

    def train(chosen, train=program.train):
        sizes.append(len(chosen))
        if len(chosen) > 3:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return train(chosen)

    monkeypatch.setattr(program, "train", train)
    found = list(program([STILL, MOVING]))
    assert sizes == [6, 3, 3]
    assert program.together == 3
    for ours, expected in zip(found, trained["adamw"], strict=True):
        np.testing.assert_allclose(ours.losses, expected.losses, rtol=1e-5)


def test_schedule_free_optimizers_are_evaluated_at_their_average(regression, trained):
    optimizer = optax.contrib.schedule_free_adamw(0.05)
    run = init_run(regression, optimizer, jax.random.key(1_000_000), 6)
    factors = jnp.asarray(shape("cosine", 6))
    optimizer = optax.contrib.schedule_free_adamw(
        lambda count: 0.05 * factors[jnp.minimum(count, 5)]
    )
    run = run._replace(opt_state=optimizer.init(run.params))
    one_step = jax.jit(lambda run: step(regression, optimizer, run)[0])
    for _ in range(6):
        run = one_step(run)
    average = optax.contrib.schedule_free_eval_params(run.opt_state, run.params)
    at_average = regression.evaluate(average, ())["loss"]
    at_params = regression.evaluate(run.params, ())["loss"]
    found = trained["schedule_free"][1].metrics["loss"][0]
    np.testing.assert_allclose(found, at_average, rtol=1e-4)
    assert abs(at_average - at_params) > 1e-3


def test_weight_decay_is_that_of_the_setting(regression, runs):
    settings = [Setting(0.05, "constant", decay) for decay in (0.0, 2.0)]
    program = Program(runs, lambda rate, decay: optax.adamw(rate, weight_decay=decay), settings)
    without, strong = program(settings)
    for trial, decay in ((without, 0.0), (strong, 2.0)):
        optimizer = optax.adamw(0.05, weight_decay=decay)
        run = init_run(regression, optimizer, jax.random.key(1_000_000), 6)
        one_step = jax.jit(lambda run, optimizer=optimizer: step(regression, optimizer, run))
        for t in range(6):
            run, loss = one_step(run)
            np.testing.assert_allclose(trial.losses[0, t], loss, rtol=1e-4)


def test_the_state_of_adam_is_two_averages_and_two_counts(runs):
    program = Program(runs, MAKERS["adamw"], [MOVING])
    params = 4 * 3 + 3
    assert program.state_bytes() == 4 * (2 * params + 2)
