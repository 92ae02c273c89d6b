"""The project's command lines as processes, with the tests' compilation cache."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

XLA_FLAGS = "--xla_backend_optimization_level=0"
"""Most of the tests' time would be spent on optimizing code that runs for milliseconds."""


def launch(*arguments, devices=1):
    """Start Python with these arguments, on so many devices that the host pretends to have."""
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".jax_cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
        "MPLBACKEND": "Agg",
        "XLA_FLAGS": f"{XLA_FLAGS} --xla_force_host_platform_device_count={devices}",
    }
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments, devices=1):
    """Start Python and wait for its end, five minutes at most."""
    process = launch(*arguments, devices=devices)
    try:
        out, err = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def checkpoints_of(workdir):
    """The steps of a run's checkpoints, in order; none as long as it has none."""
    return sorted(int(p.name) for p in (workdir / "checkpoints").glob("*") if p.name.isdigit())


def assert_refused(result, *words):
    """The process ended as one does after a user's mistake: one line, and status 2."""
    lines = result.stderr.strip().splitlines()
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]
