"""Meta-train a learned optimizer: what `python -m lopt.meta_train` does, in a checkout."""

import os
import runpy
import signal

os.environ["MPLBACKEND"] = "agg"  # these as in lopt/runs/command_start.py
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
runpy.run_module("lopt.meta_train", run_name="__main__", alter_sys=True)
