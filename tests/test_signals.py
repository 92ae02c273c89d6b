import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest
from processes import heeded, launch, run

from lopt.meta import interruption
from lopt.meta.interruption import Interruption
from lopt.signals import handled


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def busy(seconds):
    """Compiled code that does not come back to Python, which is when Python calls its handlers."""
    start = time.monotonic()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000)
    rounds = 100_000 * seconds / (time.monotonic() - start)
    hashlib.pbkdf2_hmac("sha256", b"", b"", int(rounds))
    return time.monotonic()


def test_a_signal_is_handled_while_compiled_code_runs():
    when = []
    kill = ("sh", "-c", f"sleep 0.5; kill -USR1 {os.getpid()}")
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    with handled((signal.SIGUSR1,), lambda number: when.append((number, time.monotonic()))):
        with subprocess.Popen(kill):
            end = busy(2.0)
        wait_until(lambda: when)
    ((number, then),) = when
    assert number == signal.SIGUSR1
    assert then < end - 0.5
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
    left = []
    monkeypatch.setattr(interruption, "leave", left.append)
    monkeypatch.setattr(interruption, "_SAME", 0.2)
    number = signal.Signals[name]
    with heeded(number), Interruption() as stop:
        assert not stop.reached(1)
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        wait_until(lambda: stop.reached(2))
        time.sleep(0.3)
        assert (stop.signal, left) == (number, [])
        os.kill(os.getpid(), number)
        wait_until(lambda: left)
        assert left == [128 + number]


PROGRAM = """
import threading, time
from lopt.commands import run
from lopt.errors import UserError
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
        "import time\nprint('importing', flush=True)\ntime.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(p for p in sys.path if p)}")
    process = launch(*arguments)
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (-signal.SIGINT, "")
