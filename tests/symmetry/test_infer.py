import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest

from lopt.symmetry import Axes, PermutationSpec, check_spec, infer_spec


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        for width in (8, 7):
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(3)(x)


@pytest.fixture(scope="module")
def mlp():
    x = jax.random.normal(jax.random.key(0), (4, 5))
    return Mlp().init(jax.random.key(1), x), x


@pytest.fixture(scope="module")
def expected(mlp):
    axes = {
        "params": {
            "Dense_0": {"kernel": Axes("x", "a"), "bias": Axes("a")},
            "Dense_1": {"kernel": Axes("a", "b"), "bias": Axes("b")},
            "Dense_2": {"kernel": Axes("b", "y"), "bias": Axes("y")},
        }
    }
    return PermutationSpec.for_params(axes, mlp[0], fixed=("x", "y"))


def loss(params, x, labels):
    logits = Mlp().apply(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def test_mlp_apply(mlp, expected):
    params, x = mlp
    spec = infer_spec(Mlp().apply, params, x)
    assert spec == expected
    assert spec.groups == ("Dense_0", "Dense_1")
    assert check_spec(Mlp().apply, params, spec, x)


def test_mlp_loss_on_shapes(mlp, expected):
    shapes = jax.eval_shape(lambda tree: tree, mlp)
    labels = jnp.arange(4) % 3
    assert infer_spec(loss, *shapes, jax.ShapeDtypeStruct((4,), int)) == expected
    assert check_spec(loss, mlp[0], expected, mlp[1], labels)
