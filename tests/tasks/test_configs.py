"""Every config names parts that exist, for a task that can be made and a rule that fits it."""

import runpy
from pathlib import Path

import jax
import pytest

from lopt.meta import ESTIMATORS
from lopt.parts import build
from lopt.rules import RULES
from lopt.schedules import SCHEDULES
from lopt.tasks import build_mixture

FOLDER = Path(__file__).parents[2] / "configs"
FILES = sorted(p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*.py"))

EMBEDDED = {
    "fashion_mnist(side=8)": "digits",
    "cifar10(side=16)": "photos(side=16, grey=False, patches=8)",
    "lm1b(tokens='characters')": "text(size=5000, tokens='characters')",
    "lm1b(tokens='words')": "text(size=5000, tokens='words')",
}
"""What stands in for the data of the paper, which are not on every machine."""


@pytest.mark.parametrize("file", FILES)
def test_a_config_can_run(file):
    config = runpy.run_path(str(FOLDER / file))["get_config"]()
    part = config.task.to_dict()
    if part.get("data") in EMBEDDED:
        part["data"] = EMBEDDED[part["data"]]
    rule, estimator = build(RULES, config.rule), build(ESTIMATORS, config.estimator)
    rate = SCHEDULES[config.inner.schedule](config.inner.learning_rate, estimator.horizon)

    for task in build_mixture(part).tasks:

        def first_update(key, task=task):
            params, _ = task.init(key)
            optimizer = rule.optimizer(rule.init(key, task.spec), rate, task.spec)
            return optimizer.update(params, optimizer.init(params), params)[0], params

        updates, params = jax.eval_shape(first_update, jax.random.key(0))
        assert jax.tree.map(lambda u: u.shape, updates) == jax.tree.map(lambda p: p.shape, params)


def test_the_configs_are_those_of_the_four_architectures():
    for name in ("mlp", "cnn", "rnn", "transformer"):
        for file in (f"{name}.py", f"paper/{name}.py"):
            config = runpy.run_path(str(FOLDER / file))["get_config"]()
            assert config.task.name == name
