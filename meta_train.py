"""Meta-train a learned optimizer: what `python -m lopt.meta_train` does, in a checkout."""

import runpy
import sys

sys.argv[0] = "-m"  # as Python has it there while the package is imported
runpy.run_module("lopt.meta_train", run_name="__main__", alter_sys=True)
