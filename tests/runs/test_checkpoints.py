import os
import shutil
import threading
import time
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lopt.base.errors import UserError
from lopt.meta import Best, MetaState
from lopt.meta_train.run import Snapshot
from lopt.runs.checkpoints import Checkpoints, require_keepable, require_space

STEPS = (10, 20)


def snapshot(step):
    """A snapshot whose numbers all depend on its step."""
    theta = {"a": jnp.arange(40.0) + step, "b": jnp.full((3, 2), step)}
    counts = jnp.int32(step), jnp.int32(step % 7)
    state = MetaState(theta, theta, (jnp.ones(3) * step,), ((),), *counts, jax.random.key(step))
    return Snapshot(state, Best(theta, jnp.float32(1 / step), jnp.int32(step)))


LIKE = snapshot(1)


def assert_same(found, expected):
    data = jax.random.key_data
    assert np.array_equal(data(found.state.key), data(expected.state.key))
    rest = [jax.tree.leaves(s._replace(state=s.state._replace(key=0))) for s in (found, expected)]
    for a, b in zip(*rest, strict=True):
        assert np.array_equal(a, b)


def latest(folder):
    with Checkpoints(folder) as checkpoints:
        return checkpoints.latest(LIKE)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept") / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        for step in STEPS:
            checkpoints.save(step, snapshot(step))
    return folder


@pytest.fixture
def copy(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "checkpoints")


def files_of(folder, step=STEPS[-1]):
    return sorted(p.relative_to(folder) for p in (folder / str(step)).rglob("*") if p.is_file())


def test_the_newest_is_read(kept):
    assert_same(latest(kept), snapshot(STEPS[-1]))


def test_none_is_the_start(tmp_path):
    assert_same(latest(tmp_path / "none"), LIKE)


@pytest.mark.parametrize("name", ["run [a]", "run *?"])
def test_a_folder_may_have_any_name(name, tmp_path):
    with Checkpoints(tmp_path / name) as checkpoints:
        checkpoints.save(10, snapshot(10))
    assert_same(latest(tmp_path / name), snapshot(10))


def test_no_flip_of_a_bit_goes_into_a_run(kept, tmp_path, caplog):
    """Wherever it is: the checkpoint before is read, or this one as it was written."""
    fallbacks = set()
    for i, (name, where) in enumerate(product(files_of(kept), (0, 0.5, 1))):
        copy = shutil.copytree(kept, tmp_path / str(i))
        content = bytearray((copy / name).read_bytes())
        content[int(where * (len(content) - 1))] ^= 4
        (copy / name).write_bytes(content)
        found = latest(copy)
        step = int(found.state.step)
        assert step in STEPS
        assert_same(found, snapshot(step))
        if step == STEPS[0]:
            fallbacks.add(str(name.parent.name))
            assert not (copy / str(STEPS[1])).exists()
    assert {"d", "default", "array_metadatas"} <= fallbacks
    assert "checkpoint 20 cannot be read" in caplog.text


@pytest.mark.parametrize("damage", ["cut", "removed", "empty"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(damage, copy, caplog):
    for name in files_of(copy):
        content = (copy / name).read_bytes()
        if damage == "removed":
            (copy / name).unlink()
        else:
            (copy / name).write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    assert_same(latest(copy), snapshot(STEPS[0]))
    assert "checkpoint 20 cannot be read" in caplog.text or damage == "removed"


def test_damage_to_all_is_one_line_and_removes_none(copy):
    for step in STEPS:
        (copy / str(step) / "default" / "_METADATA").write_text("{")
    with pytest.raises(UserError, match="remove"):
        latest(copy)
    assert all((copy / str(step)).exists() for step in STEPS)


def test_an_error_while_writing_is_raised_and_leaves_no_thread_behind(tmp_path):
    def save_to_a_folder_that_is_gone():
        with Checkpoints(tmp_path / "checkpoints") as checkpoints:
            shutil.rmtree(tmp_path / "checkpoints")
            (tmp_path / "checkpoints").write_text("")
            checkpoints.save(10, snapshot(10))

    before = threads()
    with pytest.raises(OSError, match="Not a directory"):
        save_to_a_folder_that_is_gone()
    for thread in threads() - before:
        thread.join(timeout=30)
    assert threads() <= before


def threads():
    """Those that the end of this process would wait for."""
    return {thread for thread in threading.enumerate() if not thread.daemon}


def test_names_and_dates_that_cannot_be_written_are_refused_before_anything(tmp_path, monkeypatch):
    folder = tmp_path / os.fsdecode(b"\xff")
    for refused in (require_keepable, Checkpoints):
        with pytest.raises(UserError, match="UTF-8"):
            refused(folder)
    assert not folder.exists()
    require_keepable(tmp_path)
    monkeypatch.setattr(time, "time", lambda: -1.0)
    with pytest.raises(UserError, match="clock"):
        require_keepable(tmp_path)


def test_a_workdir_that_cannot_be_written_is_found_before_compute_is_spent(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("lopt.runs.checkpoints.write_atomically", refuse)
    with pytest.raises(UserError, match="Permission denied"):
        require_space(tmp_path, {"x": jnp.zeros(1)})


def test_checkpoints_that_are_there_need_no_more_room(tmp_path, monkeypatch):
    state = {"x": jnp.zeros(2**20)}
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    (tmp_path / "checkpoints" / "1" / "data").write_bytes(bytes(8 * 2**20))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=30 * 2**20))
    require_space(tmp_path, state)


def test_a_full_disk_is_found_before_compute_is_spent(tmp_path, monkeypatch):
    state = {"x": jnp.zeros(2**20)}
    require_space(tmp_path, state)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=30 * 2**20))
    with pytest.raises(UserError, match=r"30 MiB .* 36"):
        require_space(tmp_path, state)
