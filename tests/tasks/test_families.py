import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.tasks import (
    TASKS,
    build_mixture,
    data_subset,
    initial_scale,
    input_scale,
    label_noise,
    label_subset,
    mixture,
    mlp,
    reparametrize,
    rnn,
)

BASE = mlp(widths=(5,), batch_size=512)
TEXT = rnn(data="text(size=3000)", widths=(4,), embedding=3, length=8, batch_size=64)
KEYS = jax.random.split(jax.random.key(0), 6)


def batches(task, number=8):
    """`number` batches of each of the runs, from its own state."""

    def of_run(key):
        _, state = task.init(key)
        return jax.vmap(lambda k: task.batch(state, k))(jax.random.split(key, number))

    return jax.jit(jax.vmap(of_run))(KEYS)


def states(task):
    return jax.vmap(lambda key: task.init(key)[1])(KEYS)


def places(batch):
    """Which examples of the digits each batch holds."""
    index = {np.asarray(x).tobytes(): i for i, x in enumerate(BASE.dataset.train.x)}
    return np.array([index[np.asarray(x).tobytes()] for x in batch.x.reshape(-1, 8, 8, 1)])


def test_a_whole_view_draws_all_examples_alike():
    seen = places(batches(BASE, 40))
    share = np.bincount(seen, minlength=len(BASE.dataset.train)) / len(seen)
    number = len(BASE.dataset.train)
    assert (share > 0).all()
    expected = np.sqrt(number * (1 - 1 / number) / len(seen))
    np.testing.assert_allclose(np.std(share * number), expected, rtol=0.1)


def test_label_subsets_have_the_drawn_number_and_differ():
    task = label_subset(BASE, labels=(2, 4))
    labels = batches(task).y.reshape(len(KEYS), -1)
    sets = [frozenset(np.unique(y).tolist()) for y in labels]
    assert {len(s) for s in sets} == {2, 3, 4}
    assert len(set(sets)) == len(sets)
    for s, seen in zip(sets, states(task).view.labels, strict=True):
        assert s == set(np.flatnonzero(seen).tolist())


def test_held_out_metrics_of_a_label_subset_are_over_its_labels():
    task = label_subset(BASE, labels=(3, 3))
    params, state = task.init(KEYS[0])
    test = BASE.dataset.test
    mine = np.isin(test.y, np.flatnonzero(state.view.labels))
    logits = BASE.model.apply({"params": params}, test.x[mine])
    accuracy = np.mean(logits.argmax(-1) == test.y[mine])
    np.testing.assert_allclose(task.evaluate(params, state)["accuracy"], accuracy, rtol=1e-5)


def test_data_subsets_are_small_parts_that_differ():
    task = data_subset(BASE, fraction=(0.1, 0.1))
    drawn = batches(task, 40)
    parts = [set(places(jax.tree.map(lambda x, i=i: x[i], drawn)).tolist()) for i in range(3)]
    number = len(BASE.dataset.train)
    for part in parts:
        assert 0.09 * number < len(part) < 0.12 * number
    assert len(parts[0] & parts[1]) < 0.6 * len(parts[0])
    assert len(set(np.unique(drawn.y).tolist())) == 10


def test_a_data_subset_of_a_text_is_one_window():
    task = data_subset(TEXT, fraction=(0.1, 0.1))
    text = np.asarray(TEXT.corpus.train)
    windows = np.lib.stride_tricks.sliding_window_view(text, 9)
    for run in np.asarray(batches(task)):
        found = [np.flatnonzero((windows == s).all(1)) for s in run.reshape(-1, 9)]
        unique = np.array([f[0] for f in found if len(f) == 1])
        assert 0.05 * len(text) < np.ptp(unique) <= 0.1 * len(text) + 1


def test_subsets_of_subsets_multiply():
    task = data_subset(data_subset(BASE, fraction=(0.5, 0.5)), fraction=(0.2, 0.2))
    view = states(task).view
    np.testing.assert_allclose(view.fraction, 0.1, rtol=1e-5)
    assert (view.start >= 0).all()
    assert (view.start + view.fraction <= 1 + 1e-6).all()


