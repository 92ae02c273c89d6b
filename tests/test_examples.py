"""The scripts in examples/ run, and say what they are there to show."""

import re

import numpy as np
import pytest
from processes import ROOT, run


def permuting_neurons_keeps_the_invariant(lines):
    *_, shapes, invariant = lines
    assert "'kernel': (8, 16, 1)" in shapes
    before, after = (float(n) for n in re.findall(r"\[(.*?)\]", invariant))
    np.testing.assert_allclose(after, before, rtol=1e-4)


SHOWN = {"unf_quickstart.py": permuting_neurons_keeps_the_invariant}
SCRIPTS = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_runs(script):
    result = run(ROOT / "examples" / script)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()
    if script in SHOWN:
        SHOWN[script](result.stdout.strip().splitlines())


def test_each_script_that_is_looked_at_is_there():
    assert set(SHOWN) <= set(SCRIPTS)
