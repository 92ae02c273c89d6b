"""What a comparison keeps is believed where it is whole, and made again where it is not."""

import os
import shutil
import warnings

import numpy as np
import optax
import pytest
from regressions import linear_regression

import lopt.compare.runs
from lopt.base.errors import UserError
from lopt.compare import compare
from lopt.compare.store import ARCHIVE, TrialWarning, opened
from lopt.compare.trials import Setting, Trial

SETTING = Setting(0.01, "cosine", 0.1)
LOSSES = np.array([[3.0, 2.0, 1.0], [3.0, np.nan, np.inf]], np.float32)
TRIAL = Trial(SETTING, LOSSES, {"loss": np.array([1.5, np.nan]), "accuracy": np.array([0.5, 0.0])})
TIMES = {"adamw": 1.25, "sgd": float("nan")}


@pytest.fixture
def store(tmp_path):
    with opened(tmp_path / "run", {}) as store:
        store.save("a task", "adamw", TRIAL)
        store.save_times("a task", TIMES)
        yield store


def only(store, pattern):
    (file,) = store.claim.workdir.rglob(pattern)
    return file


def assert_same(found):
    assert found.setting == SETTING
    np.testing.assert_array_equal(found.losses, LOSSES)
    assert found.metrics.keys() == TRIAL.metrics.keys()
    for name, values in TRIAL.metrics.items():
        np.testing.assert_array_equal(found.metrics[name], values)


def test_a_trial_comes_back_as_it_was_its_losses_finite_or_not(store):
    assert_same(store.load("a task", "adamw", SETTING))
    np.testing.assert_equal(store.load_times("a task"), TIMES)


def test_what_was_not_kept_is_none_without_a_word(store):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.load("a task", "adamw", SETTING._replace(weight_decay=None)) is None
        assert store.load("another", "adamw", SETTING) is None
        assert store.load_times("another") == {}


@pytest.mark.parametrize("keep", [0, 1, 8, 200, -1])
def test_a_trial_that_is_cut_counts_as_not_kept_and_is_kept_again(keep, store):
    file = only(store, "trials/*/*/*")
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.warns(TrialWarning, match="damaged"):
        assert store.load("a task", "adamw", SETTING) is None
    store.save("a task", "adamw", TRIAL)
    assert_same(store.load("a task", "adamw", SETTING))


def test_the_trial_of_something_else_is_not_believed(store):
    file = only(store, "trials/*/*/*")
    other = SETTING._replace(weight_decay=0.2)
    shutil.copy(file, file.with_name("0.01-cosine-0.2.safetensors"))
    with pytest.warns(TrialWarning, match="another trial"):
        assert store.load("a task", "adamw", other) is None


@pytest.mark.parametrize(
    "arrays",
    [
        {"loss": np.ones(2)},
        {"losses": np.ones(2)},
        {"losses": np.ones((2, 3), np.complex64)},
        {"losses": np.ones((2, 3)), "metric/loss": np.ones(3)},
    ],
)
def test_a_trial_of_other_arrays_is_not_believed(arrays, store):
    file = only(store, "trials/*/*/*")
    _, contents = ARCHIVE.read(file)
    ARCHIVE.write(file, arrays, contents)
    with pytest.warns(TrialWarning, match="made again"):
        assert store.load("a task", "adamw", SETTING) is None


@pytest.mark.filterwarnings("ignore::lopt.compare.store.TrialWarning")
def test_no_flip_of_a_bit_is_believed(store):
    for pattern, places in (("trials/*/*/*", 150), ("step_ms.json", 150)):
        file, damaged = only(store, pattern), 0
        whole = file.read_bytes()
        for place in np.random.default_rng(0).integers(8 * len(whole), size=places):
            content = bytearray(whole)
            content[place // 8] ^= 1 << place % 8
            file.write_bytes(content)
            trial, times = store.load("a task", "adamw", SETTING), store.load_times("a task")
            damaged += trial is None or not times
            if trial is not None:
                assert_same(trial)
            if times:
                np.testing.assert_equal(times, TIMES)
        file.write_bytes(whole)
        assert damaged > 0.9 * places


def test_a_workdir_that_is_gone_is_not_made_again(tmp_path):
    def removed_while_open():
        with opened(tmp_path / "run", {}) as store:
            shutil.rmtree(tmp_path / "run")
            with pytest.raises(UserError, match="removed or emptied"):
                store.save("a task", "adamw", TRIAL)
            with pytest.raises(UserError, match="removed or emptied"):
                store.save_times("a task", TIMES)
            assert not (tmp_path / "run").exists()

    with pytest.raises(UserError, match="removed or emptied"):
        removed_while_open()


def test_a_pipe_in_the_place_of_a_trial_ends_the_comparison_with_a_line(store):
    for file in (only(store, "trials/*/*/*"), only(store, "step_ms.json")):
        file.unlink()
        os.mkfifo(file)
    assert store.load_times("a task") == {}
    with pytest.warns(TrialWarning, match="trial"):
        assert store.load("a task", "adamw", SETTING) is None
    with pytest.raises(UserError, match="pipe"):
        store.save("a task", "adamw", TRIAL)
    with pytest.raises(UserError, match="pipe"):
        store.save_times("a task", TIMES)


def test_a_comparison_makes_damaged_trials_again_and_no_other(tmp_path, monkeypatch):
    task = linear_regression()
    optimizers = {name: optax.sgd(0.01 * (i + 1)) for i, name in enumerate("abc")}

    def results():
        return compare(optimizers, {"t": task}, steps=5, seeds=2, workdir=tmp_path).to_dict()

    first = results()
    assert not any(o["error"] for o in first["tasks"][0]["optimizers"])
    for name, damage in (("a", b""), ("b", bytes(300))):
        (file,) = tmp_path.glob(f"trials/*/{name}-*/*")
        file.write_bytes(damage)
    trained = []

    def call(program, lanes, call=lopt.compare.runs.Program.train):
        trained.append(len(lanes))
        return call(program, lanes)

    monkeypatch.setattr(lopt.compare.runs.Program, "train", call)
    with pytest.warns(TrialWarning, match="damaged"):
        assert results() == first
    assert trained == [2, 2]
