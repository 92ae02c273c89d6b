"""The same seed gives the same theta however many devices share the particles."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from lopt.rules import load

ROOT = Path(__file__).parent.parent.parent
ARGUMENTS = (
    "--config.outer.steps=6",
    "--config.estimator.pairs=4",
    "--config.task.widths=(4,)",
    "--config.task.batch_size=8",
)


def meta_train(workdir, devices, *arguments, config="configs/quickstart.py"):
    environment = {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".jax_cache"),
        "MPLBACKEND": "Agg",
    }
    command = [sys.executable, "meta_train.py", f"--workdir={workdir}", f"--config={config}"]
    return subprocess.run(
        [*command, *ARGUMENTS, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "horizon"),
    [
        ("es", ("--config.estimator.horizon=4",)),
        ("pes", ("--config.estimator.horizon=4", "--config.estimator.truncation=2")),
    ],
)
def test_eight_devices_give_the_theta_of_one(estimator, horizon, tmp_path):
    thetas = []
    for devices in (1, 8):
        workdir = tmp_path / str(devices)
        config = f"configs/quickstart.py:{estimator}"
        result = meta_train(workdir, devices, *horizon, config=config)
        assert result.returncode == 0, result.stderr
        thetas.append(load(workdir / "optimizer.safetensors").theta)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *thetas)


def test_particles_that_cannot_be_spread_are_refused(tmp_path):
    result = meta_train(tmp_path / "run", 8, "--config.estimator.pairs=3")
    assert result.returncode == 2
    assert "let estimator.pairs be a multiple of 4" in result.stderr
    assert not (tmp_path / "run").exists()
