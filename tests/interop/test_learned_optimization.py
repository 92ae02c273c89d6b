"""Against the real library: its wheel in `.ci/learned_optimization`, or a checkout of its head."""

import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from guides import running
from jax.flatten_util import ravel_pytree
from processes import run

from lopt.base.errors import UserError
from lopt.base.schedules import scale_over_run
from lopt.meta.unroll import init_run, unroll
from lopt.symmetry import check_spec

pytest.importorskip("learned_optimization")

import external_tasks
import user_parts
from flax import serialization
from learned_optimization.learned_optimizers import base as their_learned
from learned_optimization.optimizers import base as their_optimizers
from learned_optimization.outer_trainers import truncation_schedule
from learned_optimization.tasks import base as their_base
from learned_optimization.tasks import quadratics

from lopt.base.parts import build
from lopt.compare import compare
from lopt.interop.learned_optimization import as_learned_optimizer, optimizer_from, task_from
from lopt.rules import RULES, LearnedOptimizer, UNFRule, load, save
from lopt.tasks import TASKS, build_untrusted

STEPS = 5
HERE = "lopt.interop.learned_optimization"


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)


def their_loop(task, opt, params, state, batches, keys, num_steps=STEPS):
    """Training as their `eval_training` does it: losses, and the last state of their optimizer."""

    @jax.jit
    def step(opt_state, batch, key):
        params, state = opt.get_params_state(opt_state)
        grad = jax.value_and_grad(task.loss_with_state, has_aux=True)
        (loss, state), grads = grad(params, state, key, batch)
        return opt.update(opt_state, grads, loss=loss, model_state=state, key=key), loss

    opt_state, losses = opt.init(params, state, num_steps=num_steps), []
    for batch, key in zip(batches, keys, strict=True):
        opt_state, loss = step(opt_state, batch, key)
        losses.append(loss)
    return opt_state, jnp.stack(losses)


def what_a_run_sees(task, run, steps=STEPS):
    """The batches and keys of the steps of a run of ours, as they are given to their losses."""
    keys = [jax.random.split(jax.random.fold_in(run.key, i)) for i in range(steps)]
    batches = [task.batch(run.model_state, data_key) for data_key, _ in keys]
    return batches, [jax.random.key_data(loss_key) for _, loss_key in keys]


@pytest.fixture(scope="module", params=[external_tasks.Digits, external_tasks.NormalizedDigits])
def tasks(request):
    theirs = request.param()
    return theirs, task_from(theirs, batches=8, held_out=2)


def test_a_task_of_theirs_trains_here_as_in_their_own_loop(tasks):
    theirs, task = tasks
    optimizer = optax.adam(0.01, eps_root=1e-8)
    run = init_run(task, optimizer, jax.random.key(3), STEPS)
    batches, keys = what_a_run_sees(task, run)
    ended, losses = jax.jit(unroll, static_argnums=(1, 3))(task, optimizer, run, STEPS)
    opt = their_optimizers.Adam(0.01)
    last, expected = their_loop(theirs, opt, run.params, run.model_state.state, batches, keys)
    close(losses.values, expected)
    close(ended.params, opt.get_params(last))
    close(ended.model_state.state, opt.get_state(last))
    assert losses.values[-1] != losses.values[0]


def test_held_out_metrics_are_the_means_over_their_test_batches(tasks):
    theirs, task = tasks
    params, state = task.init(jax.random.key(0))
    key = jax.random.PRNGKey(0)
    found = [
        theirs.loss_with_state_and_aux(params, state.state, key, task_batch)
        for task_batch in (jax.tree.map(lambda x, i=i: x[i], task.held_out) for i in range(2))
    ]
    expected = {"loss": np.mean([loss for loss, _, _ in found])}
    expected |= {name: np.mean([aux[name] for _, _, aux in found]) for name in found[0][2]}
    close(dict(sorted(task.evaluate(params, state).items())), dict(sorted(expected.items())))


