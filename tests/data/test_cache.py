import os
import warnings

import numpy as np
import pytest
from safetensors.numpy import save_file

from lopt.data.cache import CacheWarning, cached, file_of, folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LOPT_CACHE", str(tmp_path / "cache"))


class Maker:
    """Counts how often its arrays are made."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"x": np.arange(1000.0), "y": np.arange(3)}


def test_arrays_are_made_once_and_come_back_as_they_were():
    make = Maker()
    first, second = (cached("set/config", {"side": 8}, make) for _ in range(2))
    assert make.calls == 1
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
        assert array.dtype == second[name].dtype


def test_arrays_whose_axes_lie_in_another_order_come_back_as_they_were():
    whole = np.arange(24.0).reshape(2, 3, 4)
    for _ in range(2):
        found = cached("set", {}, lambda: {"x": whole.transpose(2, 0, 1)})
        np.testing.assert_array_equal(found["x"], whole.transpose(2, 0, 1))


def test_other_arguments_are_other_files():
    make = Maker()
    for arguments in ({"side": 8}, {"side": 9}, {"side": 8, "grey": True}):
        cached("set", arguments, make)
    cached("other", {"side": 8}, make)
    assert make.calls == 4
    assert len(list(folder().iterdir())) == 4


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_file_is_made_anew_and_said_so(damage):
    make = Maker()
    whole = cached("set", {}, make)
    file = file_of("set", {})
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"cut": content[:500], "flipped": content, "empty": b"", "text": b"hello"}
    file.write_bytes(damaged[damage])
    with pytest.warns(CacheWarning, match="made again"):
        again = cached("set", {}, make)
    assert make.calls == 2
    np.testing.assert_array_equal(again["x"], whole["x"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cached("set", {}, make)
    assert make.calls == 2


def save_as_numpy_does(file):
    np.savez(file.with_suffix(".npz"), x=np.zeros(3))
    file.with_suffix(".npz").rename(file)


def save_with_other_metadata(file):
    save_file({"x": np.zeros(3)}, file, {"made by": "another program"})


@pytest.mark.parametrize("save", [save_as_numpy_does, save_with_other_metadata, os.mkfifo])
def test_a_file_that_the_cache_did_not_write_is_not_read(save):
    make = Maker()
    file = file_of("set", {})
    file.parent.mkdir(parents=True)
    save(file)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        again = cached("set", {}, make)
    assert "made again" in str(said[0].message)
    assert (len(said) == 2) == (save is os.mkfifo)  # it cannot be replaced
    assert make.calls == 1
    np.testing.assert_array_equal(again["x"], make()["x"])


def test_a_flip_of_any_byte_is_found():
    def make():
        return {"x": np.arange(3), "classes": np.asarray(10)}

    cached("set", {}, make)
    file = file_of("set", {})
    content = file.read_bytes()
    for i in range(len(content)):
        flipped = bytearray(content)
        flipped[i] ^= 0x11
        file.write_bytes(flipped)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CacheWarning)
            again = cached("set", {}, make)
        assert {k: v.tolist() for k, v in again.items()} == {"x": [0, 1, 2], "classes": 10}


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LOPT_CACHE", str(tmp_path / "file" / "cache"))
    make = Maker()
    with pytest.warns(CacheWarning, match="LOPT_CACHE"):
        arrays = cached("set", {}, make)
    assert arrays["x"].shape == (1000,)


def test_nothing_is_left_where_making_fails():
    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached("set", {}, fail)
    assert not folder().exists()


def test_the_default_folder_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("LOPT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder() == tmp_path / "lopt"
