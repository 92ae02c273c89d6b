"""A run of meta-training that survives: checkpoints, records, and signals that are obeyed."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lopt.errors import UserError
from lopt.meta.checkpoints import Checkpoints, Snapshot
from lopt.meta.distributed import ended_with_the_others, is_first, say
from lopt.meta.interruption import Interruption
from lopt.meta.loop import MetaTraining, Report, one_ahead
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
      max_skipped: so many meta-steps in a row that leave theta as it was end the run.

    Returns:
      The last snapshot, and what was recorded of the run.

    Raises:
      UserError: if too many meta-steps in a row leave theta as it was, or the workdir can no
        longer be written.
      SystemExit: after SIGTERM or SIGINT, with a checkpoint of the step that was under way.
    """
    with (
        _writing_to(workdir),
        Interruption() as interruption,
        Checkpoints(workdir / "checkpoints") as checkpoints,
    ):
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
                        f"{max_skipped} meta-steps in a row, up to {done}, left theta as it was, "
                        f"because {_reason(report)}; lower inner.learning_rate or "
                        "estimator.sigma, or look for NaN in the data"
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


def _reason(report: Report) -> str:
    if all(float(m.diverged) == 1 for m in report.inner):
        return "all inner runs diverged"
    return "the meta-gradient was not finite"


@contextmanager
def _writing_to(workdir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{workdir} can no longer be written ({error.strerror or error}); mend that, and the "
            "same command goes on from the newest checkpoint"
        ) from error
