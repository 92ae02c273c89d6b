"""A run of meta-training that survives: checkpoints, records, and signals that are obeyed."""

import sys
from collections.abc import Sequence
from pathlib import Path

from lopt.errors import UserError
from lopt.meta.checkpoints import Checkpoints, Snapshot
from lopt.meta.distributed import ended_with_the_others, is_first, say
from lopt.meta.interruption import Interruption
from lopt.meta.loop import MetaTraining, one_ahead
from lopt.meta.records import Recorder, Unrecorded
from lopt.meta.validation import Validation


def finish(
    training: MetaTraining,
    validation: Validation,
    start: Snapshot,
    workdir: Path,
    names: Sequence[str],
    held_out: Sequence[str] = (),
    *,
    steps: int,
    checkpoint_every: int,
    max_skipped: int,
) -> tuple[Snapshot, Recorder | Unrecorded]:
    """Take the meta-steps that a run has left, from its newest checkpoint on.

    The theta that comes out is the same to the bit, however often the run was interrupted.

    Args:
      training: takes the meta-steps.
      validation: of the theta of some of them.
      start: what the run begins with, if it has no checkpoint.
      workdir: where checkpoints and records go.
      names: of the tasks.
      held_out: of the tasks of the validation.
      steps: meta-steps in all.
      checkpoint_every: meta-steps from one checkpoint to the next.
      max_skipped: so many meta-gradients in a row that are not finite end the run.

    Returns:
      The last snapshot, and what was recorded of the run.

    Raises:
      UserError: if too many meta-gradients in a row are not finite.
      SystemExit: after SIGTERM or SIGINT, with a checkpoint of the step that was under way.
    """
    with Interruption() as interruption, Checkpoints(workdir / "checkpoints") as checkpoints:
        snapshot = checkpoints.latest(like=start)
        done = int(snapshot.state.step)
        if done:
            say(f"going on after {done} of {steps} meta-steps")
        sent = training.send(snapshot.state, steps)
        watched = one_ahead(validation.watch(sent, snapshot.best, done, steps))
        recorder = Recorder(workdir, names, done, steps, held_out) if is_first() else Unrecorded()
        with recorder as record, ended_with_the_others():
            for state, report, best, loss in watched:
                snapshot, done = Snapshot(state, best), int(report.step)
                record(report, loss)
                if int(report.skipped) >= max_skipped:
                    raise UserError(
                        f"{max_skipped} meta-gradients in a row were not finite, up to step "
                        f"{done}; lower estimator.sigma or inner.learning_rate"
                    )
                leave = interruption.reached(done)
                if leave or done % checkpoint_every == 0:
                    record.flush()
                    checkpoints.save(snapshot)
                if leave:
                    break
    if done < steps:
        say(f"stopped after {done} meta-steps; the same command goes on from there")
        sys.exit(128 + interruption.signal)
    return snapshot, record
