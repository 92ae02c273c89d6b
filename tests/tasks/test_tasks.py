import re
import warnings
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.meta.unroll import init_run, unroll
from lopt.symmetry import check_spec
from lopt.tasks import TASKS, mlp, quadratic, rnn
from lopt.tasks.data_task import mean_over
from lopt.tasks.task import initial_loss

TINY_MLP = "mlp(widths=(8, 6), batch_size=32)"
SMALL_TEXT = "text(size=40_000)"

SMALL = {
    "mlp": [TINY_MLP, "mlp(widths=(8, 6), activation='tanh', batch_size=32)"],
    "residual_mlp": ["residual_mlp(width=8, depth=1, batch_size=32)"],
    "cnn": [
        "cnn(widths=(8, 16), batch_size=32)",
        "cnn(block='batchnorm', widths=(8, 16), batch_size=32)",
        "cnn(block='residual', widths=(4, 8), batch_size=32)",
    ],
    "rnn": [
        f"rnn(data={SMALL_TEXT}, cell='irnn', widths=(64,), length=16, batch_size=64)",
        f"rnn(data={SMALL_TEXT}, cell='gru', widths=(64,), length=16, batch_size=64)",
        f"rnn(data={SMALL_TEXT}, cell='lstm', widths=(64,), length=16, batch_size=64)",
    ],
    "transformer": [
        f"transformer(data={SMALL_TEXT}, width=16, depth=1, heads=2, length=16, batch_size=64)"
    ],
    "autoencoder": ["autoencoder(widths=(8, 4), batch_size=32)"],
    "vit": ["vit(patch=4, width=8, depth=1, batch_size=32)"],
    "quadratic": ["quadratic"],
    "label_subset": [f"label_subset(task={TINY_MLP}, labels=(2, 5))"],
    "data_subset": [f"data_subset(task={TINY_MLP})"],
    "label_noise": [f"label_noise(task={TINY_MLP}, share=(0.0, 0.1))"],
    "input_scale": [f"input_scale(task={TINY_MLP})"],
    "initial_scale": [f"initial_scale(task={TINY_MLP}, scale=(0.5, 2.0))"],
    "reparametrize": [f"reparametrize(task={TINY_MLP}, scale=(0.5, 2.0))"],
}
PARTS = [part for parts in SMALL.values() for part in parts]


@cache
def make(part):
    return build(TASKS, part)


def test_every_task_is_tested():
    assert set(SMALL) == set(TASKS)


@pytest.mark.parametrize("part", PARTS)
def test_the_loss_falls_under_adam(part):
    task = make(part)
    optimizer = optax.adam(0.02)

    @jax.jit
    def train(task, key):
        run = init_run(task, optimizer, key, 1)
        before = task.evaluate(run.params, run.model_state)["loss"]
        run, losses = unroll(task, optimizer, run, 400 if SMALL_TEXT in part else 100)
        return before, losses.values, task.evaluate(run.params, run.model_state)["loss"]

    before, losses, after = train(task, jax.random.key(0))
    assert losses[-10:].mean() < 0.5 * losses[:10].mean()
    assert after < 0.5 * before


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.filterwarnings("error::lopt.symmetry.FixedUnitsWarning")
def test_the_inferred_spec_is_proved(part):
    task = make(part)
    key = jax.random.key(1)
    params, state = task.init(key)
    task.spec.validate(params)

    def loss(params, state, batch, key):
        return task.loss(params, state, batch, key)[0]

    assert check_spec(loss, params, task.spec, state, task.batch(state, key), key)


@pytest.mark.parametrize("part", PARTS)
def test_a_task_is_pure_and_vmaps_over_keys(part):
    task = make(part)
    keys = jax.random.split(jax.random.key(2), 3)

    def loss(key):
        params, state = task.init(key)
        return task.loss(params, state, task.batch(state, key), key)[0]

    one, all_at_once = jax.jit(loss), jax.jit(jax.vmap(loss))
    np.testing.assert_allclose(all_at_once(keys), [one(k) for k in keys], rtol=1e-4)


@pytest.mark.parametrize(
    ("part", "sizes"),
    [
        (SMALL["mlp"][0], [8, 6]),
        (SMALL["cnn"][0], [8, 16]),
        (SMALL["cnn"][2], [4, 4, 8, 8]),
        (SMALL["rnn"][0], [16, 64]),
        (SMALL["rnn"][1], [16, 64]),
        (SMALL["rnn"][2], [16, 64]),
        (SMALL["transformer"][0], [16, 2, 8, 8, 64]),
        (SMALL["autoencoder"][0], [8, 4, 8]),
        (SMALL["vit"][0], [8, 2, 4, 4, 32]),
        (SMALL["reparametrize"][0], [8, 6]),
    ],
)
def test_the_true_groups_are_the_hidden_units(part, sizes):
    spec = make(part).spec
    assert [spec.sizes[g] for g in spec.groups] == sizes


