import json
import shutil

import jax.numpy as jnp
import pytest

from lopt.errors import UserError
from lopt.meta.workdir import claim, require_space

CONFIG = {"seed": 0, "outer": {"steps": 3, "widths": (1, 2)}}


def test_a_workdir_keeps_config_and_versions(tmp_path):
    claim(tmp_path / "a" / "b", CONFIG)
    saved = json.loads((tmp_path / "a" / "b" / "config.json").read_text())
    assert saved["config"] == {"seed": 0, "outer": {"steps": 3, "widths": [1, 2]}}
    assert {"python", "jax", "lopt"} <= saved["versions"].keys()


def test_the_same_config_may_come_again_and_another_may_not(tmp_path):
    claim(tmp_path, CONFIG)
    claim(tmp_path, CONFIG)
    with pytest.raises(UserError, match=r"another config \(outer.steps is 3 there and 4 here\)"):
        claim(tmp_path, {**CONFIG, "outer": {"steps": 4, "widths": (1, 2)}})
    assert json.loads((tmp_path / "config.json").read_text())["config"]["outer"]["steps"] == 3


@pytest.mark.parametrize("text", ["", "{", "{}"])
def test_a_broken_config_file_is_named_and_kept(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match="cannot use"):
        claim(tmp_path, CONFIG)
    assert (tmp_path / "config.json").read_text() == text


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot use"):
        claim(tmp_path / "file" / "run", CONFIG)


def test_a_workdir_that_cannot_be_written_is_found_before_compute_is_spent(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("lopt.meta.workdir.write_atomically", refuse)
    with pytest.raises(UserError, match=r"cannot be written: .*Permission denied"):
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
    with pytest.raises(UserError, match="has 30 MiB of free disk space and the run needs 36"):
        require_space(tmp_path, state)
