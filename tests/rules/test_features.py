from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.rules import FEATURES, Feature
from lopt.rules.unf.averages import advance, init_averages
from lopt.rules.unf.features import Read
from lopt.rules.units import init_unit, read

EACH = {
    "weight": 1,
    "gradient": 1,
    "momentum(decays=(0.5, 0.9))": 2,
    "momentum(decays=(0.5, 0.9), debias=False)": 2,
    "second_moment(decays=(0.9, 0.99, 0.999))": 3,
    "adam_direction(decays=(0.5, 0.9), second_decay=0.99)": 2,
}


def channels(feature, param, grads):
    """A feature of one tensor after some gradients, read as the rule reads them."""
    averages, unit = init_averages(feature.reads, param), init_unit()
    for g in grads:
        reading, unit = read(unit, g)
        averages = advance(averages, feature.reads, g, reading)
    g = reading.of(g) * reading.unit
    return feature(g, param, Read(averages, reading.count, reading.unit))


def channels_over_steps(feature, space, steps=3, permute=lambda tree: tree):
    """A feature of all tensors after some steps; the gradients are those of `space.random`."""
    grads = [permute(space.random(seed + 1)) for seed in range(steps)]
    return jax.tree.map(
        lambda p, *of_tensor: channels(feature, p, of_tensor), permute(space.params), *grads
    )


def test_every_feature_is_tested():
    assert {text.partition("(")[0] for text in EACH} == set(FEATURES)


@pytest.mark.parametrize("text", EACH)
def test_channels_are_as_many_as_it_says(text, space):
    feature = build(FEATURES, text)
    out = channels_over_steps(feature, space)
    assert feature.channels == EACH[text]
    jax.tree.map(
        lambda p, x: np.testing.assert_equal(x.shape, (*p.shape, EACH[text])), space.params, out
    )


def commutes(feature, space):
    """Whether permuting the neurons of params and gradients permutes the channels, bit by bit."""
    permutations = space.spec.sample(jax.random.key(9))

    def permute(tree):
        return space.spec.permute(tree, permutations)

    out = channels_over_steps(feature, space)
    moved = channels_over_steps(feature, space, permute=permute)
    return jax.tree.all(jax.tree.map(np.array_equal, permute(out), moved))


@pytest.mark.parametrize("text", EACH)
def test_a_feature_commutes_with_permutations(text, space):
    """Of elementwise features, as these are, by construction: this is for what will be added."""
    assert commutes(build(FEATURES, text), space)


@dataclass(frozen=True)
class Neighbours(Feature):
    """The sum of the gradient up to each position of the last axis: it depends on their order."""

    channels = 1

    def __call__(self, grad, param, read):
        return jnp.cumsum(grad, -1)[..., None]


def test_a_feature_that_reads_positions_does_not_commute(space):
    assert not commutes(Neighbours(), space)


@pytest.mark.parametrize("debias", [True, False])
def test_momentum_is_optax_ema(debias, space):
    feature = build(FEATURES, f"momentum(decays=(0.5, 0.9), debias={debias})")
    ours = channels_over_steps(feature, space)
    for i, decay in enumerate((0.5, 0.9)):
        ema = optax.ema(decay, debias)
        state = ema.init(space.params)
        for seed in range(3):
            theirs, state = ema.update(space.random(seed + 1), state)
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[..., i], b, rtol=1e-5), ours, theirs
        )


def test_adam_direction_is_adam(space):
    ours = channels_over_steps(build(FEATURES, "adam_direction(second_decay=0.99)"), space)
    adam = optax.scale_by_adam(0.9, 0.99)
    state = adam.init(space.params)
    for seed in range(3):
        theirs, state = adam.update(space.random(seed + 1), state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[..., 0], b, rtol=1e-4), ours, theirs)


def test_second_moment_is_a_root_mean_square(space):
    feature = build(FEATURES, "second_moment(decays=(0.99,))")
    out = channels(feature, jnp.ones((2, 3)), [jnp.full((2, 3), -3.0)] * 4)
    np.testing.assert_allclose(out, 3.0, rtol=1e-5)


@pytest.mark.parametrize("text", EACH)
def test_a_gradient_passes_through_params_whose_gradients_are_all_zero(text):
    """As it must for truncated backpropagation, where units of a rectifier are dead."""
    feature = build(FEATURES, text)

    def run(scale):
        g = scale * jnp.array([0.0, 1.0, 2.0])
        return sum(jnp.sum(channels(feature, jnp.ones(3), [g] * steps)) for steps in (1, 2))

    assert np.isfinite(jax.grad(run)(1.0))


def test_an_unknown_feature_is_named():
    with pytest.raises(UserError, match=r"'momentun'.* momentum"):
        build(FEATURES, "momentun")
