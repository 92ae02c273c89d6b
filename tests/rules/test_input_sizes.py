"""What a bias tells of the inputs of its matrix, and what the rotated rule makes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lopt.rules import RotatedRule
from lopt.rules.input_sizes import advance_input_size, init_input_size, log_input_size
from lopt.rules.matrices import guessed, matrices
from lopt.symmetry import Axes, PermutationSpec, infer_spec
from lopt.tasks import rnn, transformer

X = jax.random.normal(jax.random.key(0), (16, 6))
Y = jnp.sin(X.sum(1, keepdims=True))


def model(params, x):
    x = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"])
    return x @ params["last"]["w"] + params["last"]["b"]


def loss(params, x):
    return jnp.mean((model(params, x) - Y) ** 2)


def draw(seed=1):
    keys = jax.random.split(jax.random.key(seed), 2)
    return {
        name: {"w": jax.random.normal(k, shape) / 2, "b": jnp.full(shape[1], 0.1)}
        for name, k, shape in (("first", keys[0], (6, 5)), ("last", keys[1], (5, 1)))
    }


def log_rms(x):
    return 0.5 * jnp.log(jnp.mean(jnp.square(x)))


def test_gradients_of_one_example_tell_the_size_of_its_inputs():
    grads = jax.grad(loss)(draw(), X[:1])["first"]
    state = advance_input_size(init_input_size(), log_rms(grads["w"]), log_rms(grads["b"]))
    np.testing.assert_allclose(log_input_size(state), log_rms(X[0]), rtol=1e-5)


def test_ratios_are_averaged_over_steps_and_steps_without_a_gradient_are_left_out():
    state = init_input_size()
    assert log_input_size(state) == 0
    for of_matrix, of_bias in ((2.0, 1.0), (0.0, 1.0), (1.0, 0.0), (3.0, 1.0)):
        state = advance_input_size(state, jnp.float32(of_matrix), jnp.float32(of_bias))
    np.testing.assert_allclose(log_input_size(state), (0.95 * 1 + 2) / 1.95, rtol=1e-6)


def test_a_bias_that_has_hardly_a_gradient_tells_nothing():
    state = init_input_size()
    for _ in range(3):
        state = advance_input_size(state, jnp.float32(0.1), jnp.float32(-15.0))
    assert log_input_size(state) == 0


@pytest.mark.parametrize("scale", [0.1, 20.0])
@pytest.mark.parametrize("with_spec", [True, False])
def test_training_does_not_depend_on_the_unit_of_the_inputs(scale, with_spec):
    """Inputs that are larger and first weights that are smaller by as much give the same run."""
    spec = infer_spec(loss, draw(), X) if with_spec else None
    rule = RotatedRule()
    theta = rule.init(jax.random.key(0), infer_spec(loss, draw(), X))
    theta = jax.tree.map(lambda t: 0.1 * jax.random.normal(jax.random.key(t.size), t.shape), theta)
    optimizer = rule.optimizer(theta, 0.02, spec, total_steps=10)

    @jax.jit
    def train(scale):
        params = draw()
        params["first"]["w"] /= scale
        state = optimizer.init(params)

        def step(carry, _):
            params, state = carry
            value, grads = jax.value_and_grad(loss)(params, scale * X)
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, state), length=10)[1]

    plain, scaled = train(1.0), train(scale)
    assert np.ptp(plain) > 0.05 * plain[0]
    np.testing.assert_allclose(scaled, plain, rtol=1e-3)


def names_of_pairs(spec, layout=None):
    names = ["/".join(map(str, path)) for path, _ in spec.entries]
    layout = matrices(spec) if layout is None else layout
    return {names[i]: names[m.bias] for i, m in enumerate(layout) if m.bias is not None}


def test_the_biases_of_attention_are_beside_its_kernels():
    found = names_of_pairs(transformer(width=8, depth=1, heads=2, length=4).spec)
    assert all(bias == kernel.removesuffix("kernel") + "bias" for kernel, bias in found.items())
    assert len(found) == 7


def test_the_kernels_of_a_cell_have_the_biases_that_are_added_where_they_write():
    found = names_of_pairs(rnn(widths=(4,), embedding=3, length=4).spec)
    cells = {k.split("/")[-2]: b.split("/")[-2] for k, b in found.items()}
    # Of the reset and update gates, what input and state write is added up with one bias.
    inputs = {"ir": "ir", "hr": "ir", "iz": "iz", "hz": "iz"}
    assert cells == inputs | {"in": "in", "hn": "hn", "Dense_0": "Dense_0"}


def test_two_vectors_that_could_be_the_bias_are_none():
    axes = {"w": Axes("in", "h"), "b": Axes("h"), "scale": Axes("h")}
    spec = PermutationSpec(axes, {"in": 3, "h": 4})
    assert names_of_pairs(spec) == {}
    axes = {"w": Axes("in", "h"), "b": Axes("h"), "scale": Axes("k")}
    spec = PermutationSpec(axes, {"in": 3, "h": 4, "k": 4})
    assert names_of_pairs(spec) == {"w": "b"}
    sizes = jax.tree.map(lambda axes: jnp.zeros(spec.shape(axes)), spec.axes)
    assert names_of_pairs(spec, guessed(sizes)) == {}
