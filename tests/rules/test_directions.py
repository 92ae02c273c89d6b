import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest

from lopt.errors import UserError
from lopt.parts import build
from lopt.rules import DIRECTIONS
from lopt.rules.averages import advance, begin
from lopt.rules.directions import Tensor
from lopt.rules.orthogonal import orthogonalize

EACH = ["adam", "momentum", "orthogonal", "orthogonal(power=1.0)"]


def tensor_of(direction, grads, inputs):
    """What a direction reads after some gradients of one tensor."""
    averages = begin(direction.reads, {"x": grads[0]})
    for g in grads:
        averages = advance(averages, direction.reads, {"x": g})
    of_tensor = {name: tree["x"] for name, tree in averages.items()}
    return Tensor(jnp.ones_like(grads[0]), grads[-1], of_tensor, jnp.int32(len(grads)), inputs)


def of(direction, grads, inputs=1):
    return direction(tensor_of(direction, grads, inputs), jnp.asarray(direction.start))


def random_grads(shape, steps=3):
    return list(jax.random.normal(jax.random.key(4), (steps, *shape)))


def test_every_direction_is_tested():
    assert {text.partition("(")[0] for text in EACH} == set(DIRECTIONS)


@pytest.mark.parametrize("text", EACH)
def test_rows_and_columns_of_a_direction_move_with_those_of_the_gradients(text):
    direction = build(DIRECTIONS, text)
    grads = random_grads((6, 4))
    rows, columns = (jax.random.permutation(jax.random.key(i), n) for i, n in ((0, 6), (1, 4)))
    moved = of(direction, [g[rows][:, columns] for g in grads])
    np.testing.assert_allclose(moved, of(direction, grads)[rows][:, columns], atol=2e-5)


@pytest.mark.parametrize("text", EACH)
def test_a_direction_of_a_matrix_has_about_unit_rms_whatever_the_gradients_scale(text):
    direction = build(DIRECTIONS, text)
    grads = random_grads((12, 8))
    small = of(direction, [1e-4 * g for g in grads])
    np.testing.assert_allclose(small, of(direction, grads), rtol=2e-2, atol=2e-3)
    assert 0.6 < np.sqrt(np.mean(small**2)) < 1.3


@pytest.mark.parametrize("text", EACH)
def test_zero_gradients_give_a_direction_of_zero(text):
    np.testing.assert_array_equal(of(build(DIRECTIONS, text), [jnp.zeros((3, 2))] * 2), 0)


def test_adam_of_one_decay_is_optax_adam():
    direction = build(DIRECTIONS, "adam(decays=(0.9,), second_decay=0.99, nominal=0.9)")
    grads = random_grads((5,))
    adam = optax.scale_by_adam(0.9, 0.99)
    state = adam.init(grads[0])
    for g in grads:
        expected, state = adam.update(g, state)
    tensor = tensor_of(direction, grads, inputs=0)
    np.testing.assert_allclose(direction(tensor, jnp.array([50.0, 0.0])), expected, rtol=1e-4)


@pytest.mark.parametrize("shape", [(8, 8), (9, 6), (32, 8), (3, 20)])
def test_orthogonalize_evaluates_muons_polynomial(shape):
    """On the Gram matrix of long matrices too, where the products are others."""
    x = jax.random.normal(jax.random.key(0), shape)
    expected = optax.contrib._muon.orthogonalize_via_newton_schulz(
        x, jnp.array([3.4445, -4.7750, 2.0315]), 5
    )
    np.testing.assert_allclose(orthogonalize(x), expected, atol=2e-3)


def test_heads_and_their_width_are_one_side():
    direction = build(DIRECTIONS, "orthogonal")
    grads = random_grads((6, 2, 3))
    merged = of(direction, [g.reshape(6, 6) for g in grads])
    np.testing.assert_allclose(of(direction, grads).reshape(6, 6), merged, atol=1e-5)


def test_with_power_one_all_output_neurons_are_alike():
    found = of(build(DIRECTIONS, "orthogonal(power=1.0)"), random_grads((10, 4)))
    np.testing.assert_allclose(np.mean(found**2, 0), 1.0, rtol=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adam(decays=(1.0,))", "from 0 to below 1, not 1.0"),
        ("orthogonal(iterations=-1)", "iterations must be"),
        ("adam(epsilon=0.0)", "epsilon must be positive"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(UserError, match=message):
        build(DIRECTIONS, text)