def test_neuron_groups_are_inferred_from_their_haiku_losses(tasks):
    _, task = tasks
    spec = task.spec
    params, state = task.init(jax.random.key(0))
    hidden = [name for name, size in spec.sizes.items() if size == 8 and name not in spec.fixed]
    assert len(hidden) == 1
    batch, key = task.batch(state, jax.random.key(2)), jax.random.key(3)
    assert check_spec(lambda p: task.loss(p, state, batch, key)[0], params, spec)


def test_a_family_of_theirs_draws_a_task_for_each_run():
    family = quadratics.FixedDimQuadraticFamily(3)
    task = task_from(family)
    params, state = jax.vmap(task.init)(jax.random.split(jax.random.key(0), 4))
    assert len(np.unique(np.asarray(state.value), axis=0)) == 4
    losses, _ = jax.vmap(task.loss, (0, 0, None, None))(params, state, (), jax.random.key(0))
    close(losses, jnp.sum(jnp.square(state.value - params), 1))


@pytest.fixture(scope="module")
def rules(tasks):
    """Our rules with a learning rate: the optimizer that comes with the package, and a network."""
    _, task = tasks
    base = load("base")
    unf = UNFRule(layers="relational", widths=(2,), features=("gradient", "weight"))
    theta = unf.init(jax.random.key(0), task.spec)
    return {"base": base, "unf": LearnedOptimizer(unf, theta, None, {}, 0.02, "cosine")}


@pytest.mark.parametrize("name", ["base", "unf"])
def test_our_rules_train_external_tasks_under_their_interface_as_through_optax(tasks, rules, name):
    theirs, task = tasks
    learned = as_learned_optimizer(rules[name], spec=task.spec)
    assert isinstance(learned, their_learned.LearnedOptimizer)
    opt = learned.opt_fn(learned.init(jax.random.PRNGKey(0)))
    optimizer = optax.chain(
        rules[name].rule.scale_by_rule(rules[name].theta, task.spec),
        scale_over_run(rules[name].schedule, rules[name].learning_rate),
    )
    run = init_run(task, optimizer, jax.random.key(3), STEPS)
    batches, keys = what_a_run_sees(task, run)
    ended, losses = jax.jit(unroll, static_argnums=(1, 3))(task, optimizer, run, STEPS)
    last, found = their_loop(theirs, opt, run.params, run.model_state.state, batches, keys)
    close(found, losses.values)
    close(opt.get_params(last), ended.params)
    close(opt.get_state(last), ended.model_state.state)
    assert int(last.iteration) == STEPS
    assert jnp.all(opt.get_params(opt.set_params(last, {"x": 3.0}))["x"] == 3.0)


def test_their_truncated_steps_reset_and_train_our_rules():
    """Two tasks of a family at once, of which one run ends and begins again, theta perturbed."""
    common = importlib.import_module("learned_optimization.outer_trainers.common")
    module = common
    if not hasattr(common, "progress_or_reset_inner_opt_state"):
        module = importlib.import_module("learned_optimization.outer_trainers.lopt_truncated_step")
    family = quadratics.FixedDimQuadraticFamily(4)
    rate = 0.1 * (3 / 1000) ** 0.5  # steps of 0.1 in a run of 3
    learned = as_learned_optimizer("rotated(width=2)", learning_rate=rate, schedule="linear")
    schedule = truncation_schedule.ConstantTruncationSchedule(3)
    theta = learned.init(jax.random.PRNGKey(0))
    thetas = jax.tree.map(lambda x: jnp.stack([x, x + 0.1]), theta)
    init = jax.vmap(
        lambda theta, key: learned.opt_fn(theta).init(
            family.task_fn(None).init(key), None, num_steps=3, key=key
        )
    )
    keys = jax.random.split(jax.random.PRNGKey(1), 2)
    opt_state, params = init(thetas, keys), jax.vmap(family.sample)(keys + 1)

    @jax.jit
    @jax.vmap
    def advance(theta, key, opt_state, params, step, done):
        return module.progress_or_reset_inner_opt_state(
            task_family=family,
            opt=learned.opt_fn(theta),
            num_steps=3,
            key=key,
            inner_opt_state=opt_state,
            task_param=params,
            inner_step=step,
            is_done=done,
            data=(),
        )

    step, losses = jnp.zeros(2, jnp.int32), []
    for i in range(4):
        _, done = schedule.next_state(schedule.init(keys[0], None), step, keys[0], None)
        keys = jax.random.split(jax.random.PRNGKey(i), 2)
        opt_state, params, step, loss = advance(thetas, keys, opt_state, params, step, done)
        step = step.astype(jnp.int32)
        losses.append(loss)
    losses = np.asarray(losses)
    assert (losses[1:3] < losses[:2]).all()
    assert (losses[0] > 0).all()
    np.testing.assert_array_equal(losses[3], 0)  # their mark of a run that began again
    np.testing.assert_array_equal(step, 0)
    np.testing.assert_array_equal(opt_state.iteration, 0)