def test_input_scale_is_of_batches_and_of_held_out_inputs():
    task = input_scale(BASE, scale=(0.1, 10.0))
    params, state = task.init(KEYS[0])
    plain = BASE.batch(BASE.init(KEYS[0])[1], KEYS[1])
    factor = state.view.scale
    assert len(np.unique(states(task).view.scale)) == len(KEYS)
    np.testing.assert_allclose(task.batch(state, KEYS[1]).x, factor * plain.x, rtol=1e-5)
    scaled = jax.tree.map(lambda p: p, params)
    scaled["Dense_0"]["kernel"] = factor * params["Dense_0"]["kernel"]
    np.testing.assert_allclose(
        task.evaluate(params, state)["loss"],
        BASE.evaluate(scaled, BASE.init(KEYS[0])[1])["loss"],
        rtol=1e-4,
    )


def test_label_noise_replaces_the_drawn_share():
    task = label_noise(BASE, share=(0.4, 0.4))
    drawn = batches(task, 20)
    true = np.asarray(BASE.dataset.train.y)[places(drawn)].reshape(drawn.y.shape)
    wrong = np.mean(true != drawn.y)
    np.testing.assert_allclose(wrong, 0.4 * 0.9, atol=0.02)


def test_no_label_noise_leaves_labels_true():
    drawn = batches(label_noise(BASE, share=(0.0, 0.0)), 2)
    true = np.asarray(BASE.dataset.train.y)[places(drawn)]
    np.testing.assert_array_equal(drawn.y.reshape(-1), true)


def test_initial_scale_multiplies_kernels_and_not_biases():
    task = initial_scale(BASE, scale=(2.0, 2.0))
    shift = reparametrize(BASE, scale=(0.5, 0.5), level="global")
    params, scaled = shift.init(KEYS[0])[0], task.init(KEYS[0])[0]
    np.testing.assert_allclose(params["Dense_0"]["kernel"], scaled["Dense_0"]["kernel"], rtol=1e-5)
    norms = [
        np.linalg.norm(initial_scale(BASE, scale=(0.1, 10.0)).init(k)[0]["Dense_0"]["kernel"])
        for k in KEYS
    ]
    assert max(norms) > 2 * min(norms)


@pytest.mark.parametrize("level", ["global", "tensor", "parameter"])
def test_reparametrization_keeps_the_function_and_scales_the_gradient(level):
    task = reparametrize(BASE, scale=(0.1, 10.0), level=level)
    params, state = task.init(KEYS[0])
    original = jax.tree.map(jnp.multiply, params, state.value)
    batch = task.batch(state, KEYS[1])

    def losses(task, params, state):
        return jax.value_and_grad(lambda p: task.loss(p, state, batch, KEYS[2])[0])(params)

    loss, grads = losses(task, params, state)
    expected, base_grads = losses(BASE, original, state.state)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    jax.tree.map(
        lambda g, c, b: np.testing.assert_allclose(g, c * b, rtol=1e-3, atol=1e-6),
        grads,
        state.value,
        base_grads,
    )
    factors = np.concatenate([np.unique(f) for f in jax.tree.leaves(state.value)])
    count = sum(p.size for p in jax.tree.leaves(params))
    kinds = {"global": 1, "tensor": len(jax.tree.leaves(params)), "parameter": count}
    assert abs(len(np.unique(factors)) - kinds[level]) <= 0.01 * kinds[level]


def test_the_initial_function_of_a_reparametrization_is_that_of_the_task():
    init_key, _ = jax.random.split(KEYS[0])
    task = reparametrize(BASE)
    params, state = task.init(KEYS[0])
    expected, base_state = BASE.init(init_key)
    jax.tree.map(
        lambda p, c, e: np.testing.assert_allclose(p * c, e, rtol=1e-5),
        params,
        state.value,
        expected,
    )
    np.testing.assert_allclose(
        task.evaluate(params, state)["loss"], BASE.evaluate(expected, base_state)["loss"], rtol=1e-5
    )


