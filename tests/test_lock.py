import errno
import fcntl
import os
import socket

import pytest
from processes import launch

from lopt.errors import UserError
from lopt.lock import only_process

HOLD = (
    "import sys, time, lopt.lock\n"
    "with lopt.lock.only_process(sys.argv[1]):\n"
    "    print('inside', flush=True)\n"
    "    time.sleep(600)\n"
)


def test_a_second_process_is_refused_at_once_and_a_killed_one_leaves_no_lock(tmp_path):
    process = launch("-c", HOLD, tmp_path)
    assert process.stdout.readline() == "inside\n"
    first = f"process {process.pid} on {socket.gethostname()}"
    for _ in range(2):
        with pytest.raises(UserError, match=f"{first} is writing there; .*another --workdir"):
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
    with pytest.raises(UserError, match="cannot be written: Is a directory"):
        only_process(tmp_path).__enter__()


def test_a_file_system_without_locks_is_said_and_used(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="file system without locks"), only_process(tmp_path):
        pass
