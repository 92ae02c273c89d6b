"""Command lines one after the other in one process, so that its imports are paid once.

Give each as words in JSON: [["lopt.meta_train", "--workdir=runs/mine"], ["lopt.compare", ...]].
With a file as second argument what each ended with and printed is written there, as JSON; without
one, the first that fails ends the process.
"""

import io
import json
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from absl import app, flags

from lopt.runs import commands

app.define_help_flags()
commands.leave = sys.exit


def status_of(module, arguments):
    """Run a command line; returns its exit status."""
    known = set(flags.FLAGS)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code or 0
    finally:
        for name in set(flags.FLAGS) - known:  # the next one has a --workdir of its own
            delattr(flags.FLAGS, name)
    return 0


def told(module, arguments):
    """Run a command line; returns its exit status, its output and its errors."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = status_of(module, arguments)
    return status, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    lines = json.loads(sys.argv[1])
    if len(sys.argv) > 2:
        file = Path(sys.argv[2])
        file.write_text(json.dumps([told(line[0], line[1:]) for line in lines]))
    else:
        for line in lines:
            if status := status_of(line[0], line[1:]):
                sys.exit(status)
