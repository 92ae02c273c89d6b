"""The Python of a page of the documentation, run as printed."""

import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parent.parent


def blocks(page):
    """The Python blocks of a page, from top to bottom."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@contextmanager
def running(page, folder):
    """Run a page in a folder; gives its variables.

    A block that begins with the name of a file, as a docstring, is that file: a module, until the
    context ends.
    """
    names, modules, before = {}, set(), Path.cwd()
    os.chdir(folder)
    try:
        for block in blocks(page):
            file = re.match(r'"""([\w/]+)\.py"""', block)
            exec(block, vars(_module(file[1].replace("/", "."), modules)) if file else names)
        os.chdir(before)
        yield names
    finally:
        os.chdir(before)
        for name in modules:
            del sys.modules[name]


def _module(name, made):
    """An empty module of a name, and the packages around it."""
    package, _, _ = name.rpartition(".")
    if package and package not in made:
        _module(package, made)
    made.add(name)
    sys.modules[name] = ModuleType(name)
    return sys.modules[name]
