"""The same seed gives the same theta however many devices share the particles."""

import jax
import numpy as np
import pytest
from processes import assert_refused, run

from lopt.rules import load

ARGUMENTS = (
    "--config.outer.steps=6",
    "--config.estimator.pairs=4",
    "--config.task.widths=(4,)",
    "--config.task.batch_size=8",
)


def meta_train(workdir, devices, *arguments, config="configs/quickstart.py"):
    flags = (f"--workdir={workdir}", f"--config={config}", *ARGUMENTS, *arguments)
    return run("meta_train.py", *flags, devices=devices)


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
    assert_refused(result, "let estimator.pairs be a multiple of 4")
    assert not (tmp_path / "run").exists()
