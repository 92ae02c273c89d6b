import jax
import jax.numpy as jnp
import pytest

from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.tasks import TASKS, build_untrusted, training_bytes

TOO_LARGE = "GiB to train.* 2 GiB"


def nested(times, inner="mlp"):
    return nested(times - 1, {"name": "reparametrize", "task": inner}) if times else inner


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("mlp(widths=(1_000_000_000,))", "widths up to 100,000,000"),
        ({"name": "mlp", "widths": [10**400]}, "widths up to 100,000,000"),
        ("mlp(widths=(100_000_000, 100_000_000))", TOO_LARGE),
        ("mlp(batch_size=100_000_000)", TOO_LARGE),
        ("quadratic(dimension=100_000_000)", TOO_LARGE),
        ("initial_scale(task=quadratic(dimension=100_000_000))", TOO_LARGE),
        ("initial_scale(task='quadratic(dimension=1_000_000_000)')", "dimension up to"),
        ("mlp(data=photos(patches=100_000_000))", "from 8 to 32,768"),
        ("mlp(data='photos(patches=1e300)')", "patches up to"),
        ({"name": "mlp", "widths": [1] * 65}, "64 widths"),
        ("transformer(depth=100_000)", "depth up to 64"),
        (nested(50), "16 deep"),
        ({"name": "mlp", "widths": [[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]}, "16 deep"),
        ("mlp(data=tfds(dataset='../evil'))", "name of a data set"),
        ("label_noise(share=(None, 1))", "finite number"),
        ({"name": "mlp", "data": {"name": {}}}, "words for names"),
        ({"tasks": []}, "task has no name"),
        (None, "task must be a name"),
    ],
)
def test_what_is_too_large_or_malformed_is_refused(part, message):
    with pytest.raises(UserError, match=message) as caught:
        build_untrusted(part)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("part", ["mlp(widths=(4,))", {"name": "label_subset", "labels": [2, 5]}])
def test_a_modest_task_is_built_as_any(part):
    ours, theirs = build_untrusted(part), build(TASKS, part)
    same = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), ours, theirs)
    assert jax.tree.all(same)
    with pytest.raises(UserError, match="GiB to train"):
        build_untrusted(part, most_bytes=training_bytes(ours) - 1)


def test_a_step_takes_what_its_program_holds():
    """The estimate of a step lies above what XLA allots to it, and within an order of magnitude."""
    for part in (
        "mlp(widths=(256, 256), batch_size=512)",
        "rnn(data=text(size=20_000), length=64)",
    ):
        task = build(TASKS, part)

        def step(task, params, state, key):
            batch = task.batch(state, key)
            grads = jax.grad(lambda p: task.loss(p, state, batch, key)[0])(params)
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)

        key = jax.random.key(0)
        used = jax.jit(step).lower(task, *task.init(key), key).compile().memory_analysis()
        taken = used.temp_size_in_bytes + used.argument_size_in_bytes + used.output_size_in_bytes
        assert taken < training_bytes(task) < 10 * taken
