"""What a config, a flag or Python names as `module:function`, and what files may not."""

import sys
from dataclasses import asdict

import jax
import numpy as np
import pytest
import user_parts
from ml_collections import ConfigDict
from processes import assert_refused, run

import lopt
from lopt.base import user_defined
from lopt.base.errors import UserError
from lopt.base.parts import build, config, describe, parse
from lopt.compare import entries
from lopt.rules import FEATURES, RULES, LearnedOptimizer, UNFRule, load, save
from lopt.rules.files import ARCHIVE
from lopt.tasks import TASKS, build_mixture, build_untrusted, quadratic

TRAP = "import pathlib\npathlib.Path(__file__).with_suffix('.imported').touch()\n"


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A module that tells that it was imported; nothing is trusted yet."""
    (tmp_path / "trap.py").write_text(TRAP + "def spring(**arguments):\n    raise SystemExit\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(user_defined, "TRUSTED", set())
    yield tmp_path / "trap.imported"
    sys.modules.pop("trap", None)


def test_a_task_is_named_by_module_and_function():
    expected = user_parts.bowl(4)
    for part in (
        "user_parts:bowl(dimension=4)",
        {"name": "user_parts:bowl", "dimension": 4},
        config(TASKS, "user_parts:bowl", dimension=4),
    ):
        np.testing.assert_array_equal(build(TASKS, part).curvature, expected.curvature)
    assert build(TASKS, "user_parts:flexible(dimension=2)").curvature.shape == (2,)
    assert build(TASKS, "user_parts:bowl").curvature.shape == (3,)


def test_its_config_lists_its_arguments():
    found = config(TASKS, "user_parts:bowl", dimension=4)
    assert isinstance(found, ConfigDict)
    assert found.to_dict() == {"name": "user_parts:bowl", "dimension": 4, "condition": 2.0}


NESTED = "initial_scale(task=user_parts:bowl(dimension=5), scale=(1.0, 1.0))"


def test_it_stands_within_other_parts():
    assert parse(NESTED)["task"] == {"name": "user_parts:bowl", "dimension": 5}
    assert parse(describe(parse(NESTED))) == parse(NESTED)
    for part in (NESTED, "initial_scale(task='user_parts:bowl(dimension=5)', scale=(1.0, 1.0))"):
        params, _ = build(TASKS, part).init(jax.random.key(0))
        assert params["x"].shape == (5,)
    assert len(build_mixture("mixture(tasks=(user_parts:bowl, quadratic))").tasks) == 2


def test_a_quoted_text_stays_as_it_is():
    assert parse("mlp(data='a.b:c')") == {"name": "mlp", "data": "a.b:c"}
    assert parse("""mlp(data="it's a:b", task=a.b:c)""")["data"] == "it's a:b"


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("no_such_module:bowl", "no_such_module:bowl.*Module"),
        ("user_parts.deeper:bowl", "user_parts.deeper"),
        ("user_parts:bowll", "bowll.* bowl"),
        ("user_parts:TRAP", "TRAP"),
        ("user_parts:nothing", "user_parts:nothing.* int.*Task"),
        ("user_parts:Cube", "user_parts:Cube.* Cube.*Task"),
        ("user_parts:bowl(size=3)", "user_parts:bowl.* 'size'"),
        ("user_parts:bowl(dimension=x)", "user_parts:bowl: dimension.* integer"),
        ("user_parts:descent", "user_parts:descent.*learning_rate"),
        ("builtins:dict", "builtins:dict.* arguments"),
        ("user_parts:bowl(3)", r"user_parts:bowl.*\(3\)"),
        ("user_parts:", "cannot read.*user_parts:"),
        (":bowl", "cannot read.*:bowl"),
        ("a:b:c", "cannot read.*a:b:c"),
        ("user_parts:bowl.x", "cannot read"),
        (".user_parts:bowl", "cannot read"),
    ],
)
def test_a_mistake_is_one_line(part, message):
    with pytest.raises(UserError, match=message) as caught:
        build(TASKS, part)
    assert "\n" not in str(caught.value)


def test_a_module_that_cannot_run_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("def bowl(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"broken_module.*SyntaxError"):
        build(TASKS, "broken_module:bowl")


CUBES = "unf(layers=pointwise, widths=(2,), features=(gradient, user_parts:Cube(scale=0.5)))"


def test_a_feature_is_part_of_a_rule_and_of_its_file(tmp_path):
    rule = build(RULES, CUBES)
    assert build(FEATURES, rule.features[1]) == user_parts.Cube(0.5)
    assert build(RULES, "user_parts:cubes(width=2)").features == rule.features
    theta = rule.init(jax.random.key(0), quadratic().spec)
    save(tmp_path / "o.safetensors", LearnedOptimizer(rule, theta, None, {}))
    assert load(tmp_path / "o.safetensors").rule == rule


def test_a_feature_is_read_by_a_rule_over_parameters():
    rule = build(RULES, CUBES)
    params = {"x": np.ones(3, np.float32)}
    theta = rule.init(jax.random.key(0), quadratic(3).spec)
    plain = build(RULES, "unf(layers=pointwise, widths=(2,), features=(gradient,))")
    sizes = [
        sum(x.size for x in jax.tree.leaves(r.init(jax.random.key(0), quadratic(3).spec)))
        for r in (rule, plain)
    ]
    assert sizes[0] > sizes[1]
    optimizer = rule.optimizer(theta, 0.1)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert np.isfinite(updates["x"]).all()


def saved_rule(path):
    rule = user_parts.OneRate(0.5)
    save(path, LearnedOptimizer(rule, rule.init(None, None), None, {}))
    return rule


def test_a_rule_loads_where_it_is_trusted(tmp_path, monkeypatch):
    path = tmp_path / "o.safetensors"
    rule = saved_rule(path)
    monkeypatch.setattr(user_defined, "TRUSTED", set())
    with pytest.raises(UserError, match="--trust=user_parts:OneRate"):
        load(path)
    user_defined.trust("user_parts:OneRate")
    assert load(path).rule == rule
    monkeypatch.setattr(user_defined, "TRUSTED", set())
    assert build(RULES, "user_parts:OneRate(start=0.25)") == user_parts.OneRate(0.25)
    assert load(path).rule == rule


def test_a_class_within_a_function_is_not_saved(tmp_path):
    class Local(user_parts.OneRate):
        pass

    with pytest.raises(UserError, match=r"Local.* top level"):
        save(tmp_path / "o.safetensors", LearnedOptimizer(Local(), {}, None, {}))


UNF = {"name": "unf", **asdict(UNFRule())}
NO_RATE = {"learning_rate": None, "schedule": "constant"}
INJECTED = {"name": "initial_scale", "scale": [1, 1]}


@pytest.mark.parametrize(
    "rule",
    [
        {"name": "trap:spring"},
        {"name": "builtins:eval", "source": "__import__('trap')"},
        {**UNF, "features": ["gradient", "trap:spring"]},
        {**UNF, "features": ["gradient", {"name": "trap:spring"}]},
        {**UNF, "features": ["gradient", "momentum(decays=trap:spring)"]},
        {**UNF, "time": "trap:spring"},
        {"name": "unf", "features": ["trap:spring(x=1)"]},
        {"name": "unf", "step": "trap:spring"},
        {"name": "__import__('trap')"},
    ],
)
def test_nothing_is_imported_for_the_rule_of_a_file(rule, trap, tmp_path):
    path = tmp_path / "o.safetensors"
    contents = {"rule": rule, "spec": None, "provenance": {}, **NO_RATE}
    ARCHIVE.write(path, {"x": np.zeros(1, np.float32)}, contents)
    with pytest.raises(UserError):
        lopt.load(path)
    assert not trap.exists()


def test_nothing_is_imported_for_the_schedule_of_a_file(trap, tmp_path):
    path, params = tmp_path / "o.safetensors", {"x": np.zeros(1, np.float32)}
    rule = {"name": "user_parts:OneRate"}
    contents = {"rule": rule, "spec": None, "provenance": {}, "learning_rate": 0.1}
    user_defined.trust("user_parts:OneRate")
    ARCHIVE.write(path, {"log": np.float32(0)}, {**contents, "schedule": "constant"})
    lopt.optimizer(path, total_steps=10).init(params)
    ARCHIVE.write(path, {"log": np.float32(0)}, {**contents, "schedule": "trap:spring"})
    with pytest.raises(UserError, match="trap:spring"):
        lopt.optimizer(path, total_steps=10)
    assert not trap.exists()


@pytest.mark.parametrize(
    "task",
    [
        "trap:spring",
        {"name": "trap:spring"},
        "initial_scale(task=trap:spring)",
        {**INJECTED, "task": "trap:spring(x=1)"},
        {**INJECTED, "task": {"name": "trap:spring"}},
        {**INJECTED, "task": {"name": "initial_scale(task=trap:spring)"}},
        {**INJECTED, "task": {"name": "initial_scale", "task=trap:spring, x": 1}},
        {"name": "mlp", "data": "trap:spring"},
        {"name": "mixture", "tasks": ["trap:spring"]},
        "initial_scale(task=__import__('trap'))",
    ],
)
def test_nothing_is_imported_for_the_task_of_a_file(task, trap):
    with pytest.raises(UserError):
        build_untrusted(task)
    assert not trap.exists()


def test_the_trap_springs_where_the_users_own_text_names_it(trap):
    with pytest.raises(SystemExit):
        build(TASKS, "trap:spring")
    assert trap.exists()


def test_a_text_in_a_name_does_not_get_round_the_limits_of_a_file():
    for task in (
        {"name": "quadratic(dimension=1_000_000_000)"},
        {"name": "quadratic", "condition=1, dimension": 10},
    ):
        with pytest.raises(UserError, match="words for names"):
            build_untrusted({**INJECTED, "task": task})


def test_a_function_for_a_comparison_has_what_arguments_its_text_gives():
    fixed, tuned, plain = entries(
        {
            "fixed": "user_parts:descent(learning_rate=0.5)",
            "tuned": "user_parts:descent(momentum=0.5)",
            "plain": "user_parts:descent",
        }
    )
    assert fixed.search is None
    assert tuned.search is not None
    grads = np.ones(1, np.float32)
    steps = {}
    for entry, rate in ((fixed, None), (tuned, lambda count: 0.1), (plain, lambda count: 0.2)):
        optimizer = entry.optimizer(rate, None, quadratic(), 10)
        state = optimizer.init(grads)
        for _ in range(2):
            updates, state = optimizer.update(grads, state, grads)
        steps[entry.name] = float(updates[0])
    assert steps == pytest.approx({"fixed": -0.5, "tuned": -0.15, "plain": -0.2})
    with pytest.raises(UserError, match="'rate'"):
        entries(["user_parts:descent(rate=0.5)"])


CONFIG = """
from ml_collections import ConfigDict
from lopt.meta import ESTIMATORS
from lopt.base import config
from lopt.rules import RULES
from lopt.tasks import TASKS