def test_batch_statistics_are_those_of_training_and_serve_evaluation():
    task = make(SMALL["cnn"][1])
    key = jax.random.key(3)
    params, state = task.init(key)
    assert set(state.variables) == {"batch_stats"}
    batch = task.batch(state, key)
    _, after = task.loss(params, state, batch, key)
    mean = after.variables["batch_stats"]["BatchNormBlock_0"]["BatchNorm_0"]["mean"]
    kernel = params["BatchNormBlock_0"]["Conv_0"]["kernel"]
    maps = jax.lax.conv_general_dilated(
        batch.x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(mean, 0.1 * maps.mean((0, 1, 2)), rtol=1e-3, atol=1e-6)
    assert task.evaluate(params, after)["loss"] != task.evaluate(params, state)["loss"]


def test_an_irnn_starts_at_the_identity():
    params, _ = make(SMALL["rnn"][0]).init(jax.random.key(4))
    np.testing.assert_array_equal(params["SimpleCell_0"]["h"]["kernel"], np.eye(64))


def test_a_transformer_does_not_see_the_future():
    task = make(SMALL["transformer"][0])
    params, _ = task.init(jax.random.key(5))
    tokens = jax.random.randint(jax.random.key(6), (1, 16), 0, 256)
    changed = tokens.at[0, 9].add(1)
    before, after = (task.model.apply({"params": params}, t)[0] for t in (tokens, changed))
    np.testing.assert_allclose(before[:9], after[:9], atol=1e-5)
    assert (abs(before[9:] - after[9:]).max(1) > 1e-4).all()


def test_bits_per_character_are_those_of_a_uniform_guess():
    task = make(SMALL["transformer"][0])
    params, state = task.init(jax.random.key(7))
    params = jax.tree.map(jnp.zeros_like, params)
    metrics = task.evaluate(params, state)
    np.testing.assert_allclose(metrics["loss"], np.log(256), rtol=1e-5)
    bits = 8 / task.corpus.characters_per_token
    np.testing.assert_allclose(metrics["bits_per_character"], bits, rtol=1e-5)


def test_a_mean_over_chunks_is_the_weighted_mean():
    x = jnp.arange(7.0)
    weights = jnp.array([1.0, 0, 2, 0, 1, 1, 0])
    values = {"loss": x**2, "other": -x}
    for chunk in (1, 3, 7, 100):
        means = mean_over(lambda x: {"loss": x**2, "other": -x}, x, weights, chunk)
        for name, value in means.items():
            expected = np.average(values[name], weights=weights)
            np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_recurrent_kernels_start_orthogonal_and_are_factorized_one_at_a_time(cell):
    task = rnn(data="text(size=3000)", cell=cell, widths=(8,), length=8)
    runs = jax.vmap(lambda key: task.init(key)[0])
    keys = jax.random.split(jax.random.key(0), 16)
    factorized = re.findall(r":(f32\S+) = qr\[", str(jax.make_jaxpr(runs)(keys)))
    assert set(factorized) == {"f32[8,8]"}
    kernels = [
        kernel
        for path, kernel in flatten_dict(runs(keys)).items()
        if path[-1] == "kernel" and path[-2].startswith("h")
    ]
    assert len(kernels) == {"gru": 3, "lstm": 4}[cell]
    for kernel in kernels:
        gram = np.einsum("rij,rik->rjk", kernel, kernel)
        np.testing.assert_allclose(gram, np.broadcast_to(np.eye(8), (16, 8, 8)), atol=1e-5)
        assert np.abs(kernel[0] - kernel[1]).max() > 0.01


@pytest.mark.parametrize("part", [TINY_MLP, SMALL["rnn"][1]])
def test_the_data_are_no_constants_of_the_initial_loss(part, request):
    task = make(part)
    smallest = min(x.nbytes for x in jax.tree.leaves(task) if x.size > 1000)
    default = jax.config.jax_captured_constants_warn_bytes
    jax.config.update("jax_captured_constants_warn_bytes", smallest)
    request.addfinalizer(lambda: jax.config.update("jax_captured_constants_warn_bytes", default))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = initial_loss(task, runs=2)
    assert 0.5 < loss / np.log(10 if part == TINY_MLP else 256) < 2


def test_the_source_of_a_text_has_its_hash():
    assert re.search(r"Python 3\.\d+.*sha256 [0-9a-f]{64}$", make(SMALL["rnn"][0]).source)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("mlp(data='digit')", "'digit'.* digits"),
        ("mlp(widths=(8, 0))", "each of widths .* 0"),
        ("mlp(widths=(3.5,))", "mlp: each of widths .* 3.5"),
        ("mlp(widths=8)", "mlp: widths must be a sequence"),
        ("rnn(widths=None)", "rnn: widths must be a sequence"),
        ("rnn(data=5)", "rnn: data .* 5"),
        ("quadratic(dimension=2.5)", "dimension .* 2.5"),
        ("mlp(data='rnn')", "data set .*rnn"),
        ("rnn(data='digits')", "text 'digits'"),
        ("rnn(cell='gur')", "cell 'gur'.* gru"),
        ("rnn(data=text(size=500), length=64)", "held-out text.* 50"),
        ("transformer(data=text(size=300), length=600)", "training text"),
        ("transformer(width=6, heads=4)", "4 does not divide 6"),
        ("transformer(data=text(tokens=byte))", "tokenizer 'byte'"),
        ("cnn(block='plane')", "block 'plane'.* plain"),
        ("cnn(widths=(2, 2, 2, 2, 2))", "digits .* 8; .* 4"),
        ("vit(patch=3)", "8 of digits.* 1, 2, 4, 8"),
        ("vit(width=0)", "width .* 0"),
        ("autoencoder(data=photos(side=64))", "side=64"),
        ("quadratic(condition=0.1)", "condition .* 1, not 0.1"),
        ("quadratic(noise=-1.0)", "noise .* 0, not -1.0"),
    ],
)
def test_impossible_tasks_are_refused(part, message):
    with pytest.raises(UserError, match=message):
        build(TASKS, part)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mlp(widths=8), "mlp: widths must be a sequence"),
        (lambda: mlp(widths=(3.5,)), "mlp: each of widths .* 3.5"),
        (lambda: rnn(data=5), "text must be a name.* 5"),
        (lambda: quadratic(dimension=2.5), "dimension .* 2.5"),
    ],
)
def test_impossible_tasks_are_refused_in_python_too(make, message):
    with pytest.raises(UserError, match=message):
        make()
