"""Settles what cannot wait for a command's imports, for `python -m lopt.compare` and the like.

Ctrl-C while they go on, for seconds, ends it without a traceback; and pictures go to files, so that
a backend of matplotlib's that is not there is no mistake. Importing this module does nothing of
that in any other program, which has its signals and its environment to itself.
"""

import os
import signal
import sys
from collections.abc import Sequence


def is_command(argv: Sequence[str], original: Sequence[str]) -> bool:
    """Whether this process is `python -m lopt...`, and its module is still being looked for.

    `sys.argv` begins with "-m" until the module is found; `sys.orig_argv` has its name.

    >>> is_command(["-m", "--seeds=3"], ["python", "-m", "lopt.compare", "--seeds=3"])
    True
    >>> is_command(["-m"], ["python", "-m", "my_project.train"])
    False
    """
    if list(argv[:1]) != ["-m"] or len(original) <= len(argv):
        return False
    module = original[-len(argv)].rpartition("-m")[2]  # -mlopt.compare is one word
    return module.split(".")[0] == "lopt"


if is_command(sys.argv, sys.orig_argv):
    os.environ["MPLBACKEND"] = "agg"
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
