"""Meta-train a learned optimizer.

python -m lopt.meta_train --config=configs/quickstart.py --workdir=runs/quickstart \
    --config.outer.steps=500

The same command resumes a run that was interrupted. --extend takes a finished run on to a larger
--config.outer.steps, and --from=base begins with the theta of a file.
For several GPUs or hosts see docs/scaling.md, for a task of your own docs/meta-training.md.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import optax
from absl import flags
from ml_collections import ConfigDict, config_flags

from lopt.base.archive import UnreadableError
from lopt.base.errors import UserError
from lopt.base.parts import Parts, build
from lopt.base.schedules import scale_by_drawn_rate, scale_over_run
from lopt.meta import (
    ESTIMATORS,
    OBJECTIVES,
    Best,
    MetaTraining,
    Problem,
    Validation,
)
from lopt.meta.estimator import Theta
from lopt.meta.particles import particle_mesh
from lopt.meta_train.extension import Extended, earlier_lengths, extend
from lopt.meta_train.figure import plot_meta_loss
from lopt.meta_train.initial_theta import as_types_of, load_for, theta_digest
from lopt.meta_train.recorder import Recorder
from lopt.meta_train.run import Snapshot, finish
from lopt.meta_train.settings import require_settings
from lopt.rules import RULES, LearnedOptimizer, Rule, load, save
from lopt.runs import distributed
from lopt.runs.checkpoints import require_keepable
from lopt.runs.commands import run
from lopt.runs.memory import memory_for
from lopt.runs.workdir import (
    RESULT,
    Claim,
    claimed,
    require_own,
    require_shared,
    require_space,
    saved,
    versions,
    writing_to,
)
from lopt.tasks import MIXTURES, TASKS, Mixture, Task, build_mixture
from lopt.tasks.task import initial_loss

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the run's files go.")
_EXTEND = flags.DEFINE_bool(
    "extend", False, "Take the finished run in the workdir on to more outer.steps."
)
_FROM = flags.DEFINE_string(
    "from", None, "Begin with the theta of a learned optimizer: a file, or base."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port of process 0, for a run in several processes."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "How many processes the run has.")
_PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Take these three from the cluster's environment, such as SLURM's."
)
_FIX = "lower task.batch_size, the task's widths or estimator.pairs"
_NO_VALIDATION = ConfigDict({"every": 0, "runs": 1})
flags.mark_flags_as_required(["config", "workdir"])

_TASKS = Parts("task", object, **TASKS, **MIXTURES)
_PARTS = {
    "task": _TASKS,
    "validation.task": _TASKS,
    "rule": RULES,
    "estimator": ESTIMATORS,
    "inner.objective": OBJECTIVES,
}
"""What flags can put in a part's place."""


@distributed.ended_with_the_others()
def main(argv: Sequence[str]) -> None:
    """Meta-train as the config says, and leave the optimizer in the workdir.

    In a run of several processes some calls are collective: they return in one process only once
    all others have made the same call. So every process has to come through the same ones in the
    same order, whatever it finds, or all wait forever. They are `distributed.join`,
    `require_alike`, `from_first` (in `problem`, once for each task), `require_shared`, the compiled
    programs of `training` and `validation`, and what is within `finish`. Hence:

    - what only the first process knows, such as a finished workdir or a full disk, goes through
      `from_first`, which hands its result or its `UserError` to all; nobody returns or raises on
      their own between two collective calls;
    - mistakes that all find alike, in the config for instance, may be raised before or between;
    - `claimed` locks the workdir in the first process, before `require_shared` has all look for
      what it wrote there;
    - after `finish` the others have nothing left to do: only the first one writes.
    """
    del argv
    config = _CONFIG.value
    require_settings(config.to_dict())
    distributed.join(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value, _DISTRIBUTED.value)
    distributed.require_alike([config.to_dict(), _EXTEND.value, _FROM.value])
    mixture = build_mixture(config.task)
    rule = build(RULES, config.rule)
    estimator = build(ESTIMATORS, config.estimator)
    objective = build(OBJECTIVES, config.inner.get("objective", "mean"))
    schedule = scale_over_run(config.inner.schedule, config.inner.learning_rate)
    spread = config.inner.get("rate_spread", 1.0)
    drawn = scale_by_drawn_rate(spread) if spread > 1 else optax.identity()
    settings = config.get("validation", _NO_VALIDATION)
    held_out = build_mixture(settings.task) if settings.every else Mixture((), (), ())
    require_fit(rule, mixture, held_out)
    spec, source = mixture.tasks[0].spec, _FROM.value
    first = None if source is None else load_for(source, rule, spec)
    plan = config.to_dict()
    if first is not None:
        plan["from_theta"] = theta_digest(first.theta)
        distributed.require_alike(plan)
    mesh = particle_mesh(2 * estimator.pairs)

    def problem(task: Task) -> Problem:
        normalize = config.inner.normalize
        scale = distributed.from_first(lambda: float(initial_loss(task))) if normalize else 1.0

        def optimizer(theta: Theta) -> optax.GradientTransformation:
            return optax.chain(rule.scale_by_rule(theta, task.spec), schedule, drawn)

        return Problem(task, optimizer, scale, objective, mesh)

    with memory_for("the initial loss of the task", _FIX):
        problems = [problem(task) for task in mixture.tasks]
        held_out_problems = [problem(task) for task in held_out.tasks]
    validation = Validation(
        held_out_problems,
        estimator.horizon,
        estimator.loss_cap,
        settings.every,
        settings.runs,
        held_out.weights,
    )
    workdir = Path(_WORKDIR.value).expanduser()
    require_keepable(workdir)
    if _EXTEND.value:
        distributed.from_first(lambda: extend(workdir, plan, has_result(workdir)))
    if distributed.from_first(lambda: is_finished(workdir, plan)):
        distributed.say(f"{workdir / RESULT} is there already: this run is finished")
        return

    with ExitStack() as held:
        claims: list[Claim] = []  # of the first process one, of the others none
        distributed.from_first(lambda: claims.append(held.enter_context(claimed(workdir, plan))))
        require_shared(workdir)
        shorter = distributed.from_first(lambda: earlier_lengths(workdir))

        def require_there() -> None:
            for claim in claims:
                claim.require_there()

        theta_key, loop_key = jax.random.split(jax.random.key(config.seed))

        def training(steps: int) -> MetaTraining:
            return MetaTraining(
                problems,
                [estimator] * len(problems),
                outer_optimizer(config.outer, steps),
                mixture.weights,
                clip=config.outer.clip,
                averaging=config.outer.get("averaging", 0.0),
            )

        parts = [(training(steps), steps) for steps in (*shorter, config.outer.steps)]
        with memory_for(f"the start of {2 * estimator.pairs} inner runs", _FIX):
            theta = rule.init(theta_key, spec)
            if first is not None:
                theta = as_types_of(theta, first.theta)
            state = parts[0][0].init(theta, loop_key)
            start = Snapshot(state, validation.init(state.theta))
            distributed.from_first(lambda: require_space(workdir, start))
        with memory_for(f"a meta-step of {2 * estimator.pairs} inner runs", _FIX):
            (state, best), record = finish(
                Extended(parts),
                validation,
                start,
                workdir,
                mixture.names,
                held_out.names,
                steps=config.outer.steps,
                checkpoint_every=config.outer.checkpoint_every,
                max_skipped=config.outer.max_skipped,
                earlier_lengths=shorter,
                require_there=require_there,
            )
        if record is None:  # not the first process
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
        if first is not None:
            provenance["from"] = {"file": source, "theta": plan["from_theta"]}
        if shorter:
            provenance["earlier_lengths"] = shorter
        optimizer = LearnedOptimizer(rule, state.average, spec if rule.tied else None, provenance)
        require_there()
        with writing_to(workdir):
            write(optimizer, best, record, workdir, settings.to_dict())


