"""The same seed gives the same theta however many devices share the particles."""

import json

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


def meta_train(workdir, devices, *arguments):
    flags = (f"--workdir={workdir}", "--config=configs/relational.py", *ARGUMENTS, *arguments)
    return run("meta_train.py", *flags, devices=devices)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [8, 3])
def test_each_estimators_gradient_over_devices_is_that_of_one(devices):
    result = run("tests/mesh_gradients.py", devices=devices)
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["devices"] == devices
    assert list(said["distances"]) == ["ES", "PES", "NRES", "TBPTT"]
    assert max(said["distances"].values()) < 1e-3, said
    assert all(0 < said["restarted"][name] < 1 for name in ("PES", "NRES", "TBPTT")), said


@pytest.mark.slow
def test_eight_devices_give_the_theta_of_one(tmp_path):
    thetas = []
    for devices in (1, 8):
        workdir = tmp_path / str(devices)
        flags = ("--config.estimator.horizon=4", "--config.estimator.truncation=2")
        result = meta_train(workdir, devices, *flags)
        assert result.returncode == 0, result.stderr
        thetas.append(load(workdir / "optimizer.safetensors").theta)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *thetas)


def test_particles_that_cannot_be_spread_are_refused(tmp_path):
    result = meta_train(tmp_path / "run", 8, "--config.estimator.pairs=3")
    assert_refused(result, "let the estimator's pairs be a multiple of 4")
    assert not (tmp_path / "run").exists()
