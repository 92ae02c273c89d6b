"""The guide to predictors, run as printed."""

import jax
import numpy as np
import pytest
from guides import running

from lopt.predict.metrics import kendall_tau


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    with running("docs/predict.md", tmp_path_factory.mktemp("guide")) as names:
        yield names


def test_the_predictor_orders_networks_that_it_has_not_seen(guide):
    scores = np.linspace(0.1, 0.9, 20)
    params = jax.tree.map(lambda *x: np.stack(x), *(guide["network"](2 * s) for s in scores))
    assert kendall_tau(guide["predictor"].many(params), scores) > 0.5


def test_what_was_saved_predicts_the_same(guide):
    assert guide["loaded"](guide["params"]) == guide["score"]
    np.testing.assert_allclose(guide["many"][0], guide["score"], atol=1e-6)
