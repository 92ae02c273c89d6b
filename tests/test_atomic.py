import os

import pytest

from lopt.atomic import remove_partial, replacing, write_atomically


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    for text in ("old", "new"):
        write_atomically(tmp_path / "a", text)
        assert (tmp_path / "a").read_text() == text
    assert os.listdir(tmp_path) == ["a"]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    def interrupted():
        with replacing(tmp_path / "a") as partial:
            partial.write_text("ne")
            raise KeyboardInterrupt

    write_atomically(tmp_path / "a", "old")
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_contents_are_on_the_disk_before_they_replace_the_old_ones(tmp_path, monkeypatch):
    def synced(descriptor):
        (partial,) = tmp_path.glob("a.*")
        assert os.fstat(descriptor).st_ino == partial.stat().st_ino
        assert partial.read_text() == "new"
        order.append("sync")

    def replaced(*names, replace=os.replace):
        order.append("replace")
        replace(*names)

    order = []
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    write_atomically(tmp_path / "a", "new")
    assert order == ["sync", "replace"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    with replacing(tmp_path / "a") as first, replacing(tmp_path / "a") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a").read_text() == "first"
    assert os.listdir(tmp_path) == ["a"]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "[a]").mkdir()
    for name in ("a.1234.partial", "a", "partial"):
        (tmp_path / "[a]" / name).write_text("")
    remove_partial(tmp_path / "[a]")
    assert sorted(os.listdir(tmp_path / "[a]")) == ["a", "partial"]
