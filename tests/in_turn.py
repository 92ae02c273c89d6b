"""Command lines one after the other in one process, so that its imports are paid once.

Give each as words in JSON: [["lopt.meta_train", "--workdir=runs/mine"], ["lopt.compare", ...]].
"""

import json
import runpy
import sys

from absl import app, flags

app.define_help_flags()
for module, *arguments in json.loads(sys.argv[1]):
    known = set(flags.FLAGS)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise
    for name in set(flags.FLAGS) - known:  # the next one has a --workdir of its own
        delattr(flags.FLAGS, name)
