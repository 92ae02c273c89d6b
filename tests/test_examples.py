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


def losses(lines):
    """Of runs that print `step 1: loss 2.3` and so on."""
    return [float(n) for n in re.findall(r"step \d+: loss ([\d.]+)", "\n".join(lines))]


def it_learns_digits(lines):
    group = lines[0].removeprefix("neuron groups: ")
    assert group in ("layers_0", "mlp/~/linear_0", "layers/0")
    first, *_, last = losses(lines)
    assert last < 0.2 * first


def both_optimizers_reduce_the_loss(lines):
    assert [line.split(":")[0] for line in lines] == ["lopt", "AdamW 0.003"]
    for line in lines:
        first, last = map(float, re.findall(r"(?:first loss|last) ([\d.]+)", line))
        assert last < 0.95 * first


SHOWN = {
    "equinox_mlp.py": it_learns_digits,
    "haiku_mlp.py": it_learns_digits,
    "linen_train_state.py": it_learns_digits,
    "nnx_transformer.py": both_optimizers_reduce_the_loss,
    "unf_quickstart.py": permuting_neurons_keeps_the_invariant,
}
SHORT = {"nnx_transformer.py": ("--steps=20", "--rates", "3e-3", "--plot={}/curves.png")}
SCRIPTS = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_runs(script, tmp_path):
    result = run(
        ROOT / "examples" / script,
        *(a.format(tmp_path) for a in SHORT.get(script, ())),
        timeout=900,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()
    SHOWN[script](result.stdout.strip().splitlines())


def test_each_script_is_looked_at():
    assert set(SHOWN) == set(SCRIPTS)
