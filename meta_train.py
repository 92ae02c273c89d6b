"""Meta-train a learned optimizer.

python meta_train.py --config=configs/quickstart.py --workdir=runs/quickstart \
    --config.outer.steps=500

The same command goes on with a run that was interrupted.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from ml_collections import ConfigDict, config_flags

from lopt.commands import run
from lopt.errors import UserError
from lopt.meta import ESTIMATORS, MetaState, MetaTraining, Problem
from lopt.meta.checkpoints import Checkpoints
from lopt.meta.devices import particle_mesh
from lopt.meta.interruption import Interruption
from lopt.meta.records import Recorder, plot_meta_loss
from lopt.meta.workdir import claim, require_space, versions
from lopt.parts import build
from lopt.rules import RULES, LearnedOptimizer, save
from lopt.schedules import SCHEDULES
from lopt.tasks import Task, build_mixture

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the run's files go.")
flags.mark_flags_as_required(["config", "workdir"])


def main(argv: Sequence[str]) -> None:
    """Meta-train as the config says, and leave the optimizer in the workdir."""
    del argv
    config = _CONFIG.value
    mixture = build_mixture(config.task)
    rule = build(RULES, config.rule)
    estimator = build(ESTIMATORS, config.estimator)
    inner = SCHEDULES[config.inner.schedule](config.inner.learning_rate, estimator.horizon)
    for name in ("steps", "checkpoint_every", "max_skipped"):
        if config.outer[name] < 1:
            raise UserError(f"outer.{name} must be at least 1, not {config.outer[name]}")
    if rule.tied and any(task.spec != mixture.tasks[0].spec for task in mixture.tasks):
        raise UserError(
            "theta of a rule with exact layers is tied to one architecture, and the tasks have "
            "several; let rule.layers be relational or pointwise"
        )
    mesh = particle_mesh(2 * estimator.pairs)

    def problem(task: Task) -> Problem:
        scale = initial_loss(task) if config.inner.normalize else 1.0
        return Problem(task, lambda theta: rule.optimizer(theta, inner, task.spec), scale, mesh)

    problems = [problem(task) for task in mixture.tasks]
    workdir = claim(_WORKDIR.value, config.to_dict())
    file = workdir / "optimizer.safetensors"
    if file.exists():
        print(f"{file} is there already: this run is finished")
        return

    theta_key, loop_key = jax.random.split(jax.random.key(config.seed))
    training = MetaTraining(
        problems, [estimator] * len(problems), outer_optimizer(config.outer), mixture.weights
    )
    spec = mixture.tasks[0].spec
    state = training.begin(rule.init(theta_key, spec), loop_key)
    require_space(workdir, state)
    state, history = train(training, state, workdir, mixture.names, config.outer)

    provenance = {
        "task": config.task.to_dict(),
        "inner": {**config.inner.to_dict(), "steps": estimator.horizon},
        "estimator": config.estimator.to_dict(),
        "outer": config.outer.to_dict(),
        "seed": config.seed,
        "meta_loss": history.recent_meta_loss,
        "versions": versions(),
    }
    learned = LearnedOptimizer(rule, state.theta, spec if rule.tied else None, provenance)
    save(file, learned)
    plot_meta_loss(history.history, workdir / "meta_loss.png")
    print(f"wrote {file} and {workdir / 'meta_loss.png'}")


def train(
    training: MetaTraining,
    state: MetaState,
    workdir: Path,
    names: Sequence[str],
    config: ConfigDict,
) -> tuple[MetaState, Recorder]:
    """Take the meta-steps that are left, with checkpoints; a signal ends the process after one."""
    with Interruption() as interruption, Checkpoints(workdir / "checkpoints") as checkpoints:
        state = checkpoints.latest(like=state)
        done = int(state.step)
        if done:
            print(f"going on after {done} of {config.steps} meta-steps")
        with Recorder(workdir, names, done, config.steps) as record:
            for latest, report in training.run(state, config.steps):
                state, done = latest, int(report.step)
                record(report)
                if int(report.skipped) >= config.max_skipped:
                    raise UserError(
                        f"{config.max_skipped} meta-gradients in a row were not finite, up to step "
                        f"{done}; lower estimator.sigma or inner.learning_rate"
                    )
                if interruption.signal is not None or done % config.checkpoint_every == 0:
                    record.flush()
                    checkpoints.save(state)
                if interruption.signal is not None:
                    break
    if done < config.steps:
        print(f"stopped after {done} meta-steps; the same command goes on from there")
        sys.exit(128 + interruption.signal)
    return state, record


def initial_loss(task: Task, runs: int = 8) -> float:
    """The mean loss of fresh params.

    Raises:
      UserError: if it is not finite.
    """

    @jax.jit
    @jax.vmap
    def loss(key: jax.Array) -> jax.Array:
        params, state = task.init(key)
        return task.loss(params, state, task.batch(state, key), key)[0]

    mean = float(jnp.mean(loss(jax.random.split(jax.random.key(0), runs))))
    if not np.isfinite(mean):
        raise UserError(f"the task's loss is {mean} at the start; check its data and its scale")
    return mean


def outer_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """Adam on clipped meta-gradients, its learning rate on a cosine to zero."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.steps)),
    )


if __name__ == "__main__":
    run(main)