def test_parameter_factors_permute_with_their_neurons():
    task = reparametrize(BASE, level="parameter")
    params, state = task.init(KEYS[0])
    permutations = task.spec.sample(KEYS[3])
    permuted = task.spec.permute(params, permutations)
    batch = task.batch(state, KEYS[1])
    both = state._replace(value=task.spec.permute(state.value, permutations))
    loss = task.loss(params, state, batch, KEYS[2])[0]
    np.testing.assert_allclose(task.loss(permuted, both, batch, KEYS[2])[0], loss, rtol=1e-5)
    assert abs(task.loss(permuted, state, batch, KEYS[2])[0] - loss) > 1e-3


def test_families_compose_by_name_and_vmap():
    base = "mlp(widths=(3,))"
    subset = f"label_subset(task={base!r}, labels=(2, 2))"
    noisy = f"label_noise(task={subset!r}, share=(0.1, 0.2))"
    text = f"reparametrize(task={noisy!r}, level='parameter')"
    task = build(TASKS, text)
    drawn = batches(task, 4)
    assert [len(np.unique(y)) for y in drawn.y] == [2] * len(KEYS)
    value = states(task).state.value
    assert ((value >= 0.1) & (value <= 0.2)).all()
    assert task.source == BASE.source
    assert task.spec.groups == mlp(widths=(3,)).spec.groups


def test_runs_of_a_family_share_the_data():
    task = data_subset(BASE)
    arrays = jax.tree.leaves(states(task))
    assert sum(a.size for a in arrays) < 20 * len(KEYS)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("label_subset(task='quadratic')", "no labels"),
        ("label_subset(task='rnn')", "no labels"),
        ("input_scale(task='rnn')", "no real inputs"),
        ("data_subset(task='quadratic')", "no data"),
        ("label_subset(task='mlpp')", "'mlpp'.* mlp"),
        ("label_subset(labels=(2, 11))", "labels .* 1 to 10"),
        ("label_subset(labels=(1.5, 2))", "labels .* 1.5"),
        ("data_subset(fraction=(0.5, 0.2))", r"\(0.5, 0.2\)"),
        ("data_subset(fraction=0.5)", "fraction.* 0.5"),
        ("input_scale(scale=(0, 1))", "at least 1e-06"),
        ("label_noise(share=(0, 2))", "from 0 to 1"),
        ("label_noise(task=data_subset(task=autoencoder))", "predicts no labels"),
        ("reparametrize(level='tensors')", "level.*'tensors'"),
    ],
)
def test_impossible_families_are_refused(part, message):
    with pytest.raises(UserError, match=message):
        build(TASKS, part)


def test_a_mixture_holds_tasks_of_different_shapes():
    several = build_mixture("mixture(tasks=('mlp(widths=(3,))', 'quadratic'), weights=(1, 3))")
    assert several.weights == (0.25, 0.75)
    shapes = [jax.eval_shape(t.init, KEYS[0])[0] for t in several.tasks]
    assert jax.tree.structure(shapes[0]) != jax.tree.structure(shapes[1])
    assert build_mixture({"name": "quadratic", "dimension": 3}).weights == (1.0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": ()}, "one or more tasks"),
        ({"tasks": "mlp"}, "tasks .*'mlp'"),
        ({"tasks": 3}, "tasks .* 3"),
        ({"tasks": ("mlp",), "weights": 3}, "weights must be a sequence"),
        ({"tasks": ("mlp",), "weights": ("a",)}, "each of weights"),
        ({"tasks": ("mlp",), "weights": (float("nan"),)}, "weights .* nan"),
        ({"tasks": ("mlp",), "weights": (1, 2)}, "2 weights and 1 tasks"),
        ({"tasks": ("mlp",), "weights": (-1,)}, "positive"),
        ({"tasks": ("mpl",)}, "task 'mpl'"),
    ],
)
def test_impossible_mixtures_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        mixture(**arguments)
    with pytest.raises(UserError, match=message):
        build_mixture({"name": "mixture", **arguments})
