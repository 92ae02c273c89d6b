"""The guide to networks over weights, run as printed: it asserts what it says of specs."""

import jax
import numpy as np
import pytest
from guides import running


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    with running("docs/unf.md", tmp_path_factory.mktemp("guide")) as names:
        yield names


def test_permuting_neurons_permutes_the_equivariant_output(guide):
    edit, there, here = (guide[k] for k in ("edit", "of_permuted", "permuted"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), there, here)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in _pairs(edit, here))


def test_the_edited_weights_are_others_of_the_same_shapes(guide):
    for before, after in _pairs(guide["params"], guide["edited"]):
        assert before.shape == after.shape
        assert np.any(before != after)


def test_permuting_neurons_leaves_the_invariant_output(guide):
    np.testing.assert_allclose(guide["score"], guide["same"], atol=1e-6)
    scores = jax.vmap(guide["read"], (None, 0))(guide["reader_theta"], guide["many"])
    assert np.std(scores) > 1e-2


def test_training_the_reader_reduces_its_loss(guide):
    first, *_, last = guide["losses"]
    assert last < 0.5 * first


def _pairs(a, b):
    return zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
