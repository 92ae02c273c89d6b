"""A run of meta-training that survives: checkpoints, records, and signals that are obeyed."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lopt.base.errors import UserError
from lopt.meta.loop import MetaState, Report, one_ahead
from lopt.meta.validation import Best, Validation, ValidationLoss
from lopt.meta_train.extension import Parts, send
from lopt.meta_train.recorder import Recorder
from lopt.runs.checkpoints import FOLDER, Checkpoints
from lopt.runs.distributed import ended_with_the_others, is_first, say
from lopt.runs.signals import Interruption
from lopt.runs.workdir import Claim


class Snapshot(NamedTuple):
    """A checkpoint: the state of meta-training, and the best of its validations."""

    state: MetaState
    best: Best


def finish(
    parts: Parts,
    validation: Validation,
    start: Snapshot,
    workdir: Path,
    names: Sequence[str],
    held_out: Sequence[str] = (),
    *,
    checkpoint_every: int,
    max_skipped: int,
    claim: Claim | None = None,
) -> tuple[Snapshot, Recorder | None]:
    """Take the meta-steps that a run has left, from its newest checkpoint on.

    The theta that comes out is the same to the bit, however often the run was interrupted. `parts`
    are several if the run was extended; `start` is the state of a run without checkpoints. The
    first process has the claim, and is returned the record.

    Raises:
      UserError: if `max_skipped` meta-steps in a row, or all, leave theta as it was.
      SystemExit: after a signal, with a checkpoint of the step that was under way.
    """
    steps = parts[-1][1]
    with Interruption() as interruption, Checkpoints(workdir / FOLDER) as checkpoints:
        snapshot = checkpoints.latest(like=start)
        done, report = int(snapshot.state.step), None
        if done:
            say(f"resuming after {done} of {steps} meta-steps")
        taken = _meta_steps(parts, validation, snapshot)
        record = Recorder(workdir, names, done, steps, held_out) if is_first() else None
        with record or nullcontext(), ended_with_the_others():
            for snapshot, report, loss in taken:
                done = int(report.step)
                if record:
                    record(report, loss)
                if int(report.skipped) >= max_skipped:
                    raise _stuck(max_skipped, done, report)
                leave = interruption.reached(done)
                if leave or done % checkpoint_every == 0 or done == steps:
                    if claim:
                        claim.require_there()
                    if record:
                        record.flush()  # first: a checkpoint counts on the records of its step
                    checkpoints.save(done, snapshot)
                if leave:
                    break
    if interruption.signal is not None and done < steps:
        say(f"stopped after {done} meta-steps; the same command resumes from there")
        sys.exit(128 + interruption.signal)
    if int(snapshot.state.skipped) >= steps:
        raise _stuck(steps, done, report)
    return snapshot, record


def _meta_steps(
    parts: Parts, validation: Validation, start: Snapshot
) -> Iterator[tuple[Snapshot, Report, ValidationLoss | None]]:
    ends = [last for _, last in parts]
    sent = send(parts, start.state)
    watched = validation.watch(sent, start.best, int(start.state.step), ends)
    # read one step behind what is sent, so that the device never waits for the reader
    for state, report, best, loss in one_ahead(watched):
        yield Snapshot(state, best), report, loss


def _stuck(skipped: int, step: int, report: Report | None) -> UserError:
    """The error of a run that does not change theta; `report` is of its last step, if known."""
    because = ""
    fix = "lower inner.learning_rate or estimator.sigma, or look for NaN in the data"
    if report is not None and all(float(m.diverged) == 1 for m in report.inner):
        because = ", because all inner runs diverged"
    elif report is not None and np.isfinite(report.gradient_norm):
        because = ", because the steps would have made it not finite"
        fix = "lower outer.learning_rate"
    elif report is not None:
        because = ", because the meta-gradient was not finite"
    return UserError(
        f"{skipped} meta-steps in a row, up to {step}, left theta as it was{because}; {fix}"
    )
