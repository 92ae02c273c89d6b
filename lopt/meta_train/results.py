"""Results of meta-training, which it leaves in the workdir at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lopt.base.archive import UnreadableError
from lopt.base.atomic import replacing
from lopt.base.errors import UserError
from lopt.meta_train.figure import meta_loss_figure
from lopt.meta_train.problems import Setup
from lopt.meta_train.recorder import Recorder
from lopt.meta_train.run import Snapshot
from lopt.rules import LearnedOptimizer, load, save
from lopt.runs.checkpoints import FOLDER
from lopt.runs.workdir import require_own, saved, versions

RESULT = "optimizer.safetensors"
"""The file that a run writes last."""

_BEST, _PICTURE = "best.safetensors", "meta_loss.png"

WRITTEN = (FOLDER, "metrics.jsonl", "tensorboard", _PICTURE, _BEST, RESULT)
"""The files and folders that a run of meta-training writes besides its config."""

_FIXES = {"outer.steps": "take it on with --extend"}
"""The fix where a workdir is of another config, by the value that differs."""


def is_finished(workdir: Path, config: Mapping[str, Any]) -> bool:
    """As `has_result`, of a workdir that has to be that of this config."""
    require_own(workdir, config, WRITTEN, _FIXES)
    return has_result(workdir)


def has_result(workdir: Path) -> bool:
    """Whether there is the optimizer of a whole run in a workdir: of all its meta-steps."""
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


def write_results(
    workdir: Path, setup: Setup, lengths: Sequence[int], last: Snapshot, record: Recorder
) -> None:
    """Write the picture, the best theta, and last the optimizer.

    `lengths` are the meta-steps that the run had in all, before each extension and now.
    """
    file, best_file, picture = (workdir / name for name in (RESULT, _BEST, _PICTURE))
    with replacing(picture) as partial:
        figure = meta_loss_figure(record.history, record.validations)
        figure.savefig(partial, format="png", dpi=150)
    provenance = _provenance(setup, lengths, record.recent_meta_loss(lengths[-1]))
    spec = setup.spec if setup.rule.tied else None
    inner = setup.config.inner
    rate = inner.get("default_rate", inner.learning_rate)
    optimizer = LearnedOptimizer(
        setup.rule, last.state.average, spec, provenance, rate, inner.schedule
    )
    step = int(last.best.step)
    if step:
        found = {
            "validation": setup.config.validation.to_dict(),
            "meta_step": step,
            "meta_loss": record.recent_meta_loss(step),
            "validation_loss": float(last.best.loss),
        }
        best = replace(optimizer, theta=last.best.theta, provenance={**provenance, **found})
        save(best_file, best)
        print(f"wrote {best_file}, of meta-step {step}")
    save(file, optimizer)
    print(f"wrote {file} and {picture}")


def _provenance(setup: Setup, lengths: Sequence[int], meta_loss: float | None) -> dict[str, Any]:
    config = setup.config
    provenance = {
        "task": config.task.to_dict(),
        "sources": [task.source for task in setup.mixture.tasks],
        "inner": {**config.inner.to_dict(), "steps": setup.estimator.horizon},
        "estimator": config.estimator.to_dict(),
        "outer": config.outer.to_dict(),
        "seed": config.seed,
        "meta_loss": meta_loss,
        "versions": versions(),
    }
    if setup.source is not None:
        provenance["from"] = {"file": setup.source, "theta": setup.identity["from_theta"]}
    if len(lengths) > 1:
        provenance["earlier_lengths"] = list(lengths[:-1])
    return provenance