def is_finished(workdir: Path, config: Mapping[str, Any]) -> bool:
    """Whether a run of this config has left its optimizer in a folder, which is only read.

    Raises:
      UserError: if the folder is not the workdir of this config; as `has_result`.
    """
    require_own(workdir, config)
    return has_result(workdir)


def has_result(workdir: Path) -> bool:
    """Whether there is the optimizer of a whole run in a workdir: of all its meta-steps.

    Raises:
      UserError: if it, or what says how many these are, is damaged or cannot be read.
    """
    file = workdir / RESULT
    if not file.exists():
        return False
    try:
        provenance = load(file).provenance
    except UnreadableError:
        raise
    except UserError as error:
        raise UserError(
            f"{error}; remove it, and the same command writes it again from the newest checkpoint"
        ) from error
    return provenance.get("outer") == ((saved(workdir) or {}).get("config") or {}).get("outer")


def write(
    optimizer: LearnedOptimizer,
    best: Best,
    record: Recorder,
    workdir: Path,
    validation: Mapping[str, Any],
) -> None:
    """Leave the results of a run: the picture, the best theta, and last the optimizer."""
    plot_meta_loss(record.history, workdir / "meta_loss.png", record.validations)
    file, best_file = workdir / RESULT, workdir / "best.safetensors"
    step = int(best.step)
    if step:
        found = {
            "validation": validation,
            "meta_step": step,
            "meta_loss": record.recent_meta_loss(step),
            "validation_loss": float(best.loss),
        }
        provenance = {**optimizer.provenance, **found}
        save(best_file, replace(optimizer, theta=best.theta, provenance=provenance))
        print(f"wrote {best_file}, of meta-step {step}")
    save(file, optimizer)
    print(f"wrote {file} and {workdir / 'meta_loss.png'}")


def require_fit(rule: Rule, mixture: Mixture, held_out: Mixture) -> None:
    """Find out whether one theta fits all tasks.

    Raises:
      UserError: if it is tied to one architecture, and the tasks have several.
    """
    first, *others = (task.spec for task in mixture.tasks)
    if rule.tied and any(spec != first for spec in others):
        raise UserError(
            "theta of a rule with exact layers is tied to one architecture, and the tasks have "
            "several; let rule.layers be relational or pointwise"
        )
    if rule.tied and any(task.spec != first for task in held_out.tasks):
        raise UserError(
            "theta of a rule with exact layers is tied to one architecture, and the validation's "
            "task has another; let rule.layers be relational or pointwise, or validation.every 0"
        )


def outer_optimizer(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    """Adam, its learning rate on a cosine to zero over a run of so many meta-steps."""
    return optax.adam(optax.cosine_decay_schedule(config.learning_rate, steps))


if __name__ == "__main__":
    run(main, _PARTS)
