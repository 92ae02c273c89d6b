import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from processes import heeded, launch, run

from lopt.runs import signals
from lopt.runs.command_start import is_command
from lopt.runs.signals import Interruption, handled


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Gate:
    """A lock of the C library, at which a thread waits without coming back to Python.

    Python calls its handlers of signals when compiled code comes back; this code does not before
    the gate is open, whatever signals come.
    """

    def __init__(self):
        self._library = ctypes.CDLL(None)
        self._lock = ctypes.create_string_buffer(128)
        self._closed, self._let_in = threading.Event(), threading.Event()
        threading.Thread(target=self._hold, daemon=True).start()
        self._closed.wait()

    def _hold(self):
        self._library.pthread_mutex_lock(self._lock)
        self._closed.set()
        self._let_in.wait()
        self._library.pthread_mutex_unlock(self._lock)

    def open(self):
        self._let_in.set()

    def opened_in_time(self):
        """Wait at the gate; whether it was opened within half a minute."""
        end = (ctypes.c_long * 2)(int(time.time()) + 30, 0)
        return self._library.pthread_mutex_timedlock(self._lock, end) == 0


def test_a_signal_is_handled_while_compiled_code_runs():
    """The code comes back only because the signal was handled: no clock has to be right."""
    came, gate = [], Gate()
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)

    def action(number):
        came.append(number)
        gate.open()

    with handled((signal.SIGUSR1,), action):
        kill = ("sh", "-c", f"sleep 0.1; kill -USR1 {os.getpid()}")
        with subprocess.Popen(kill):
            assert gate.opened_in_time()
    assert came == [signal.SIGUSR1]
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            wait_until(lambda: stop.signal is not None)
            assert stop.signal == signal.SIGTERM
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"])
def test_a_signal_is_noted_and_a_second_one_ends_the_process(name, monkeypatch):
    """One that comes within a second of the first is the same; the clock is the test's."""
    left, noted, clock = [], [], [0.0]
    note = Interruption.note
    monkeypatch.setattr(signals, "leave", left.append)
    monkeypatch.setattr(signals, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(
        Interruption, "note", lambda self, n: (note(self, n), noted.append(clock[0]))
    )
    number = signal.Signals[name]
    with heeded(number), Interruption() as stop:
        assert not stop.reached(1)
        for seconds in (0.0, 0.9, 1.1):
            assert left == []
            clock[0] = seconds
            os.kill(os.getpid(), number)
            wait_until(lambda: clock[0] in noted)
        assert stop.reached(2)
    assert (stop.signal, noted, left) == (number, [0.0, 0.9, 1.1], [128 + number])


PROGRAM = """
import threading, time
from lopt.runs.commands import run
from lopt.base.errors import UserError
def main(argv):
    threading.Thread(target=time.sleep, args=(600,)).start()
    print("started", flush=True)
    {}
if __name__ == "__main__":
    run(main)
"""


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("raise UserError('one line')", 2, "error: one line\n"),
        ("raise KeyError('one')", 1, "KeyError: 'one'\n"),
    ],
)
def test_an_end_with_an_error_waits_for_no_thread(line, status, words):
    result = run("-c", PROGRAM.format(line))
    assert (result.returncode, result.stdout) == (status, "started\n")
    assert result.stderr.endswith(words)
    assert ("Traceback" in result.stderr) == (status == 1)


def test_ctrl_c_ends_a_program_quietly_wherever_it_is():
    process = launch(
        "-c", PROGRAM.format("import hashlib; hashlib.pbkdf2_hmac('md5', b'', b'', 10**9)")
    )
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + signal.SIGINT, "")


@pytest.mark.parametrize(
    "arguments", [("meta_train.py",), ("-m", "lopt.meta_train"), ("-m", "lopt.compare")], ids=str
)
def test_ctrl_c_during_imports_ends_a_program_quietly(arguments, tmp_path, monkeypatch):
    """A module in jax' place tells when its import begins, and takes its time."""
    (tmp_path / "jax.py").write_text(
        "import os, time\nprint(os.environ['MPLBACKEND'], flush=True)\ntime.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(p for p in sys.path if p)}")
    process = launch(*arguments, MPLBACKEND="no backend")
    assert process.stdout.readline() == "agg\n"  # which draws files, whatever was asked for
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (-signal.SIGINT, "")


PROGRAM_OF_A_USER = """
import os, signal
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, os.environ["MPLBACKEND"])
raise SystemExit
"""


@pytest.mark.parametrize(
    "arguments", [("-m", "program.main"), ("-m", "program"), ("-c", "import lopt")], ids=str
)
def test_importing_lopt_leaves_a_programs_ctrl_c_and_backend_alone(
    arguments, tmp_path, monkeypatch
):
    """A module in jax' place tells what is set when the import has come to it."""
    (tmp_path / "jax.py").write_text(PROGRAM_OF_A_USER)
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "__init__.py").write_text("import lopt\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(p for p in sys.path if p)}")
    result = run(*arguments, MPLBACKEND="mine")
    assert (result.stdout, result.stderr) == ("True mine\n", "")


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        (["python", "-m", "lopt.compare"], True),
        (["python", "-Xdev", "-mlopt.compare"], True),
        (["python", "-bm", "lopt.predict.zoo"], True),
        (["python", "-m", "lopt"], True),
        (["python", "-m", "loptimal.compare"], False),
        (["python", "-m", "my.lopt"], False),
    ],
)
def test_only_commands_of_the_package_are_told_apart_while_they_are_imported(original, expected):
    assert is_command(["-m"], original) == expected
    assert is_command(["-m", "--seeds=3", "-m"], [*original, "--seeds=3", "-m"]) == expected
    assert not is_command(["program.py"], original)
