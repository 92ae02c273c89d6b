import errno
import fcntl
import os
import socket

import pytest
from processes import launch

from lopt.base.errors import UserError
from lopt.runs.lock import only_process

HOLD = (
    "import sys, time, lopt.runs.lock\n"
    "with lopt.runs.lock.only_process(sys.argv[1]):\n"
    "    print('inside', flush=True)\n"
    "    time.sleep(600)\n"
)


def test_a_second_process_is_refused_at_once_and_a_killed_one_leaves_no_lock(tmp_path):
    process = launch("-c", HOLD, tmp_path)
    assert process.stdout.readline() == "inside\n"
    first = f"process {process.pid} on {socket.gethostname()}"
    for _ in range(2):
        with pytest.raises(UserError, match=first):
            only_process(tmp_path).__enter__()
    process.kill()
    process.wait()
    with only_process(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()


def test_a_folder_is_free_again_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), only_process(tmp_path):
            raise KeyError


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(UserError, match="Is a directory"):
        only_process(tmp_path).__enter__()


def link_to(victim, lock):
    victim.write_text("mine")
    lock.symlink_to(victim)


def second_name_of(victim, lock):
    victim.write_text("mine")
    lock.hardlink_to(victim)


def somebodys_text(victim, lock):
    victim.write_text("mine")
    lock.write_text("mine")


def make_socket(victim, lock):
    victim.write_text("mine")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(lock))


def make_pipe(victim, lock):
    victim.write_text("mine")
    os.mkfifo(lock)


@pytest.mark.parametrize(
    "make",
    [link_to, second_name_of, somebodys_text, make_socket, make_pipe],
    ids=lambda f: f.__name__,
)
def test_what_stands_in_the_place_of_the_lock_is_named_and_left(make, tmp_path):
    make(tmp_path / "victim", tmp_path / ".lock")
    before = os.lstat(tmp_path / ".lock")
    with pytest.raises(UserError, match=r"\.lock is not the file") as raised:
        only_process(tmp_path).__enter__()
    assert "\n" not in str(raised.value)
    assert (tmp_path / "victim").read_text() == "mine"
    assert os.lstat(tmp_path / ".lock")[:7] == before[:7]


@pytest.mark.parametrize("text", ["", "proc", "process 1 on a"])
def test_a_lock_that_a_killed_process_left_is_taken_over(text, tmp_path):
    (tmp_path / ".lock").write_text(text)
    with only_process(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()


def test_a_file_system_without_locks_is_said_and_used(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="without locks"), only_process(tmp_path):
        pass
