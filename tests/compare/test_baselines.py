import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lopt.compare import BASELINES, Budget, entries
from lopt.compare.controls import tensor_normalized_adam
from lopt.compare.grid import coarse
from lopt.compare.muon import hidden_matrices, muon
from lopt.compare.runs import Program, Runs
from lopt.symmetry import Axes, PermutationSpec
from lopt.tasks import cnn, mlp, rnn, transformer


@pytest.mark.parametrize("name", list(BASELINES))
def test_a_baseline_learns_within_its_grid(name, regression):
    (entry,) = entries([name])
    search = entry.search
    (middle,) = coarse(search, Budget(1))
    settings = [middle._replace(learning_rate=search.centre * x) for x in (0.1, 1.0, 10.0)]
    runs = Runs(regression, steps=400, seeds=1)
    program = Program(
        runs, lambda rate, decay: entry.optimizer(rate, decay, regression, 400), settings
    )
    trials = list(program(settings))
    best = min(t.score("final_loss") for t in trials)
    assert best < 0.8 * trials[0].losses[0, 0]


def test_baselines_that_have_a_weight_decay_are_tuned_with_it():
    searches = {c.name: c.search for c in entries(["adam", "adamw", "muon", "lion", "prodigy"])}
    assert [name for name, s in searches.items() if s.decays] == [
        "adamw",
        "muon",
        "lion",
        "prodigy",
    ]


def by_name(task):
    found = hidden_matrices(task.spec)
    flat = jax.tree.leaves_with_path(found, is_leaf=lambda x: x is None or hasattr(x, "_fields"))
    return {"/".join(k.key for k in path): value for path, value in flat}


def test_muon_is_for_hidden_matrices_only():
    found = by_name(mlp(widths=(5, 4)))
    assert [n for n, d in found.items() if d] == ["Dense_0/kernel", "Dense_1/kernel"]
    found = by_name(rnn(widths=(4,), embedding=3, length=4))
    assert found["Embed_0/embedding"] is None
    assert found["Dense_0/kernel"] is None
    assert all(found[n] for n in found if "GRU" in n and "kernel" in n)
    assert not any(found[n] for n in found if "bias" in n)


def test_kernels_of_many_axes_are_matrices_from_what_they_read_to_what_they_write():
    kernel = by_name(cnn(widths=(4, 6)))["PlainBlock_1/Conv_0/kernel"]
    assert kernel == ((0, 1, 2), (3,))
    found = by_name(transformer(width=8, depth=1, heads=2, length=4))
    assert found["Block_0/MultiHeadDotProductAttention_0/query/kernel"] == ((0,), (1, 2))
    assert found["Block_0/MultiHeadDotProductAttention_0/out/kernel"] == ((0, 1), (2,))
    assert found["Block_0/MultiHeadDotProductAttention_0/query/bias"] is None
    assert found["positions"] is None
    assert found["Embed_0/embedding"] is None
    assert found["Dense_0/kernel"] is None


def test_muon_orthogonalizes_what_is_hidden_and_steps_like_adam_elsewhere():
    """A matrix of n inputs and m outputs has singular values near max(1, m / n) ** 0.5."""
    task = mlp(widths=(4, 64))
    params, _ = task.init(jax.random.key(0))
    grads = jax.tree.map(lambda p: jax.random.normal(jax.random.key(1), p.shape), params)

    def first(optimizer):
        update = jax.jit(lambda: optimizer.update(grads, optimizer.init(params), params)[0])
        return update()

    ours, adam = first(muon(1.0, task.spec)), first(optax.nadamw(1.0, weight_decay=0.0))
    for layer, scale in (("Dense_0", 1.0), ("Dense_1", 4.0)):
        singular = np.linalg.svd(ours[layer]["kernel"], compute_uv=False)
        assert singular.shape == (4,)
        assert np.all((singular > 0.5 * scale) & (singular < 1.5 * scale))
    for layer, name in (("Dense_2", "kernel"), ("Dense_0", "bias"), ("Dense_2", "bias")):
        np.testing.assert_allclose(ours[layer][name], adam[layer][name], rtol=1e-4)
    default = first(optax.contrib.muon(1.0))
    assert np.abs(default["Dense_2"]["kernel"] - ours["Dense_2"]["kernel"]).max() > 0.1


@pytest.mark.parametrize("axis", [0, 2])
def test_muon_orthogonalizes_each_matrix_of_a_stack(axis):
    roles = ["input", "output"]
    roles.insert(axis, "stack")
    axes = ["h", "k"]
    axes.insert(axis, "layers")
    sizes = {"layers": 3, "h": 6, "k": 4}
    grads = jax.random.normal(jax.random.key(0), (3, 6, 4))
    stacked = PermutationSpec({"w": Axes(*axes, roles=roles)}, sizes)
    apart = PermutationSpec({str(i): Axes("h", "k") for i in range(3)}, sizes)

    def first(spec, grads):
        optimizer = muon(1.0, spec)
        return optimizer.update(grads, optimizer.init(grads), grads)[0]

    found = first(stacked, {"w": jnp.moveaxis(grads, 0, axis)})["w"]
    expected = first(apart, {str(i): grads[i] for i in range(3)})
    for i in range(3):
        np.testing.assert_allclose(jnp.moveaxis(found, axis, 0)[i], expected[str(i)], atol=1e-5)


def test_tensor_normalized_adam_has_adams_direction_and_unit_size():
    params = {"w": jnp.ones((3, 2)), "zero": jnp.ones(4)}
    grads = {"w": jax.random.normal(jax.random.key(0), (3, 2)), "zero": jnp.zeros(4)}
    state_of = {}
    for name, optimizer in (("adam", optax.adam(0.5)), ("ours", tensor_normalized_adam(0.5))):
        state = optimizer.init(params)
        for scale in (1.0, -2.0, 0.3):
            scaled = jax.tree.map(lambda g, s=scale: s * g**3, grads)
            updates, state = optimizer.update(scaled, state, params)
        state_of[name] = updates
    ours, adam = state_of["ours"]["w"], state_of["adam"]["w"]
    np.testing.assert_allclose(jnp.sqrt(jnp.mean(ours**2)), 0.5, rtol=1e-5)
    np.testing.assert_allclose(ours / ours[0, 0], adam / adam[0, 0], rtol=1e-4)
    assert not np.any(state_of["ours"]["zero"])


def test_every_baseline_takes_a_learning_rate():
    for baseline in BASELINES.values():
        assert "learning_rate" in inspect.signature(baseline.make).parameters