def their_newest(*modules):
    """Modules that only their newest version has, or that only there import under today's JAX."""
    try:
        return [importlib.import_module(f"learned_optimization.{name}") for name in modules]
    except (ImportError, AttributeError, ValueError) as error:
        pytest.skip(f"{modules} of theirs: {error}")


@pytest.fixture(scope="module")
def descents():
    """Gradient descent with a learned rate: as a rule of ours, and as a class of theirs."""
    return (
        as_learned_optimizer(user_parts.OneRate(), learning_rate=0.05),
        their_learned.LearnableSGD(0.05),
    )


def test_their_pes_estimates_the_same_for_a_rule_of_ours_and_the_same_one_of_theirs(descents):
    steps, pes, learner = their_newest(
        "outer_trainers.lopt_truncated_step",
        "outer_trainers.truncated_pes",
        "outer_trainers.gradient_learner",
    )
    family = their_base.single_task_to_family(quadratics.QuadraticTask())
    gradients, key = [], jax.random.PRNGKey(0)
    for learned in descents:
        schedule = truncation_schedule.ConstantTruncationSchedule(6)
        truncated = steps.VectorizedLOptTruncatedStep(family, learned, schedule, num_tasks=4)
        estimator = pes.TruncatedPES(truncated, trunc_length=3, std=0.01, steps_per_jit=3)
        theta = learned.init(key)
        weights = learner.WorkerWeights(theta, None, learner.OuterState(jnp.asarray(0)))
        state = estimator.init_worker_state(weights, key)
        for _ in range(2):
            out, _ = estimator.compute_gradient_estimate(weights, key, state, False)
            state = out.unroll_state
        assert jax.tree.structure(out.grad) == jax.tree.structure(theta)
        gradients.append(ravel_pytree((out.grad, out.mean_loss))[0])
    np.testing.assert_allclose(*gradients, rtol=1e-3)
    assert abs(gradients[0][0]) > 1e-3


def test_their_evaluator_gives_the_same_for_a_rule_of_ours_and_the_same_one_of_theirs(descents):
    (evaluation,) = their_newest("eval_training")
    curves = []
    for learned in descents:
        opt = learned.opt_fn(learned.init(jax.random.PRNGKey(0)))
        task, key = quadratics.QuadraticTask(), jax.random.PRNGKey(1)
        curves.append(evaluation.single_task_training_curves(task, opt, STEPS, key, eval_every=2))
    close(*({k: v for k, v in c.items() if "loss" in k} for c in curves))
    assert curves[0]["train/loss"][-1] < curves[0]["train/loss"][0]


def test_an_optimizer_of_theirs_is_compared_here():
    """The release and the newest version build this Adam on optax; the curves must agree."""
    theirs = f"{HERE}:optimizer_from(theirs=learned_optimization.optimizers.base:Adam"
    found = compare(
        {"theirs": f"{theirs}(learning_rate=0.1))", "ours": optax.adam(0.1, eps_root=1e-8)},
        {"bowl": f"{HERE}:task_from(theirs=learned_optimization.tasks.quadratics:QuadraticTask)"},
        steps=20,
        seeds=2,
        time_steps=False,
    )
    theirs, ours = (found.outcomes["bowl", name].trials[0].losses for name in ("theirs", "ours"))
    np.testing.assert_allclose(theirs, ours, rtol=1e-4)
    assert (theirs[:, -1] < theirs[:, 0]).all()


