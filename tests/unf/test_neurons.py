import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lopt.symmetry import Axes, PermutationSpec
from lopt.unf.neurons import NeuronNetwork, statistics

AXES = {
    "query": Axes("stream", "heads", "width"),
    "out": Axes("heads*width", "stream"),
    "cell": Axes("(inputs+stream)", "stream"),
    "bias": Axes("stream"),
    "gain": Axes(),
}
SIZES = {"stream": 4, "heads": 2, "width": 3, "inputs": 5}
SPEC = PermutationSpec(AXES, SIZES, fixed=("inputs",))


def random_tree(seed):
    shapes = [SPEC.shape(axes) for _, axes in SPEC.entries]
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    leaves = [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(SPEC.axes), leaves)


def test_statistics_are_as_defined():
    x, y = jax.random.normal(jax.random.key(0), (2, 3, 4, 5))
    found = statistics({"x": x, "y": y}, (("x", "y"),))
    for k, others in enumerate([(1, 2), (0, 2), (0, 1)]):
        sizes = [np.sqrt(np.mean(np.square(z), others)) for z in (x, y)]
        whole = [np.sqrt(np.mean(np.square(z))) for z in (x, y)]
        logs = [np.log(s / w) for s, w in zip(sizes, whole, strict=True)]
        cosine = np.mean(x * y, others) / (sizes[0] * sizes[1])
        np.testing.assert_allclose(
            found.axes[k], np.stack([*logs, cosine], 1), rtol=1e-4, atol=1e-5
        )
    whole = [np.log(np.sqrt(np.mean(np.square(z)))) for z in (x, y)]
    cosine = np.sum(x * y) / np.sqrt(np.sum(x * x) * np.sum(y * y))
    np.testing.assert_allclose(found.tensor, [*whole, cosine], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_statistics_of_nothing_are_zero(shape):
    found = statistics({"x": jnp.zeros(shape), "y": jnp.ones(shape)}, (("x", "y"),))
    assert [a.shape for a in found.axes] == [(n, 3) for n in shape]
    for values in (found.tensor, *found.axes):
        np.testing.assert_array_equal(values[..., jnp.array([0, 2])], 0)


def features_of(tree):
    found = [statistics({"x": x, "y": jnp.abs(x)}, (("x", "y"),)) for x in jax.tree.leaves(tree)]
    return [f.axes for f in found], jnp.stack([f.tensor for f in found])


def shapes_of_theta(network, tree):
    return jax.eval_shape(lambda tree: network.init(jax.random.key(0), *features_of(tree)), tree)


def random_theta(network, tree):
    """No zeros, so that every part of the network counts."""
    leaves, structure = jax.tree.flatten(shapes_of_theta(network, tree))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return structure.unflatten(
        [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    )


def test_a_network_over_neurons_commutes_with_permutations():
    """Composite axes included: what is written for units of heads*width moves with both."""
    with jax.enable_x64(True):
        network = NeuronNetwork(SPEC, 5, 2, 3)
        tree = jax.tree.map(lambda x: x.astype(float), random_tree(0))
        theta = random_theta(network, tree)
        permutations = SPEC.sample(jax.random.key(2))
        outputs = jax.jit(lambda tree: network.apply(theta, *features_of(tree)))
        units, tensors = outputs(tree)
        moved, same = outputs(SPEC.permute(tree, permutations))
    np.testing.assert_allclose(tensors, same, atol=1e-9)
    for (_, axes), before, after in zip(SPEC.entries, units, moved, strict=True):
        for axis, a, b in zip(axes, before, after, strict=True):
            one = PermutationSpec({"x": Axes(axis)}, SIZES, SPEC.fixed)
            np.testing.assert_allclose(one.permute({"x": a}, permutations)["x"], b, atol=1e-9)


def test_a_group_is_the_mean_over_its_axes_by_hand():
    spec = PermutationSpec({"a": Axes("i", "h"), "b": Axes("h")}, {"i": 2, "h": 3})
    network = NeuronNetwork(spec, hidden=4, unit_outputs=1, tensor_outputs=1)
    keys = iter(jax.random.split(jax.random.key(0), 20))
    units = [
        (jax.random.normal(next(keys), (2, 3)), jax.random.normal(next(keys), (3, 3))),
        (jax.random.normal(next(keys), (3, 3)),),
    ]
    tensors = jnp.zeros((2, 1))
    theta = network.init(next(keys), units, tensors)["params"]
    theta["shared"] = jax.random.normal(next(keys), theta["shared"].shape)
    written, _ = network.apply({"params": theta}, units, tensors)
    hidden = [jax.nn.silu(u @ theta["unit"]) for axes in units for u in axes]
    message = (hidden[1] + hidden[2]) / 2
    np.testing.assert_allclose(written[0][0], hidden[0] @ theta["shared"][0], rtol=1e-5)
    np.testing.assert_allclose(written[0][1], message @ theta["shared"][1], rtol=1e-5)
    np.testing.assert_allclose(written[1][0], message @ theta["shared"][3], rtol=1e-5)


def test_theta_does_not_depend_on_the_weight_space():
    other = PermutationSpec({"w": Axes("a", "b")}, {"a": 3, "b": 2})
    theirs = shapes_of_theta(NeuronNetwork(other, 5, 2, 3), {"w": jnp.ones((3, 2))})
    assert theirs == shapes_of_theta(NeuronNetwork(SPEC, 5, 2, 3), random_tree(0))
