import jax
import jax.numpy as jnp
import pytest

from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.meta_train.initial_theta import as_types_of, load_for, theta_digest
from lopt.rules import RULES, LearnedOptimizer, RotatedRule, UNFRule, save
from lopt.symmetry import Axes, PermutationSpec


def spec_of(size):
    return PermutationSpec({"x": Axes("x")}, {"x": size}, fixed=["x"])


def test_the_rule_that_a_file_needs_is_said_as_a_flag_that_works():
    with pytest.raises(UserError) as raised:
        load_for("base", RotatedRule(width=4), spec_of(2))
    text = str(raised.value).partition('--config.rule="')[2].rstrip('"')
    learned = load_for("base", build(RULES, text), spec_of(2))
    assert learned.provenance["outer"]["steps"] > 0


def test_theta_of_another_architecture_is_refused(tmp_path):
    rule = UNFRule(layers="exact", widths=(2,), features=("gradient",))
    theta = rule.init(jax.random.key(0), spec_of(4))
    save(tmp_path / "tied.safetensors", LearnedOptimizer(rule, theta, spec_of(4), {}))
    assert load_for(tmp_path / "tied.safetensors", rule, spec_of(4)).spec == spec_of(4)
    with pytest.raises(UserError, match="tied"):
        load_for(tmp_path / "tied.safetensors", rule, spec_of(5))


def test_a_theta_takes_the_types_of_another_and_its_digest_tells_its_numbers():
    theta = {"a": jnp.ones(2), "b": jnp.zeros((1, 2))}
    with jax.enable_x64(True):
        like = jax.tree.map(lambda x: x.astype(jnp.float64), theta)
        assert as_types_of(like, theta)["b"].dtype == jnp.float64
    assert theta_digest(theta) == theta_digest(jax.tree.map(jnp.copy, theta))
    assert theta_digest(theta) != theta_digest({**theta, "a": jnp.array([1.0, 1.1])})
