"""The README's Python, run as printed: by a test, and by `.ci/install` as a script."""

import tempfile
from pathlib import Path

import jax
import numpy as np
from guides import ROOT, running

import lopt


def run_python(folder):
    """Run the README's Python in a folder; returns its variables."""
    with running("README.md", folder) as names:
        pass
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(names["params"]))
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(names["updates"]))
    return names


if __name__ == "__main__":
    installed = Path(lopt.__file__).parent
    assert ROOT not in installed.parents, f"{installed} is the checkout, and not installed"
    with tempfile.TemporaryDirectory() as folder:
        run_python(Path(folder))
    print(f"the README's Python runs with {installed}")
