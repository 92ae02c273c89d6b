"""The guide's own module and its names, as printed."""

import re
import sys
from types import ModuleType

import jax
import pytest
from processes import ROOT

from lopt.parts import build, config
from lopt.rules import RULES
from lopt.tasks import TASKS

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "interop.md").read_text(), re.DOTALL)


@pytest.fixture
def my_project(monkeypatch):
    for name in ("my_project", "my_project.tasks", "my_project.directions"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for block in BLOCKS[:2]:
        name = re.match(r'"""(my_project/\w+)\.py"""', block)[1].replace("/", ".")
        exec(block, vars(sys.modules[name]))


def test_parts_of_ones_own_are_built_from_their_names(my_project):
    names = {"config": config, "TASKS": TASKS, "RULES": RULES}
    exec(BLOCKS[2], names)
    assert names["task"].turns == 3.0
    assert build(RULES, names["rule"]).directions[2] == "my_project.directions:Sign"
    for text in (names["task"], "initial_scale(task=my_project.tasks:spiral(width=8))"):
        task = build(TASKS, text)
        params, state = task.init(jax.random.key(0))
        loss, _ = task.loss(params, state, task.batch(state, jax.random.key(1)), None)
        assert 0 < loss < 3
    assert {g for g in task.spec.sizes if g not in task.spec.fixed}
