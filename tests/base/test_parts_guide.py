"""The guide to user-defined parts, run as printed: it asserts that its rules are equivariant."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from guides import running

from lopt.base import user_defined
from lopt.base.parts import build, config
from lopt.meta import ESTIMATORS
from lopt.rules import DIRECTIONS, FEATURES, RULES, GatesRule


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guide")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_defined, "TRUSTED", set())
        with running("docs/parts.md", folder) as names:
            yield names


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (DIRECTIONS, "my_project.directions:Centered"),
        (FEATURES, "my_project.features:Agreement"),
        (RULES, "my_project.rules:Descent"),
        (ESTIMATORS, "my_project.estimators:OneSided"),
    ],
)
def test_each_part_has_a_config_and_is_built_from_it(guide, parts, name):
    part = build(parts, config(parts, name))
    assert part == type(part)()


def test_what_the_guide_calls_equivariant_can_fail(guide, monkeypatch):
    def ramp(self, tensor, settings, memory):
        return jnp.arange(tensor.grad.size).reshape(tensor.grad.shape) / 1e2, memory

    rule = GatesRule(directions=("my_project.directions:Centered", "adam"), weights=(0.0, 0.0))
    monkeypatch.setattr(sys.modules["my_project.directions"].Centered, "__call__", ramp)
    assert not guide["is_equivariant"](rule)


def test_the_direction_takes_the_mean_over_inputs_away(guide):
    kernel = "my_project.directions:Centered"
    alone = GatesRule(directions=(kernel, "adam"), weights=(30.0, -30.0))
    step = guide["direction_of"](alone, guide["params"], guide["grads"])
    for x in jax.tree.leaves(step):
        if x.ndim > 1:
            np.testing.assert_allclose(x.mean(0), 0, atol=1e-6)
            assert np.abs(x).max() > 1e-3


def test_the_rule_weighs_vectors_more(guide):
    step = guide["direction_of"](guide["descent"], guide["params"], guide["grads"])
    for g, d in zip(*map(jax.tree.leaves, (guide["grads"], step)), strict=True):
        np.testing.assert_allclose(d, g * (1 if g.ndim > 1 else 2), rtol=1e-6)


def test_the_one_sided_estimate_is_near_the_antithetic_one(guide):
    antithetic, one_sided = (float(guide["gradients"][k]) for k in ("ES", "OneSided"))
    assert abs(antithetic) > 0.1
    assert abs(one_sided - antithetic) < 0.2 * abs(antithetic)