def get_config():
    return ConfigDict({
        "seed": 0,
        "task": config(TASKS, "user_parts:bowl"),
        "rule": config(RULES, "user_parts:OneRate"),
        "inner": {"learning_rate": 0.1, "schedule": "constant", "normalize": False},
        "estimator": config(ESTIMATORS, "es", pairs=2, horizon=4),
        "outer": {"steps": 2, "learning_rate": 0.1, "clip": 1.0, "checkpoint_every": 1,
                  "max_skipped": 5},
    })
"""


def test_the_command_lines_take_parts(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"tests:{':'.join(sys.path[1:])}")
    (tmp_path / "config.py").write_text(CONFIG)
    workdir = tmp_path / "run"
    flags = (f"--config={tmp_path / 'config.py'}", "--config.task.dimension=2")
    meta_train = ("-m", "lopt.meta_train", f"--workdir={workdir}", *flags)
    result = run(*meta_train)
    assert result.returncode == 0, result.stderr
    again = run(*meta_train)
    assert "is there already" in again.stdout, again.stderr

    file = workdir / "optimizer.safetensors"
    comparison = ("-m", "lopt.compare", f"--optimizer={file}", f"--workdir={tmp_path / 'c'}")
    assert_refused(run(*comparison), "user_parts:OneRate is named in a file", "--trust=user_parts:")
    small = ("--baselines=sgd", "--rates=1", "--seeds=1", "--trust=user_parts:OneRate")
    assert_refused(run(*comparison, *small), "user_parts:bowl is named in a file", "--trust")
    result = run(*comparison, *small, "--task=user_parts:bowl(dimension=2)")
    assert result.returncode == 0, result.stderr
    assert "user_parts:bowl(dimension=2)" in (tmp_path / "c" / "report.md").read_text()