@pytest.fixture(scope="module")
def momentum():
    """A learned optimizer of theirs, and meta-parameters other than those it begins with."""
    learned = their_learned.LearnableSGDM()
    theta = jax.tree.map(lambda x: x + 0.25, learned.init(jax.random.PRNGKey(0)))
    return learned, theta


def trained(learned, theta, **arguments):
    """A few steps of an optimizer of theirs on a bowl, here and in their loop."""
    theirs = quadratics.QuadraticTask()
    task = task_from(theirs)
    optimizer = optimizer_from(learned, theta, total_steps=STEPS, **arguments)
    run = init_run(task, optimizer, jax.random.key(3), STEPS)
    batches, keys = what_a_run_sees(task, run)
    ended, losses = jax.jit(unroll, static_argnums=(1, 3))(task, optimizer, run, STEPS)
    return theirs, run, batches, keys, ended, losses.values


def test_a_learned_optimizer_of_theirs_trains_here_as_in_their_own_loop(momentum):
    learned, theta = momentum
    theirs, run, batches, keys, ended, losses = trained(learned, theta)
    opt = learned.opt_fn(theta)
    last, expected = their_loop(theirs, opt, run.params, None, batches, keys)
    close(losses, expected)
    close(ended.params, opt.get_params(last))
    other = trained(learned, learned.init(jax.random.PRNGKey(0)))[-1]
    assert np.abs(other[1:] - losses[1:]).min() > 1e-3


@pytest.mark.parametrize("module", ["mlp_lopt:MLPLOpt", "adafac_mlp_lopt:AdafacMLPLOpt"])
def test_their_networks_train_here_as_in_their_own_loop(module):
    """Of their newest version; their release calls functions that JAX no longer has."""
    module, _, name = module.partition(":")
    module = importlib.import_module(f"learned_optimization.learned_optimizers.{module}")
    learned = getattr(module, name)()
    theta = learned.init(jax.random.PRNGKey(1))
    try:
        theirs, run, batches, keys, ended, losses = trained(learned, theta)
    except AttributeError as error:
        if "jax" not in str(error):
            raise
        pytest.skip(f"their {name} does not run: {error}")
    opt = learned.opt_fn(theta)
    last, expected = their_loop(theirs, opt, run.params, None, batches, keys)
    close(losses, expected)
    close(ended.params, opt.get_params(last))


def test_their_optimizer_takes_the_params_that_it_is_given(momentum):
    """As in a chain with weight decay: what others add to the step is not lost."""
    tx = optax.chain(optimizer_from(*momentum), optax.add_decayed_weights(-0.5))
    params, grads = jnp.ones(2), jnp.ones(2)
    state, plain = tx.init(params), optimizer_from(*momentum)
    plain_state, expected = plain.init(params), params
    for _ in range(3):
        updates, state = tx.update(grads, state, params)
        params = params + updates
        step, plain_state = plain.update(grads, plain_state, expected)
        expected = expected + step - 0.5 * expected
    close(params, expected)
    jax.tree.map(np.testing.assert_array_equal, *map(jax.tree.structure, (state, tx.init(params))))


@pytest.mark.parametrize("form", ["theta alone", "their checkpoint"])
def test_theta_is_read_from_their_files(momentum, form, tmp_path):
    learned, theta = momentum
    importlib.import_module("learned_optimization.checkpoints")
    contents = theta
    if form == "their checkpoint":
        contents = {"params": serialization.to_state_dict(theta), "gen_id": "", "step": 3}
    (tmp_path / "theta.state").write_bytes(serialization.to_bytes(contents))
    found = trained(learned, tmp_path / "theta.state")[-1]
    np.testing.assert_array_equal(found, trained(learned, theta)[-1])


