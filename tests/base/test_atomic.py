import errno
import fcntl
import os
import socket

import pytest

from lopt.base.atomic import remove_partial, replacing, write_atomically
from lopt.base.errors import UserError


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


@pytest.mark.parametrize("below", [False, True])
def test_what_a_killed_process_left_is_removed_and_nothing_else(below, tmp_path):
    folder = tmp_path / "[a]" / "b"
    folder.mkdir(parents=True)
    for name in ("a.0123abcd.partial", "a", "partial", "film.mkv.partial"):
        (folder / name).write_text("")
    remove_partial(tmp_path / "[a]" if below else folder, below=below)
    assert sorted(os.listdir(folder)) == ["a", "film.mkv.partial", "partial"]


def test_what_a_killed_writer_left_goes_at_the_next_write_and_a_living_one_is_left_alone(tmp_path):
    killed = [tmp_path / f"{name}.0123abcd.partial" for name in "ab"]
    for file in killed:
        file.write_text("half")  # locks end with their process
    with replacing(tmp_path / "a") as living:
        assert not killed[0].exists()
        living.write_text("first")
        write_atomically(tmp_path / "a", "second")
        assert living.read_text() == "first"
    assert sorted(os.listdir(tmp_path)) == ["a", "b.0123abcd.partial"]
    assert (tmp_path / "a").read_text() == "first"


def test_a_file_whose_lock_another_process_was_quicker_to_get_is_made_anew(tmp_path, monkeypatch):
    def removed_first(descriptor, operation):
        if not seen:
            (partial,) = tmp_path.iterdir()
            partial.unlink()
            seen.append(partial.name)

    seen = []
    monkeypatch.setattr(fcntl, "flock", removed_first)
    write_atomically(tmp_path / "a", "text")
    assert (os.listdir(tmp_path), len(seen)) == (["a"], 1)


def test_without_locks_files_are_written_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / "a.0123abcd.partial").write_text("of a process that may be alive")
    write_atomically(tmp_path / "a", "text")
    assert sorted(os.listdir(tmp_path)) == ["a", "a.0123abcd.partial"]


def test_a_link_stays_and_the_file_that_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    for name in ("old", "new"):
        (tmp_path / name).symlink_to(tmp_path / "there" / name)
    (tmp_path / "there" / "old").write_text("before")
    for name in ("old", "new"):
        write_atomically(tmp_path / name, "after")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "there" / name).read_text() == "after"
    assert sorted(os.listdir(tmp_path / "there")) == ["new", "old"]


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a pipe"),
        (os.mkdir, "a folder"),
        (make_socket, "a socket"),
        (lambda path: path.symlink_to("/dev/null"), "a device"),
    ],
    ids=["pipe", "folder", "socket", "link to a device"],
)
def test_what_is_no_file_is_refused_and_stays(make, kind, tmp_path):
    make(tmp_path / "a")
    before = os.lstat(tmp_path / "a"), os.stat(tmp_path / "a")
    with pytest.raises(UserError, match=f"a' is {kind} and is not written over"):
        write_atomically(tmp_path / "a", "text")
    assert os.listdir(tmp_path) == ["a"]
    assert [x.st_ino for x in before] == [f(tmp_path / "a").st_ino for f in (os.lstat, os.stat)]


def test_links_in_a_circle_are_an_error_of_the_system(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "a")
    with pytest.raises(OSError, match="symbolic links"):
        write_atomically(tmp_path / "a", "text")
    assert os.listdir(tmp_path) == ["a"]
