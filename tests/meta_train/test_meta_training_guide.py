"""The guide to meta-training, run as printed."""

import sys

import jax
import numpy as np
import pytest
from guides import running

import lopt
from lopt.base import user_defined
from lopt.base.parts import build
from lopt.meta import ESTIMATORS
from lopt.meta_train.settings import require_settings
from lopt.rules import RULES
from lopt.tasks import build_mixture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("guide")


@pytest.fixture(scope="module")
def guide(folder):
    with pytest.MonkeyPatch.context() as patch, running("docs/meta-training.md", folder) as names:
        patch.setattr(user_defined, "TRUSTED", set())
        yield names


def test_the_config_is_complete_and_its_parts_are_built(guide):
    config = sys.modules["my_project.config"].get_config().to_dict()
    require_settings(config)
    for block, key in ((config, "task"), (config["validation"], "task")):
        (task,) = build_mixture(block[key]).tasks
        assert {g for g in task.spec.sizes if g not in task.spec.fixed}
    assert build(ESTIMATORS, config["estimator"]).horizon == 200
    assert build(RULES, config["rule"]) == guide["rule"]


def test_meta_steps_move_theta_and_what_is_saved_is_the_last(guide, folder):
    assert int(guide["state"].step) == 4
    moved = [np.any(a != b) for a, b in zip(*map(jax.tree.leaves, _thetas(guide)), strict=True)]
    assert any(moved)
    learned = lopt.load(folder / "spiral.safetensors")
    jax.tree.map(np.testing.assert_array_equal, learned.theta, guide["state"].theta)
    learned.transformation(total_steps=10)  # its learning rate is known


def _thetas(guide):
    return guide["first"], guide["state"].theta
