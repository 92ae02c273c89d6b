"""The same model written in another style of code trains in the same way."""

import jax
import numpy as np
import optax
import pytest
from styles import MODELS

import lopt

STEPS = 5

PAIRS = [(model, style) for model, found in MODELS.items() for style in list(found.styles)[1:]]


def spec_of(style, numbers):
    return lopt.infer_spec(style.loss, style.write(numbers), *style.args)


def trained(style, numbers):
    params = style.write(numbers)
    optimizer = lopt.optimizer("base", total_steps=100, spec=spec_of(style, numbers))
    state = optimizer.init(params)
    gradient = jax.jit(jax.grad(style.loss))
    for _ in range(STEPS):
        updates, state = optimizer.update(gradient(params, *style.args), state, params)
        params = optax.apply_updates(params, updates)
    return style.read(params)


@pytest.fixture(scope="module")
def references():
    found = {}

    def of(model):
        if model not in found:
            numbers, styles = MODELS[model]
            found[model] = trained(next(iter(styles.values())), numbers)
        return found[model]

    return of


@pytest.mark.parametrize(("model", "name"), PAIRS)
def test_updates_are_the_same_in_every_style(model, name, references):
    numbers, styles = MODELS[model]
    expected, found = references(model), trained(styles[name], numbers)
    assert set(found) == set(expected)
    for key, value in expected.items():
        way = np.linalg.norm(value - numbers[key])
        assert way > 1e-3, key
        # Where a gradient is all but zero, its sign and so a vector's first step are of rounding.
        assert np.linalg.norm(found[key] - value) < 0.01 * way, key
