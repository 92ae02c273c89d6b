"""The guide to training loops, run as printed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from guides import running


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    """The variables of its Python, run from top to bottom."""
    with running("docs/training.md", tmp_path_factory.mktemp("guide")) as names:
        yield names


def test_training_reduces_the_loss(guide):
    start, end = (guide["loss"](guide[p], guide["batch"]) for p in ("params", "trained"))
    assert end < 0.5 * start


def test_frozen_params_stay_and_the_others_move(guide):
    before, after = guide["params"]["params"], guide["tuned"]["params"]
    jax.tree.map(np.testing.assert_array_equal, before["layers_0"], after["layers_0"])
    assert np.all(before["layers_2"]["kernel"] != after["layers_2"]["kernel"])


def test_a_state_with_momenta_in_bfloat16_is_smaller(guide):
    large, small = (
        sum(x.nbytes for x in jax.tree.leaves(guide[s])) for s in ("state", "small_state")
    )
    assert small < 0.9 * large
    assert any(x.dtype == jnp.bfloat16 for x in jax.tree.leaves(guide["small_state"]))


def test_a_run_that_is_resumed_from_its_checkpoint_goes_as_the_one_that_went_on(guide):
    optimizer = guide["optimizer"]
    went_on, _ = guide["train"](optimizer, guide["trained"], guide["state"], steps=20)
    jax.tree.map(np.testing.assert_array_equal, went_on, guide["resumed"])


def test_the_step_over_a_mesh_is_that_of_one_device(guide):
    grads = jax.grad(guide["loss"])(guide["params"], guide["batch"])
    optimizer, params = guide["optimizer"], guide["params"]
    alone, _ = optimizer.update(grads, optimizer.init(params), params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), guide["updates"], alone)
    assert all(np.abs(x).max() > 1e-4 for x in jax.tree.leaves(alone))
