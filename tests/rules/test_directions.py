import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest

from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.rules import DIRECTIONS
from lopt.rules.averages import advance, init_averages
from lopt.rules.direction import Tensor
from lopt.rules.orthogonal import orthogonalize

EACH = [
    "adam",
    "momentum",
    "sign",
    "orthogonal",
    "orthogonal(power=1.0)",
    "rotated",
    "factored",
    "weight",
]
OF_GRADIENTS = [text for text in EACH if text != "weight"]


def of(direction, grads, inputs=1, settings=None):
    """The last direction of a tensor that has had some gradients."""
    averages = init_averages(direction.reads, {"x": grads[0]})
    memory = direction.init(grads[0].shape, inputs)
    settings = jnp.asarray(direction.start) if settings is None else settings
    for count, g in enumerate(grads, start=1):
        averages = advance(averages, direction.reads, {"x": g})
        of_tensor = {name: tree["x"] for name, tree in averages.items()}
        tensor = Tensor(grads[0] + 1, g, of_tensor, jnp.int32(count), inputs)
        found, memory = direction(tensor, settings, memory)
    return found


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
    if text != "weight":
        np.testing.assert_allclose(small, of(direction, grads), rtol=2e-2, atol=2e-3)
    assert 0.6 < np.sqrt(np.mean(small**2)) < 1.3


@pytest.mark.parametrize("text", OF_GRADIENTS)
def test_zero_gradients_give_a_direction_of_zero(text):
    np.testing.assert_array_equal(of(build(DIRECTIONS, text), [jnp.zeros((3, 2))] * 2), 0)


def test_adam_of_one_decay_is_optax_adam():
    direction = build(DIRECTIONS, "adam(decays=(0.9,), second_decay=0.99, nominal=0.9)")
    grads = random_grads((5,))
    adam = optax.scale_by_adam(0.9, 0.99)
    state = adam.init(grads[0])
    for g in grads:
        expected, state = adam.update(g, state)
    found = of(direction, grads, inputs=0, settings=jnp.array([50.0, 0.0]))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_factored_is_adam_where_the_second_moment_has_rank_one():
    scales = jnp.arange(1.0, 7.0)[:, None] * jnp.array([0.1, 1.0, 3.0, 0.5])
    signs = jnp.sign(random_grads((6, 4), steps=3)[0])
    grads = [signs * scales * (0.5 + k) for k in range(3)]
    found = of(build(DIRECTIONS, "factored"), grads)
    np.testing.assert_allclose(found, of(build(DIRECTIONS, "adam"), grads), rtol=1e-4)


def test_sign_of_a_momentum_and_weights_of_unit_rms():
    grads = random_grads((6, 4))
    signs = of(
        build(DIRECTIONS, "sign(decays=(0.9,), nominal=0.9)"),
        grads,
        settings=jnp.array([50.0, 0.0]),
    )
    momentum = sum(0.9 ** (2 - k) * g for k, g in enumerate(grads))
    np.testing.assert_array_equal(signs, jnp.sign(momentum))
    weights = grads[0] + 1
    np.testing.assert_allclose(
        of(build(DIRECTIONS, "weight"), grads), weights / np.sqrt(np.mean(weights**2)), rtol=1e-5
    )


def test_rotated_without_rotations_is_adam():
    grads = random_grads((6, 4))
    rotated = of(
        build(DIRECTIONS, "rotated(longest=1, power=0.5, damping=1e-9, second_decay=0.99)"), grads
    )
    np.testing.assert_allclose(rotated, of(build(DIRECTIONS, "adam"), grads), rtol=1e-4)


def correlated(steps, rows=8, columns=5):
    """Gradients whose rows and columns are correlated, and the second moment of their rows."""
    left, right, noise = (
        jax.random.normal(jax.random.key(i), s)
        for i, s in ((0, (rows, rows)), (1, (columns, columns)), (2, (steps, rows, columns)))
    )
    return left @ noise @ right, left @ left.T


@pytest.mark.parametrize(("rows", "columns"), [(6, 6), (9, 5), (4, 12)])
def test_the_bases_of_rotated_become_the_eigenvectors_that_soap_computes(rows, columns):
    """Of the short side; of a longer one, they hold most of the energy that so many can hold."""
    direction = build(DIRECTIONS, "rotated(rate=0.005)")
    left, right, noise = (
        jax.random.normal(jax.random.key(i), s)
        for i, s in ((0, (rows, rows)), (1, (columns, columns)), (2, (1500, rows, columns)))
    )
    left, right = (x @ jnp.diag(1.5 ** jnp.arange(len(x))) for x in (left, right))
    grads = left @ noise @ right.T

    def step(carry, g):
        averages, memory, count = carry
        averages = advance(averages, direction.reads, {"x": g})
        tensor = Tensor(g, g, {n: t["x"] for n, t in averages.items()}, count, 1)
        return (averages, direction(tensor, settings, memory)[1], count + 1), None

    settings = jnp.asarray(direction.start)
    memory = direction.init((rows, columns), 1)
    start = init_averages(direction.reads, {"x": grads[0]}), memory, jnp.int32(1)
    (_, memory, _), _ = jax.jit(lambda g: jax.lax.scan(step, start, g))(grads)
    moments = [np.asarray(x @ x.T) for x in (left, right)]
    short, long = moments if rows <= columns else moments[::-1]
    basis, others = (np.asarray(memory[side]) for side in ("short", "long"))
    for found in (basis, others):
        np.testing.assert_allclose(found.T @ found, np.eye(len(basis)), atol=0.05)
    found = basis.T @ short @ basis
    off = np.linalg.norm(found - np.diag(np.diag(found)))
    assert off < 0.2 * np.linalg.norm(short - np.diag(np.diag(short)))
    most = np.sum(np.linalg.eigvalsh(long)[-len(basis) :])
    assert np.trace(others.T @ long @ others) > 0.9 * most


def test_a_matrix_whose_short_side_is_too_long_is_not_rotated():
    direction = build(DIRECTIONS, "rotated(longest=4)")
    assert set(direction.init((9, 5), 1)) == {"second_moment"}
    kept = {k: v.shape for k, v in direction.init((3, 3, 4), 2).items()}
    assert kept == {"second_moment": (4, 4), "short": (4, 4), "long": (9, 4), "rest": (4,)}
    assert direction.init((8,), 0) == {}


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
        ("factored(epsilon=0.0)", "epsilon must be a positive finite number"),
        ("rotated(damping=0.0)", "damping must be a positive finite number"),
        ("rotated(power=3.0)", "power must be a number from 0 to 1.25, not 3.0"),
        ("rotated(longest=-1)", "longest must be an integer of at least 0, not -1"),
        ("rotated(rate=0.0)", "rate must be a number above 0 and at most 1"),
        ("adam(epsilon=0.0)", "epsilon must be a positive finite number"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(UserError, match=message):
        build(DIRECTIONS, text)
