import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimized import NORMAL

from lopt.base.errors import UserError
from lopt.rules import scale_by_rotated
from lopt.symmetry import Axes, PermutationSpec


def last(transformation, grads):
    """The last direction of params that have had some gradients, and the state after it."""
    params = jax.tree.map(jnp.ones_like, grads[0])
    update, state = (
        jax.jit(transformation.update, compiler_options=NORMAL),
        transformation.init(params),
    )
    for g in grads:
        direction, state = update(g, state, params)
    return direction, state


def of(grads, **constants):
    return last(scale_by_rotated(**constants), grads)[0]


def random_grads(shape, steps=3):
    return list(jax.random.normal(jax.random.key(4), (steps, *shape)))


def rms(x):
    return np.sqrt(np.mean(np.square(x)))


@pytest.mark.parametrize("shape", [(6, 6), (6, 4), (3, 7)])
def test_rows_and_columns_of_a_direction_move_with_those_of_the_gradients(shape):
    grads = random_grads(shape)
    rows, columns = (jax.random.permutation(jax.random.key(i), n) for i, n in enumerate(shape))
    moved = of([g[rows][:, columns] for g in grads])
    np.testing.assert_allclose(moved, of(grads)[rows][:, columns], atol=2e-5)


@pytest.mark.parametrize("scale", [1e-4, 1e25])
def test_a_direction_of_a_matrix_has_unit_rms_whatever_the_gradients_scale(scale):
    grads = random_grads((12, 8))
    scaled = of([scale * g for g in grads])
    np.testing.assert_allclose(scaled, of(grads), rtol=2e-2, atol=2e-3)
    np.testing.assert_allclose(rms(scaled), 1, rtol=1e-4)


@pytest.mark.parametrize("shape", [(3, 2), (4,), ()])
def test_zero_gradients_give_a_direction_of_zero_and_leave_the_state(shape):
    transformation = scale_by_rotated()
    direction, state = last(transformation, [jnp.zeros(shape)] * 2)
    np.testing.assert_array_equal(direction, 0)
    start = transformation.init(jnp.zeros(shape))
    jax.tree.map(np.testing.assert_array_equal, state.tensors, start.tensors)


def test_a_vector_has_adams_direction_of_the_momentum_and_5_percent_of_the_gradient():
    grads = random_grads((5,))
    momenta, adam = optax.ema(0.95), optax.scale_by_adam(0.0, 0.99)
    of_momenta, of_adam = momenta.init(grads[0]), adam.init(grads[0])
    for g in grads:
        momentum, of_momenta = momenta.update(g, of_momenta)
        ratio, of_adam = adam.update(g, of_adam)
    weight = 1 / (1 + np.exp(3))
    mixed = (1 - weight) * momentum + weight * grads[-1]
    np.testing.assert_allclose(of(grads), mixed * ratio / grads[-1], rtol=1e-4)


def test_without_rotations_and_at_power_one_half_it_is_adams_direction_of_unit_rms():
    """Of a matrix, beside the same numbers as a vector."""
    grads = random_grads((6, 4))
    plain = of(grads, longest=1, power=0.5, damping=1e-9, second_decay=0.99)
    ratio = of([g.reshape(-1) for g in grads]).reshape(6, 4)
    np.testing.assert_allclose(plain, ratio / rms(ratio), rtol=1e-4)


@pytest.mark.parametrize(("rows", "columns"), [(6, 6), (9, 5), (4, 12)])
def test_the_bases_become_the_eigenvectors_that_soap_computes(rows, columns):
    """Of the short side; of a longer one, they hold most of the energy that so many can hold."""
    left, right, noise = (
        jax.random.normal(jax.random.key(i), s)
        for i, s in ((0, (rows, rows)), (1, (columns, columns)), (2, (1500, rows, columns)))
    )
    left, right = (x @ jnp.diag(1.5 ** jnp.arange(len(x))) for x in (left, right))
    grads = left @ noise @ right.T
    transformation, params = scale_by_rotated(rate=0.005), grads[0]

    @jax.jit
    def run(grads):
        def step(state, g):
            return transformation.update(g, state, params)[1], None

        return jax.lax.scan(step, transformation.init(params), grads)[0]

    found = run(grads).tensors.moments
    moments = [np.asarray(x @ x.T) for x in (left, right)]
    short, long = moments if rows <= columns else moments[::-1]
    basis, others = np.asarray(found.short), np.asarray(found.long)
    for columns_of in (basis, others):
        np.testing.assert_allclose(columns_of.T @ columns_of, np.eye(len(basis)), atol=0.05)
    rotated = basis.T @ short @ basis
    off = np.linalg.norm(rotated - np.diag(np.diag(rotated)))
    assert off < 0.2 * np.linalg.norm(short - np.diag(np.diag(short)))
    most = np.sum(np.linalg.eigvalsh(long)[-len(basis) :])
    assert np.trace(others.T @ long @ others) > 0.9 * most


def test_a_matrix_whose_short_side_is_too_long_is_not_rotated():
    def shapes(longest, shape):
        state = jax.eval_shape(scale_by_rotated(longest=longest).init, jnp.zeros(shape))
        return {k: v.shape for k, v in state.tensors.moments._asdict().items()}

    assert shapes(4, (9, 5)) == {"square": (9, 5)}
    rotated = {"square": (4, 4), "short": (4, 4), "long": (9, 4), "rest": (4,)}
    assert shapes(4, (3, 3, 4)) == rotated
    assert shapes(4, (8,)) == {"square": (8,)}


def test_a_spec_tells_the_sides_and_the_stacks():
    """Outputs first, heads and their width as one side, and layers one by one."""
    grads = random_grads((6, 8))
    plain = of(grads)

    def with_spec(axes, sizes, grads):
        spec = PermutationSpec(axes, sizes)
        return of([{"w": g} for g in grads], spec=spec)["w"]

    turned = Axes("out", "in", roles=("output", "input"))
    found = with_spec({"w": turned}, {"in": 6, "out": 8}, [g.T for g in grads])
    np.testing.assert_allclose(found.T, plain, atol=1e-5)
    heads = Axes("in", "heads", "width", roles=("input", "output", "output"))
    sizes = {"in": 6, "heads": 2, "width": 4}
    found = with_spec({"w": heads}, sizes, [g.reshape(6, 2, 4) for g in grads])
    np.testing.assert_allclose(found.reshape(6, 8), plain, atol=1e-5)
    layers = Axes("in", "layers", "out", roles=("input", "stack", "output"))
    others = [jnp.stack([g, -2 * g**3], 1) for g in grads]
    found = with_spec({"w": layers}, {"in": 6, "layers": 2, "out": 8}, others)
    np.testing.assert_allclose(found[:, 0], plain, atol=1e-5)
    np.testing.assert_allclose(found[:, 1], of([-2 * g**3 for g in grads]), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("decay", 1.0),
        ("second_decay", -0.1),
        ("damping", 0.0),
        ("power", 3.0),
        ("longest", -1),
        ("rate", 0.0),
        ("momentum_dtype", "int8"),
    ],
)
def test_mistakes_are_named(name, value):
    with pytest.raises(UserError, match=rf"{name}.*{value}"):
        scale_by_rotated(**{name: value})
