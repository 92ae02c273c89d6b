from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import lopt
from lopt.errors import UserError
from lopt.rules import LearnedOptimizer, UNFRule, load, save
from lopt.symmetry import Axes, PermutationSpec, SpecError
from lopt.tasks import mlp

PROVENANCE = {"task": {"name": "mlp"}, "meta_loss": 0.25}


def learned(layers, space):
    rule = UNFRule(layers=layers, widths=(4,), features=("weight", "momentum(decays=(0.9,))"))
    theta = rule.init(jax.random.key(3), space.spec)
    return LearnedOptimizer(rule, theta, space.spec if rule.tied else None, PROVENANCE)


@pytest.fixture(params=["relational", "exact", "pointwise"])
def saved(request, space, tmp_path):
    original = learned(request.param, space)
    save(tmp_path / "o.safetensors", original)
    return original, tmp_path / "o.safetensors"


def test_what_is_saved_is_loaded(saved):
    original, path = saved
    loaded = load(path)
    assert loaded.rule == original.rule
    assert loaded.spec == original.spec
    assert loaded.provenance == PROVENANCE
    jax.tree.map(np.testing.assert_array_equal, loaded.theta, original.theta)
    assert not list(path.parent.glob("*.partial"))


def test_a_loaded_optimizer_steps_as_the_original(saved, space):
    original, path = saved
    a = original.rule.optimizer(original.theta, 0.1, space.spec)
    b = lopt.optimizer(path, 0.1, spec=space.spec)
    step = [
        jax.jit(lambda p, g, o=o: o.update(g, o.init(p), p)[0])(space.params, space.random(1))
        for o in (a, b)
    ]
    jax.tree.map(np.testing.assert_array_equal, *step)


def test_pointwise_and_tied_rules_need_no_spec(saved, space):
    original, path = saved
    if original.rule.layers == "relational":
        with pytest.raises(UserError, match="pass spec="):
            lopt.optimizer(path, 0.1)
    else:
        optimizer = lopt.optimizer(path, 0.1)
        optimizer.init(space.params)


def test_a_tied_rule_refuses_other_params_and_names_the_first_path(space, tmp_path):
    path = tmp_path / "o.safetensors"
    save(path, learned("exact", space))
    wider = mlp(widths=(6, 7))
    with pytest.raises(SpecError, match=r"Dense_1/bias axis 0: .* size 5 and the tensor has 7"):
        lopt.optimizer(path, 0.1, spec=wider.spec)
    with pytest.raises(SpecError, match=r"Dense_1/bias axis 0: .* size 5 and the tensor has 7"):
        lopt.optimizer(path, 0.1).init(wider.init(jax.random.key(0))[0])
    with pytest.raises(SpecError, match="Dense_2"):
        lopt.optimizer(path, 0.1).init(mlp(widths=(6,)).init(jax.random.key(0))[0])


def test_a_dict_is_no_spec(saved):
    _, path = saved
    with pytest.raises(SpecError, match="spec is a dict, not a PermutationSpec"):
        lopt.optimizer(path, 0.1, spec={"w": Axes("in", "out")})


class Dense(NamedTuple):
    kernel: Any
    bias: Any


def test_a_tied_rule_of_params_that_are_no_dicts_is_not_saved(tmp_path):
    spec = PermutationSpec(Dense(Axes("in", "out"), Axes("out")), {"in": 3, "out": 2})
    rule = UNFRule(layers="exact", widths=(2,), features=("gradient",))
    tied = LearnedOptimizer(rule, rule.init(jax.random.key(0), spec), spec, {})
    with pytest.raises(UserError, match="dicts within dicts"):
        save(tmp_path / "file.safetensors", tied)
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no optimizer file"):
        load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(keep, saved):
    _, path = saved
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="damaged or no safetensors file"):
        load(path)


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "f.safetensors"
    save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(UserError, match="holds no learned optimizer"):
        load(path)


def test_theta_of_another_rule_is_refused(space, tmp_path):
    original = learned("relational", space)
    other = UNFRule(widths=(5,), features=original.rule.features)
    path = tmp_path / "o.safetensors"
    save(path, LearnedOptimizer(other, original.theta, None, PROVENANCE))
    with pytest.raises(UserError, match="does not hold the theta of its rule"):
        load(path)


def test_a_failed_save_leaves_the_old_file(space, tmp_path, monkeypatch):
    path = tmp_path / "o.safetensors"
    save(path, learned("pointwise", space))
    before = path.read_bytes()
    broken = learned("pointwise", space)
    broken.provenance["task"] = jnp.ones(3)
    with pytest.raises(TypeError):
        save(path, broken)
    broken.provenance["task"] = {"name": "mlp"}
    assert path.read_bytes() == before