def test_mistakes_are_one_line(momentum, tmp_path):
    learned, theta = momentum
    (tmp_path / "text").write_text("no theta")
    (tmp_path / "other").write_bytes(serialization.to_bytes({"log_lr": np.zeros(2)}))
    (tmp_path / "shape").write_bytes(serialization.to_bytes({k: np.zeros((2, 2)) for k in theta}))
    for call, message in (
        (lambda: optimizer_from(learned), "pass its theta"),
        (lambda: optimizer_from(learned, tmp_path / "none"), "No such file"),
        (lambda: optimizer_from(learned, tmp_path / "text"), "holds no theta"),
        (lambda: optimizer_from(learned, tmp_path / "other"), "not of this optimizer's theta"),
        (lambda: optimizer_from(learned, tmp_path / "shape"), "theta: shapes differ"),
        (lambda: optimizer_from("user_parts:bowl"), "Quadratic.* optimizer"),
        (lambda: optimizer_from("user_parts:descent"), "learning_rate"),
        (lambda: task_from("quadratic"), "'quadratic'"),
        (lambda: optimizer_from(3), "3.* optimizer"),
        (lambda: task_from(3), "TaskFamily"),
        (lambda: task_from("user_parts:bowl"), "Quadratic.* TaskFamily"),
        (lambda: as_learned_optimizer("rotated"), "pass learning_rate"),
        (lambda: as_learned_optimizer("rotate", 0.1), "'rotate'"),
        (lambda: as_learned_optimizer(3, 0.1), "int.* rule"),
        (lambda: as_learned_optimizer("unf(layers=exact)", 0.1), "tied to an architecture"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_file_does_not_import_it():
    with pytest.raises(UserError, match="--trust"):
        build_untrusted(f"{HERE}:task_from(theirs=learned_optimization.tasks.quadratics:LogQuad)")


def test_a_config_names_it():
    text = f"{HERE}:task_from(theirs=learned_optimization.tasks.quadratics:QuadraticTask())"
    assert build(TASKS, text).source == "QuadraticTask of learned_optimization"


META_TRAINING = """
from ml_collections import ConfigDict
from lopt.meta import ESTIMATORS
from lopt.base import config
from lopt.rules import RULES
from lopt.tasks import TASKS

THEIRS = "external_tasks:NormalizedDigits(width=4)"

def get_config():
    task_from = "lopt.interop.learned_optimization:task_from"
    return ConfigDict({
        "seed": 0,
        "task": config(TASKS, task_from, theirs=THEIRS, batches=4),
        "rule": config(RULES, "rotated", width=2),
        "inner": {"learning_rate": 0.05, "schedule": "linear", "normalize": True},
        "estimator": config(ESTIMATORS, "pes", pairs=2, horizon=4, truncation=2),
        "outer": {"steps": 2, "learning_rate": 0.01, "clip": 1.0, "checkpoint_every": 1,
                  "max_skipped": 5},
    })
"""


def test_a_rule_is_meta_trained_on_a_task_of_theirs_from_a_config(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"tests:{':'.join(sys.path[1:])}")
    (tmp_path / "config.py").write_text(META_TRAINING)
    flags = (f"--config={tmp_path / 'config.py'}", f"--workdir={tmp_path / 'run'}")
    result = run("-m", "lopt.meta_train", *flags)
    assert result.returncode == 0, result.stderr
    provenance = load(tmp_path / "run" / "optimizer.safetensors").provenance
    assert provenance["sources"] == ["NormalizedDigits of learned_optimization"]
    assert provenance["task"]["theirs"] == "external_tasks:NormalizedDigits(width=4)"


def test_a_file_of_ours_is_a_learned_optimizer_of_theirs(tmp_path):
    rule = build(RULES, "rotated(width=2)")
    theta = rule.init(jax.random.key(5), task_from(quadratics.QuadraticTask()).spec)
    learned = LearnedOptimizer(rule, theta, None, {}, 0.1, "linear")
    save(tmp_path / "o.safetensors", learned)
    learned = as_learned_optimizer(str(tmp_path / "o.safetensors"))
    close(learned.init(jax.random.PRNGKey(0)), theta)
    opt = learned.opt_fn(theta)
    state = opt.init(jnp.ones(2))
    with pytest.raises(UserError, match="total_steps"):
        opt.update(state, jnp.ones(2), loss=1.0)


def test_the_python_of_the_guide_runs(tmp_path):
    with running("docs/interop.md", tmp_path) as names:
        pass
    first = names["task"].loss(names["task"].init(jax.random.PRNGKey(1)), None, None)
    assert int(names["opt_state"].iteration) == 100
    assert names["loss"] < 0.5 * first
    assert names["results"].standings["external"].failed == 0
