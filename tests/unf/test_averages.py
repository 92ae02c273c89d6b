import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lopt.unf.cpu.averages import mean
from lopt.unf.summands import diagonal, on_diagonal


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((1, 4), 0),
        ((3, 5, 2), 0),
        ((3, 5, 2), 1),
        ((101, 3), 0),
        ((37, 64, 40), 0),
        ((4, 37, 2600), 1),
    ],
)
def test_mean_is_the_mean(shape, axis):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    np.testing.assert_allclose(mean(jnp.asarray(x), axis), x.mean(axis), rtol=1e-5, atol=1e-6)


def test_mean_of_bfloat16_is_summed_in_float32():
    x = jnp.ones((4097, 2048), jnp.bfloat16)
    assert mean(x, 0).dtype == jnp.bfloat16
    np.testing.assert_array_equal(mean(x, 0), 1)


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
def test_diagonal(axes):
    shape = [2, 2, 2]
    shape[axes[0]] = shape[axes[1]] = 5
    x = np.random.default_rng(0).standard_normal((*shape, 3))
    expected = np.moveaxis(np.diagonal(x, 0, *axes), -1, axes[0])
    np.testing.assert_allclose(diagonal(jnp.asarray(x), *axes), expected, rtol=1e-6)


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
def test_on_diagonal_is_the_adjoint_of_diagonal(axes):
    shape = [2, 2, 2]
    shape[axes[0]] = shape[axes[1]] = 5
    x = jnp.zeros((*shape, 3))
    y, transpose = jax.vjp(lambda x: diagonal(x, *axes), x)
    d = jnp.asarray(np.random.default_rng(0).standard_normal(y.shape), y.dtype)
    full = jnp.broadcast_to(on_diagonal(d, *axes), x.shape)
    np.testing.assert_array_equal(full, transpose(d)[0])
