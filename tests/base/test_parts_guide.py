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
from lopt.rules import FEATURES, RULES


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
        (FEATURES, "my_project.features:Agreement"),
        (RULES, "my_project.rules:Descent"),
        (ESTIMATORS, "my_project.estimators:OneSided"),
    ],
)
def test_each_part_has_a_config_and_is_built_from_it(guide, parts, name):
    part = build(parts, config(parts, name))
    assert part == type(part)()


def test_what_the_guide_calls_equivariant_can_fail(guide, monkeypatch):
    def ramp(self, grad, param, read):
        return jnp.arange(grad.size).reshape(*grad.shape, 1) / 1e2

    monkeypatch.setattr(sys.modules["my_project.features"].Agreement, "__call__", ramp)
    assert not guide["is_equivariant"](guide["unf"])


def test_the_feature_is_one_where_the_gradient_is_its_momentum(guide):
    feature = build(FEATURES, "my_project.features:Agreement")
    g = jnp.array([1.0, -2.0])
    found = [feature(g, g, lambda average, sign=sign: sign * g) for sign in (1, -1)]
    np.testing.assert_allclose(found, [[[1], [1]], [[-1], [-1]]], rtol=1e-6)


def test_the_rule_weighs_vectors_more(guide):
    step = guide["direction_of"](guide["descent"], guide["params"], guide["grads"])
    for g, d in zip(*map(jax.tree.leaves, (guide["grads"], step)), strict=True):
        np.testing.assert_allclose(d, g * (1 if g.ndim > 1 else 2), rtol=1e-6)


def test_the_one_sided_estimate_is_near_the_antithetic_one(guide):
    antithetic, one_sided = (float(guide["gradients"][k]) for k in ("ES", "OneSided"))
    assert abs(antithetic) > 0.1
    assert abs(one_sided - antithetic) < 0.2 * abs(antithetic)
