import json

import jax
import jax.numpy as jnp
import optax
import pytest

from lopt.base.errors import UserError
from lopt.meta import ES, MetaTraining, Problem
from lopt.meta_train.extension import earlier_lengths, extend, send
from lopt.runs.workdir import claimed
from lopt.tasks import quadratic

RULE = {"name": "gates", "parts": ("a", "b")}


def config(steps, **other):
    return {"seed": 0, "rule": RULE, "outer": {"steps": steps, "clip": 1.0}, **other}


@pytest.fixture
def workdir(tmp_path):
    with claimed(tmp_path / "run", config(10), ()):
        pass
    return tmp_path / "run"


def test_a_run_is_extended_and_what_it_was_is_kept(workdir):
    versions = json.loads((workdir / "config.json").read_text())["versions"]
    assert earlier_lengths(workdir) == []
    for steps in (20, 20, 25):
        extend(workdir, config(steps), finished=True)
    assert earlier_lengths(workdir) == [10, 20]
    with claimed(workdir, config(25), ()):
        pass
    assert json.loads((workdir / "config.json").read_text())["versions"] == versions


def test_an_extension_that_is_under_way_is_no_mistake(workdir):
    extend(workdir, config(20), finished=True)
    extend(workdir, config(20), finished=False)
    assert earlier_lengths(workdir) == [10]


@pytest.mark.parametrize(
    ("given", "finished", "words"),
    [
        (config(20, seed=1), True, "seed is 0 .*outer.steps"),
        (config(20, from_theta="12"), True, "from_theta"),
        (config(9), True, "10 .*outer.steps than 9"),
        (config(20), False, "outer.steps=10"),
    ],
)
def test_what_is_no_extension_is_refused_and_changes_nothing(given, finished, words, workdir):
    before = (workdir / "config.json").read_bytes()
    with pytest.raises(UserError, match=words):
        extend(workdir, given, finished)
    assert (workdir / "config.json").read_bytes() == before


def test_a_folder_without_a_run_is_not_extended(tmp_path):
    with pytest.raises(UserError, match="--extend"):
        extend(tmp_path, config(20), finished=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("lengths", [3, [3, 2], ["3"], [0], [2.5]])
def test_lengths_that_make_no_sense_are_damage(lengths, workdir):
    file = workdir / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "earlier_lengths": lengths}))
    with pytest.raises(UserError, match=r"config\.json"):
        earlier_lengths(workdir)


def part(rate):
    problem = Problem(quadratic(), lambda theta: optax.sgd(jnp.exp(theta["log_rate"])))
    return MetaTraining([problem], [ES(pairs=1, horizon=2)], optax.sgd(rate))


def test_each_part_is_taken_by_its_own_meta_training_from_wherever_the_run_is():
    parts = [(part(0.0), 2), (part(0.1), 3), (part(0.0), 5)]
    start = parts[0][0].init({"log_rate": jnp.float32(-3.0)}, jax.random.key(0))
    taken = list(send(parts, start))
    assert [int(report.step) for _, report in taken] == [1, 2, 3, 4, 5]
    rates = [float(state.theta["log_rate"]) for state, _ in taken]
    assert rates[:2] == [-3.0, -3.0]
    assert rates[2] != -3.0
    assert rates[3:] == [rates[2]] * 2
    for done in (1, 2, 3):
        again = [float(s.theta["log_rate"]) for s, _ in send(parts, taken[done - 1][0])]
        assert again == rates[done:]
    assert [int(report.step) for _, report in send([(parts[0][0], 1)], start)] == [1]
