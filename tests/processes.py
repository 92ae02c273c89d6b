"""The project's command lines as processes, with the tests' compilation cache."""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent

XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
"""Most of the tests' time would be spent on optimizing code that runs for milliseconds."""


def launch(*arguments, devices=1, stdout=subprocess.PIPE, **variables):
    """Start Python with these arguments, on so many devices that the host pretends to have.

    Variables are those of the environment that are to be set otherwise.
    """
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".jax_cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
        "MPLBACKEND": "Agg",
        "XLA_FLAGS": f"{XLA_FLAGS} --xla_force_host_platform_device_count={devices}",
        **variables,
    }
    with heeded(signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env=environment,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
    atexit.register(process.kill)
    return process


@contextmanager
def heeded(*numbers):
    """Signals that tests in the background or under `nohup` ignore, and hand on so to processes."""
    ignored = [n for n in numbers if signal.getsignal(n) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def ends(*processes, timeout=300):
    """The exit status, the output and the errors of each; all are killed if one takes longer."""
    try:
        said = [process.communicate(timeout=timeout) for process in processes]
    except subprocess.TimeoutExpired:
        for process in processes:
            process.kill()
        raise
    return [(p.returncode, *lines) for p, lines in zip(processes, said, strict=True)]


def run(*arguments, timeout=300, **options):
    """Start Python and wait for its end; options are those of `launch`."""
    process = launch(*arguments, **options)
    ((code, out, err),) = ends(process, timeout=timeout)
    return subprocess.CompletedProcess(process.args, code, out, err)


def run_in_turn(*lines, timeout=300):
    """Run command lines one after the other in one process, as `tests/in_turn.py` does.

    Each is a sequence of words, the first of them a module. Returns what came of each.
    """
    words = [[str(word) for word in line] for line in lines]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "told.json"
        result = run("-m", "tests.in_turn", json.dumps(words), file, timeout=timeout)
        assert result.returncode == 0, result.stderr
        told = json.loads(file.read_text())
    return [
        subprocess.CompletedProcess(line, *ended) for line, ended in zip(words, told, strict=True)
    ]


def checkpoints_of(workdir):
    """The steps of a run's checkpoints, in order; none as long as it has none."""
    return sorted(int(p.name) for p in (workdir / "checkpoints").glob("*") if p.name.isdigit())


def wait_for_checkpoint(workdir, *processes, after=0, timeout=300):
    """Wait until a run has a checkpoint of a later step, or one of its processes has ended."""
    deadline = time.monotonic() + timeout
    while not any(step > after for step in checkpoints_of(workdir)):
        if any(process.poll() is not None for process in processes):
            return
        assert time.monotonic() < deadline, ends(*processes, timeout=0)
        time.sleep(0.01)


def assert_refused(result, *words):
    """The process ended as one does after a user's mistake: one line, and status 2."""
    lines = result.stderr.strip().splitlines()
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]
