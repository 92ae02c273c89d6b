"""What the README prints runs as printed."""

import re
import shlex
from pathlib import Path

import jax
import numpy as np

from lopt.rules import LearnedOptimizer, UNFRule, save
from lopt.symmetry import Axes, PermutationSpec
from lopt.tasks.__main__ import main as list_or_show

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_python_of_the_readme_runs_and_prints_its_table(tmp_path, monkeypatch):
    folder = tmp_path / "runs" / "quickstart"
    folder.mkdir(parents=True)
    rule = UNFRule()
    theta = rule.init(jax.random.key(0), PermutationSpec({"x": Axes("x")}, {"x": 1}))
    save(folder / "optimizer.safetensors", LearnedOptimizer(rule, theta, None, {}))
    monkeypatch.chdir(tmp_path)

    names = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block, names)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(names["params"]))
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(names["updates"]))
    table = re.search(r"```\n(tensor .*?)\n```", README, re.DOTALL)[1]
    assert table == str(names["spec"])


def test_the_commands_of_the_readme_are_those_of_the_makefile():
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    commands = re.findall(r"^python (.*quickstart/?(?:report)?)$", README, re.MULTILINE)
    assert len(commands) == 2
    recipe = makefile.replace("$(RUN)", "runs/quickstart").replace("$(BIN)/", "")
    for command in commands:
        assert f"python {command}\n" in recipe


def test_the_task_that_the_readme_shows_is_shown(capsys):
    (words,) = re.findall(r"^python -m lopt.tasks (show .*)$", README, re.MULTILINE)
    list_or_show(shlex.split(words))
    assert re.search(r"OptimizedLSTMCell_0/hf/kernel .*32×32", capsys.readouterr().out)


def test_every_linked_file_is_there():
    for target in re.findall(r"\]\(([^)h][^)]*)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
