import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from processes import run

from lopt.base.errors import UserError
from lopt.meta import PES, MetaTraining, Problem, Validation
from lopt.meta.loop import one_ahead
from lopt.meta.unroll import init_run, unroll
from lopt.tasks import quadratic

HORIZON, CAP = 6, 5.0
PROBLEM = Problem(quadratic(), lambda theta: optax.sgd(theta["rate"]))
OTHER = PROBLEM._replace(task=quadratic(dimension=3, condition=2.0), scale=2.0)


def theta_of(rate):
    return {"rate": jnp.float32(rate)}


def validation_of(*problems, every=2, runs=4, **options):
    return Validation(problems or (PROBLEM,), HORIZON, CAP, every, runs, **options)


def loss_of(validation, rate):
    theta = theta_of(rate)
    return validation(validation.init(theta), theta, 1)[1]


def losses_by_hand(problem, rate, seeds):
    optimizer = optax.sgd(rate)
    for key in seeds:
        start_ = init_run(problem.task, optimizer, key, HORIZON)
        yield unroll(problem.task, optimizer, start_, HORIZON)[1].values


@pytest.mark.parametrize("rate", [0.0, 0.1, 3.0])
def test_the_loss_is_the_mean_of_whole_unperturbed_runs_scaled_and_capped(rate):
    seeds = jax.random.split(jax.random.key(2_000_000), 4)
    losses = np.stack(list(losses_by_hand(OTHER, rate, seeds))) / OTHER.scale
    assert (losses.max() > CAP) == (rate == 3.0)
    expected = np.where(losses < CAP, losses, CAP).mean()
    np.testing.assert_allclose(loss_of(validation_of(OTHER), rate).mean, expected, rtol=1e-5)


def test_the_same_theta_has_the_same_loss_at_any_step():
    validation = validation_of()
    best = validation.init(theta_of(0.0))
    losses = [validation(best, theta_of(0.1), step)[1].mean for step in (1, 7)]
    assert losses[0] == losses[1]
    assert losses[0] != loss_of(validation, 0.2).mean


def test_problems_count_by_their_weights():
    both = loss_of(validation_of(PROBLEM, OTHER, weights=(3.0, 1.0)), 0.1)
    alone = [loss_of(validation_of(p), 0.1).mean for p in (PROBLEM, OTHER)]
    np.testing.assert_allclose(both.parts, alone, rtol=1e-6)
    assert alone[0] != alone[1]
    np.testing.assert_allclose(both.mean, 0.75 * alone[0] + 0.25 * alone[1], rtol=1e-6)


def test_the_best_is_that_of_the_lowest_loss_and_the_first_of_equals():
    validation = validation_of()
    best, seen = validation.init(theta_of(0.0)), []
    assert float(best.loss) == np.inf
    for step, rate in enumerate((0.01, 0.1, 0.05, 0.1), start=1):
        best, loss = validation(best, theta_of(rate), step)
        seen.append(float(loss.mean))
    assert seen[1] == seen[3] == min(seen) < seen[2] < seen[0]
    assert (float(best.theta["rate"]), int(best.step)) == (pytest.approx(0.1), 2)
    assert float(best.loss) == seen[1]


def test_a_loss_that_is_no_number_is_never_the_best():
    nan = PROBLEM._replace(objective=lambda losses, fraction: jnp.nan * losses)
    validation = Validation([nan], HORIZON, CAP, 1, 2)
    best, loss = validation(validation.init(theta_of(0.0)), theta_of(0.1), 1)
    assert np.isnan(loss.mean)
    assert (float(best.loss), int(best.step), float(best.theta["rate"])) == (np.inf, 0, 0.0)


def training():
    return MetaTraining([PROBLEM], [PES(2, 2, HORIZON, sigma=0.01)], optax.adam(0.05))


def watched(validation, state, best, steps):
    sent = training().send(state, steps)
    return list(one_ahead(validation.watch(sent, best, int(state.step), [steps])))


