"""Meta-train a learned optimizer.

python meta_train.py --config=configs/quickstart.py --workdir=runs/quickstart \
    --config.outer.steps=500
"""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import optax
from absl import flags
from ml_collections import ConfigDict, config_flags

from lopt.commands import run
from lopt.errors import UserError
from lopt.meta import ESTIMATORS, Problem, begin, meta_train
from lopt.meta.records import Recorder, plot_meta_loss
from lopt.meta.workdir import claim, versions
from lopt.parts import build
from lopt.rules import RULES, LearnedOptimizer, save
from lopt.schedules import SCHEDULES
from lopt.tasks import TASKS

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the run's files go.")
flags.mark_flags_as_required(["config", "workdir"])


def main(argv: Sequence[str]) -> None:
    """Meta-train as the config says, and leave the optimizer in the workdir."""
    del argv
    config = _CONFIG.value
    task = build(TASKS, config.task)
    rule = build(RULES, config.rule)
    estimator = build(ESTIMATORS, config.estimator)
    inner = SCHEDULES[config.inner.schedule](config.inner.learning_rate, estimator.horizon)
    if config.outer.steps < 1:
        raise UserError(f"outer.steps must be at least 1, not {config.outer.steps}")
    workdir = claim(_WORKDIR.value, config.to_dict())
    file = workdir / "optimizer.safetensors"
    if file.exists():
        print(f"{file} is there already: this run is finished")
        return

    theta_key, loop_key = jax.random.split(jax.random.key(config.seed))
    theta = rule.init(theta_key, task.spec)
    problem = Problem(task, lambda theta: rule.optimizer(theta, inner, task.spec))
    outer = outer_optimizer(config.outer)
    first = begin(problem, estimator, outer, theta, loop_key)
    with Recorder(workdir, config.outer.steps) as record:
        for state, report in meta_train(problem, estimator, outer, first, config.outer.steps):
            record(int(state.step), report)

    provenance = {
        "task": config.task.to_dict(),
        "inner": {**config.inner.to_dict(), "steps": estimator.horizon},
        "estimator": config.estimator.to_dict(),
        "outer": config.outer.to_dict(),
        "seed": config.seed,
        "meta_loss": float(np.mean(record.history[-50:])),
        "versions": versions(),
    }
    spec = task.spec if rule.tied else None
    save(file, LearnedOptimizer(rule, state.theta, spec, provenance))
    plot_meta_loss(record.history, workdir / "meta_loss.png")
    print(f"wrote {file} and {Path(workdir) / 'meta_loss.png'}")


def outer_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """Adam on clipped meta-gradients, its learning rate on a cosine to zero."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.steps)),
    )


if __name__ == "__main__":
    run(main)
