"""What is written for the CPU computes what plain code does, at sizes where it is used."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optimized import compiled

from lopt.symmetry import Axes, PermutationSpec
from lopt.unf import UNF, backend
from lopt.unf.cpu.activation import relu
from lopt.unf.cpu.averages import mean
from lopt.unf.cpu.calls import separately
from lopt.unf.cpu.once import concatenate_once

SIZES = {"s": 3, "t": 3, "i": 20, "o": 40}
SPEC = PermutationSpec({"conv": Axes("s", "t", "i", "o"), "bias": Axes("o")}, SIZES)
CALL = 'inlineable="false"'
"""What marks a computation that XLA's CPU backend must not take apart."""


def draw(tree, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: jnp.asarray(rng.standard_normal(s.shape)), tree)


def on(monkeypatch, cpu, transform, fn, *args):
    """A transformed function's results and program, as if it were for the CPU or for another."""
    monkeypatch.setattr(backend, "on_cpu", lambda: cpu)
    # A function of its own: what was traced for one back end is not reused for the other.
    program = compiled(transform(lambda *args: fn(*args)), *args)
    return program(*args), program.as_text()


def assert_both_agree(monkeypatch, transform, fn, *args):
    special, text = on(monkeypatch, True, transform, fn, *args)
    plain, plain_text = on(monkeypatch, False, transform, fn, *args)
    assert CALL in text
    assert CALL not in plain_text
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10), special, plain
    )


@pytest.mark.parametrize("kind", ["exact", "relational"])
def test_networks_and_their_gradients_under_vmap(float64, monkeypatch, kind):
    net = UNF(SPEC, (32, 2), kind)
    tree = jax.tree.map(lambda a: jax.ShapeDtypeStruct((*SPEC.shape(a), 8), float), SPEC.axes)
    theta = jax.eval_shape(net.init, jax.random.key(0), tree)
    theta = jax.tree.map(lambda s: jax.ShapeDtypeStruct((2, *s.shape), float), theta)
    theta, tree = draw(theta, 0), draw(tree, 1)
    weights = draw(jax.tree.map(lambda x: x[..., :2], tree), 2)

    def loss(theta, tree):
        outputs = net.apply(theta, tree)
        return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, weights, outputs))), outputs

    def transform(fn):
        return jax.vmap(jax.value_and_grad(fn, argnums=(0, 1), has_aux=True), (0, None))

    assert_both_agree(monkeypatch, transform, loss, theta, tree)


@pytest.mark.parametrize(
    ("shape", "axis"), [((37, 64, 40), 0), ((4, 5, 2600), 1), ((2, 500, 40), 1), ((900, 40), 0)]
)
def test_means_and_their_gradients_under_vmap(float64, monkeypatch, shape, axis):
    def fn(x):
        return jnp.sum(jnp.sin(mean(x, axis))), mean(x, axis)

    def transform(fn):
        return jax.vmap(jax.value_and_grad(fn, has_aux=True))

    x = np.random.default_rng(0).standard_normal((3, *shape))
    assert_both_agree(monkeypatch, transform, fn, x)


def test_concatenations_and_their_gradients_under_vmap(float64, monkeypatch):
    def fn(x, y):
        found = concatenate_once([x, y], 1)
        return jnp.sum(jnp.sin(found)), found

    def transform(fn):
        return jax.vmap(jax.value_and_grad(fn, argnums=(0, 1), has_aux=True), (0, None))

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 100, 1, 200)), rng.standard_normal((100, 2, 200))
    assert_both_agree(monkeypatch, transform, fn, x, y)


def _scaled(power, x, y):
    return {"product": x**power @ y, "mean": jnp.mean(x)}


def test_functions_called_separately_and_their_gradients_under_vmap(float64, monkeypatch):
    def fn(x, y):
        found = [separately(_scaled, a, y, static=(power,)) for a, power in ((x, 2), (x.T, 3))]
        return sum(jnp.sum(jnp.sin(a)) for a in jax.tree.leaves(found)), found

    def transform(fn):
        return jax.vmap(jax.value_and_grad(fn, argnums=(0, 1), has_aux=True), (0, None))

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 4, 4)), rng.standard_normal((4, 5))
    assert_both_agree(monkeypatch, transform, fn, x, y)


def test_the_rectifier(monkeypatch):
    x = jnp.array([-jnp.inf, -2.0, -0.0, 0.0, 3.0, jnp.inf, jnp.nan])
    expected = (jnp.maximum(x, 0), jnp.where(x > 0, 1.0, 0.0))
    for cpu in (True, False):
        found, _ = on(monkeypatch, cpu, lambda fn: jax.vmap(jax.value_and_grad(fn)), relu, x)
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_the_back_end_is_that_of_the_default_device():
    assert backend.on_cpu() == (jax.default_backend() == "cpu")
    with jax.default_device(jax.devices("cpu")[0]):
        assert backend.on_cpu()
    with jax.default_device("gpu"):
        assert not backend.on_cpu()