def test_it_is_taken_every_so_many_steps_and_after_the_last_and_changes_nothing():
    state = training().init(theta_of(0.01), jax.random.key(0))
    plain = [s.theta["rate"] for s, _ in training().run(state, 7)]
    validation = validation_of(every=3)
    steps = watched(validation, state, validation.init(state.theta), 7)
    assert [s.theta["rate"] for s, *_ in steps] == plain
    losses = {int(s.step): loss for s, _, _, loss in steps if loss is not None}
    assert list(losses) == [3, 6, 7]
    for step, loss in losses.items():
        np.testing.assert_allclose(loss.mean, loss_of(validation, plain[step - 1]).mean, rtol=1e-6)
    best = steps[-1][2]
    assert float(best.loss) == min(float(loss.mean) for loss in losses.values())
    assert best.theta["rate"] == plain[int(best.step) - 1]


def test_going_on_from_a_best_is_as_if_never_stopped():
    state = training().init(theta_of(0.01), jax.random.key(0))
    validation = validation_of(every=3)
    whole = watched(validation, state, validation.init(state.theta), 7)
    halfway, _, best, _ = whole[3]
    again = watched(validation, halfway, best, 7)
    assert [int(s.step) for s, *_ in again] == [5, 6, 7]
    assert jax.tree.map(float, again[-1][2]) == jax.tree.map(float, whole[-1][2])


def test_none_is_taken_every_0_steps():
    state = training().init(theta_of(0.01), jax.random.key(0))
    validation = Validation((), HORIZON, CAP, every=0, runs=1)
    steps = watched(validation, state, validation.init(state.theta), 2)
    assert [loss for *_, loss in steps] == [None, None]


def test_a_validation_is_sent_off_before_the_next_step():
    sent = []

    def steps():
        for state, report in training().send(begun, 3):
            sent.append(len(sent) + 1)
            yield state, report

    begun = training().init(theta_of(0.01), jax.random.key(0))
    validation = validation_of(every=1)
    for *_, loss in validation.watch(steps(), validation.init(begun.theta), 0, [3]):
        assert loss is not None
        assert sent == [1]
        break


ON_EIGHT_DEVICES = """
import jax, jax.numpy as jnp, numpy as np, optax
from lopt.meta import Problem, Validation
from lopt.meta.particles import particle_mesh
from lopt.tasks import quadratic

mesh = particle_mesh(8)
assert mesh.size == 8
theta = jax.device_put(jnp.float32(0.1), jax.NamedSharding(mesh, jax.P()))
for runs in (8, 3):
    alone = Problem(quadratic(), optax.sgd)
    spread = alone._replace(mesh=mesh)
    losses = []
    for problem, rate in ((alone, jnp.float32(0.1)), (spread, theta)):
        validation = Validation([problem], 6, 5.0, every=1, runs=runs)
        best, loss = validation(validation.init(rate), rate, 4)
        assert (float(best.loss), int(best.step)) == (float(loss.mean), 4)
        losses.append(float(loss.mean))
    assert best.theta.sharding.is_fully_replicated
    np.testing.assert_allclose(*losses, rtol=1e-6)
"""


def test_eight_devices_measure_what_one_does_however_many_runs_there_are():
    result = run("-c", ON_EIGHT_DEVICES, devices=8)
    assert result.returncode == 0, result.stderr


def test_the_best_keeps_its_type_whatever_a_loss_has():
    """With 64 bits the loss has more of them than the best before the first validation."""
    with jax.enable_x64(True):
        validation = validation_of()
        start = validation.init(theta_of(0.1))
        best, loss = validation(start, theta_of(0.1), 1)
    assert loss.parts[0].dtype == jnp.float64
    assert (best.loss.dtype, int(best.step)) == (start.loss.dtype, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": -1}, "every must be an integer of at least 0, not -1"),
        ({"runs": 0}, "runs must be a positive integer, not 0"),
    ],
)
def test_impossible_numbers_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        validation_of(**options)
