"""Every config names parts that exist, for a task that can be made and a rule that fits it."""

import runpy
from pathlib import Path

import jax
import pytest

from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.base.schedules import SCHEDULES
from lopt.meta import ESTIMATORS, OBJECTIVES
from lopt.rules import RULES
from lopt.tasks import build_mixture

FOLDER = Path(__file__).parents[2] / "configs"
FILES = sorted(
    p.relative_to(FOLDER).as_posix()
    for p in FOLDER.rglob("*.py")
    if p.parent.name not in ("compare", "predict") and not p.name.startswith("_")
)
"""The configs of meta-training; those of other commands have tests of their own."""

ARCHITECTURES = ("mlp", "cnn", "rnn", "transformer")

EMBEDDED = {
    "fashion_mnist(side=8)": "digits",
    "cifar10(side=16)": "photos(side=16, grey=False, patches=8)",
    "lm1b(tokens=characters)": "text(size=5000, tokens=characters)",
    "lm1b(tokens=words)": "text(size=5000, tokens=words)",
}
"""What stands in for the data of the paper, which are not on every machine."""


def embedded(part):
    """A part with other data, however deep within it they are named."""
    if isinstance(part, str):
        for missing, present in EMBEDDED.items():
            part = part.replace(missing, present)
        return part
    if isinstance(part, dict):
        return {name: embedded(value) for name, value in part.items()}
    return [embedded(value) for value in part] if isinstance(part, list | tuple) else part


@pytest.mark.parametrize("file", FILES)
def test_a_config_can_run(file):
    config = runpy.run_path(str(FOLDER / file))["get_config"]()
    parts = [config.task.to_dict()]
    if "validation" in config:
        parts.append(config.validation.task.to_dict())
        assert config.validation.every <= config.outer.steps
        assert parts[0] != parts[1]
    rule, estimator = build(RULES, config.rule), build(ESTIMATORS, config.estimator)
    build(OBJECTIVES, config.inner.get("objective", "mean"))
    rate = SCHEDULES[config.inner.schedule](config.inner.learning_rate, estimator.horizon)

    for task in (task for part in parts for task in build_mixture(embedded(part)).tasks):

        def first_update(key, task=task):
            params, _ = task.init(key)
            theta = rule.init(key, task.spec)
            optimizer = rule.optimizer(theta, rate, task.spec, total_steps=estimator.horizon)
            return optimizer.update(params, optimizer.init(params), params)[0], params

        updates, params = jax.eval_shape(first_update, jax.random.key(0))
        assert jax.tree.map(lambda u: u.shape, updates) == jax.tree.map(lambda p: p.shape, params)


@pytest.mark.parametrize("file", [f"paper/{name}.py" for name in ARCHITECTURES])
def test_a_config_without_its_data_says_how_to_prepare_them(file, monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    config = runpy.run_path(str(FOLDER / file))["get_config"]()
    name = config.task.data.split("(")[0]
    with pytest.raises(UserError) as caught:
        build_mixture(config.task)
    assert f"run python -m lopt.data.prepare {name} " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_configs_are_those_of_the_four_architectures():
    for name in ARCHITECTURES:
        for file in (f"{name}.py", f"paper/{name}.py", f"paper/small/{name}.py"):
            config = runpy.run_path(str(FOLDER / file))["get_config"]()
            assert config.task.name == name
