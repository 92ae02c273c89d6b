"""Meta-train a learned optimizer.

python meta_train.py --config=configs/quickstart.py --workdir=runs/quickstart \
    --config.outer.steps=500

The same command goes on with a run that was interrupted.
For several GPUs or hosts see docs/scaling.md.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from ml_collections import ConfigDict, config_flags

from lopt.commands import run
from lopt.errors import UserError
from lopt.meta import ESTIMATORS, MetaTraining, Problem, Validation, distributed
from lopt.meta.checkpoints import Checkpoints, Snapshot
from lopt.meta.devices import particle_mesh
from lopt.meta.estimator import Theta
from lopt.meta.interruption import Interruption
from lopt.meta.loop import one_ahead
from lopt.meta.records import Recorder, Unrecorded, plot_meta_loss
from lopt.meta.workdir import claim, require_space, versions
from lopt.parts import build
from lopt.rules import RULES, LearnedOptimizer, save
from lopt.schedules import SCHEDULES
from lopt.tasks import Mixture, Task, build_mixture

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the run's files go.")
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port of process 0, for a run in several processes."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "How many processes the run has.")
_PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Take these three from the cluster's environment, such as SLURM's."
)
_NO_VALIDATION = ConfigDict({"every": 0, "runs": 1})
flags.mark_flags_as_required(["config", "workdir"])


@distributed.ended_with_the_others()
def main(argv: Sequence[str]) -> None:
    """Meta-train as the config says, and leave the optimizer in the workdir."""
    del argv
    join_processes()
    config = _CONFIG.value
    distributed.require_alike(config.to_dict())
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
    settings = config.get("validation", _NO_VALIDATION)
    held_out = build_mixture(settings.task) if settings.every else Mixture((), (), ())
    if rule.tied and any(task.spec != mixture.tasks[0].spec for task in held_out.tasks):
        raise UserError(
            "theta of a rule with exact layers is tied to one architecture, and the validation's "
            "task has another; let rule.layers be relational or pointwise, or validation.every 0"
        )
    mesh = particle_mesh(2 * estimator.pairs)

    def problem(task: Task) -> Problem:
        normalize = config.inner.normalize
        scale = distributed.from_first(lambda: initial_loss(task)) if normalize else 1.0
        return Problem(task, lambda theta: rule.optimizer(theta, inner, task.spec), scale, mesh)

    problems = [problem(task) for task in mixture.tasks]
    validation = Validation(
        [problem(task) for task in held_out.tasks],
        estimator.horizon,
        estimator.loss_cap,
        settings.every,
        settings.runs,
        held_out.weights,
    )
    workdir = Path(_WORKDIR.value)
    distributed.from_first(lambda: str(claim(workdir, config.to_dict())))
    file = workdir / "optimizer.safetensors"
    if distributed.from_first(file.exists):
        say(f"{file} is there already: this run is finished")
        return

    theta_key, loop_key = jax.random.split(jax.random.key(config.seed))
    training = MetaTraining(
        problems, [estimator] * len(problems), outer_optimizer(config.outer), mixture.weights
    )
    spec = mixture.tasks[0].spec
    state = training.begin(rule.init(theta_key, spec), loop_key)
    start = Snapshot(state, validation.begin(state.theta))
    distributed.from_first(lambda: require_space(workdir, start))
    names = mixture.names, held_out.names
    (state, best), record = train(training, validation, start, workdir, names, config.outer)
    if not distributed.is_first():
        return

    provenance = {
        "task": config.task.to_dict(),
        "sources": [task.source for task in mixture.tasks],
        "inner": {**config.inner.to_dict(), "steps": estimator.horizon},
        "estimator": config.estimator.to_dict(),
        "outer": config.outer.to_dict(),
        "seed": config.seed,
        "meta_loss": record.recent_meta_loss(config.outer.steps),
        "versions": versions(),
    }

    def learned(theta: Theta, **more: Any) -> LearnedOptimizer:
        return LearnedOptimizer(rule, theta, spec if rule.tied else None, provenance | more)

    plot_meta_loss(record.history, workdir / "meta_loss.png", record.validations)
    step = int(best.step)
    if step:
        best_file = workdir / "best.safetensors"
        validated = learned(
            best.theta,
            validation=settings.to_dict(),
            meta_step=step,
            meta_loss=record.recent_meta_loss(step),
            validation_loss=float(best.loss),
        )
        save(best_file, validated)
        print(f"wrote {best_file}, of meta-step {step}")
    save(file, learned(state.theta))
    print(f"wrote {file} and {workdir / 'meta_loss.png'}")


def train(
    training: MetaTraining,
    validation: Validation,
    start: Snapshot,
    workdir: Path,
    names: tuple[Sequence[str], Sequence[str]],
    config: ConfigDict,
) -> tuple[Snapshot, Recorder | Unrecorded]:
    """Take the meta-steps that are left, with checkpoints; a signal ends the process after one.

    Args:
      training: takes the meta-steps.
      validation: of the theta of some of them.
      start: what the run begins with, if it has no checkpoint.
      workdir: where checkpoints and records go.
      names: of the tasks, and of those of the validation.
      config: the block `outer` of the config.

    Raises:
      UserError: if too many meta-gradients in a row are not finite.
    """
    with Interruption() as interruption, Checkpoints(workdir / "checkpoints") as checkpoints:
        snapshot = checkpoints.latest(like=start)
        done = int(snapshot.state.step)
        if done:
            say(f"going on after {done} of {config.steps} meta-steps")
        sent = training.send(snapshot.state, config.steps)
        watched = one_ahead(validation.watch(sent, snapshot.best, done, config.steps))
        if distributed.is_first():
            recorder = Recorder(workdir, names[0], done, config.steps, names[1])
        else:
            recorder = Unrecorded()
        with recorder as record, distributed.ended_with_the_others():
            for state, report, best, loss in watched:
                snapshot, done = Snapshot(state, best), int(report.step)
                record(report, loss)
                if int(report.skipped) >= config.max_skipped:
                    raise UserError(
                        f"{config.max_skipped} meta-gradients in a row were not finite, up to step "
                        f"{done}; lower estimator.sigma or inner.learning_rate"
                    )
                leave = interruption.reached(done)
                if leave or done % config.checkpoint_every == 0:
                    record.flush()
                    checkpoints.save(snapshot)
                if leave:
                    break
    if done < config.steps:
        say(f"stopped after {done} meta-steps; the same command goes on from there")
        sys.exit(128 + interruption.signal)
    return snapshot, record


def join_processes() -> None:
    """Become one of the processes of a run, if the flags say so."""
    given = (_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    some = any(value is not None for value in given)
    if some and _DISTRIBUTED.value:
        raise UserError(
            "--distributed finds --coordinator, --processes and --process by itself; give either"
        )
    if _DISTRIBUTED.value:
        distributed.start_from_cluster()
    elif some:
        distributed.start(*given)
    if jax.process_count() > 1:
        say(
            f"{jax.process_count()} processes with {jax.device_count()} devices; if one of them "
            "ends all end, and the same commands go on from the newest checkpoint"
        )


def say(line: str) -> None:
    """Print a line, once for all processes."""
    if distributed.is_first():
        print(line)


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
