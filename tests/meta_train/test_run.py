"""Runs in this process; test_survival.py has those that are killed."""

import resource

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lopt.base.errors import UserError
from lopt.meta import ES, MetaTraining, Problem, Validation
from lopt.meta_train.run import Snapshot, finish
from lopt.runs.workdir import claimed
from lopt.tasks import quadratic

THETA = {"log_rate": jnp.float32(-3.0)}
STEPS = 4


def begin(rate, scale=1.0, theta=THETA):
    """A run of meta-training before its first step."""
    problem = Problem(quadratic(), lambda theta: optax.sgd(scale * jnp.exp(theta["log_rate"])))
    training = MetaTraining([problem], [ES(pairs=1, horizon=2)], optax.sgd(rate))
    validation = Validation([], 2, 10.0, 0, 1)
    state = training.init(theta, jax.random.key(0))
    return training, validation, Snapshot(state, validation.init(theta))


def take(workdir, run, every=2, most=99, steps=STEPS, claim=None):
    training, *rest = run
    options = {"checkpoint_every": every, "max_skipped": most, "claim": claim}
    return finish([(training, steps)], *rest, workdir, ["quadratic"], **options)[0]


@pytest.mark.parametrize(
    ("rate", "scale", "words"),
    [
        (float("nan"), 1.0, "lower outer.learning_rate"),
        (float("inf"), 1.0, "lower outer.learning_rate"),
        (0.1, float("nan"), "diverged"),
    ],
)
def test_a_run_in_which_every_step_was_skipped_is_an_error(rate, scale, words, tmp_path):
    run = begin(rate, scale)
    with pytest.raises(UserError, match=f"4 meta-steps.*{words}"):
        take(tmp_path, run)
    with pytest.raises(UserError, match="4 meta-steps"):
        take(tmp_path, run)  # from the checkpoint of its last step
    with pytest.raises(UserError, match=f"2 meta-steps.*{words}"):
        take(tmp_path / "at most", run, most=2)


@pytest.fixture
def small_files():
    """Files end at 8 KiB, and the system refuses to write more, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_checkpoint_that_cannot_be_written_is_one_line(small_files, tmp_path):
    more = jax.random.normal(jax.random.key(1), (10_000,))
    run = begin(0.1, theta={**THETA, "unused": more})
    list(run[0].run(run[2].state, 1))  # compiled, and cached, as long as files may be large
    small_files()

    def run_in_workdir():
        with claimed(tmp_path, {}, ()):
            take(tmp_path, run)

    with pytest.raises(UserError, match="File too large"):
        run_in_workdir()


def test_a_workdir_that_is_moved_ends_a_run_at_the_next_checkpoint_and_is_not_made_again(tmp_path):
    def taken_away():
        (tmp_path / "run").rename(tmp_path / "moved")

    def run_and_move():
        with claimed(tmp_path / "run", {}, ()) as claim:
            training, *rest = begin(0.1)
            training.send = moved_after(training.send, 1, taken_away)
            take(tmp_path / "run", (training, *rest), every=3, steps=6, claim=claim)

    with pytest.raises(UserError, match="moved"):
        run_and_move()
    assert not (tmp_path / "run").exists()
    assert list((tmp_path / "moved" / "checkpoints").iterdir()) == []


def moved_after(send, steps, action):
    def sent(*arguments):
        for i, item in enumerate(send(*arguments)):
            if i == steps + 1:  # one ahead of what is recorded
                action()
            yield item

    return sent


def test_a_run_without_compilation_is_the_same(tmp_path):
    expected = take(tmp_path / "compiled", begin(0.1)).state.theta
    with jax.disable_jit():
        found = take(tmp_path / "not compiled", begin(0.1)).state.theta
    np.testing.assert_allclose(found["log_rate"], expected["log_rate"], rtol=1e-6)
