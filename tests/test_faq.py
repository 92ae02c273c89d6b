"""The page of questions and answers, run as printed."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from guides import running


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The variables of its Python, run from top to bottom without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with running("docs/faq.md", tmp_path_factory.mktemp("faq")) as names:
            yield names


def test_entries_that_are_not_finite_are_counted(page):
    assert page["ignored"] == 0
    spoilt = (page["x"].at[0].set(jnp.nan), page["batch"][1])
    params, state = page["step"](page["params"], page["state"], spoilt, 100)
    assert page["optax"].tree.get(state, "ignored") > 0
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(params))


def test_the_rate_follows_the_length_that_a_step_is_told(page):
    over, longer = (page["step"](page["params"], page["state"], page["batch"], n) for n in (1, 400))
    jax.tree.map(np.testing.assert_array_equal, over[0], page["params"])
    for before, after in _pairs(page["params"], longer[0]):
        assert np.all(before != after)


def test_the_accumulated_update_is_the_last(page):
    assert page["accumulated"].gradient_step == 1
    assert all(np.all(u != 0) for u in jax.tree.leaves(page["updates"]))


def test_the_average_lags_behind_the_weights(page):
    for params, averaged in _pairs(page["params"], page["averaged"]):
        assert np.any(np.abs(params - averaged) > 1e-4)


def test_hidden_units_behind_a_batch_norm_are_a_group(page):
    spec = page["net_spec"]
    assert {group for group in spec.sizes if group not in spec.fixed} == {"Dense_0"}


def _pairs(a, b):
    return zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
