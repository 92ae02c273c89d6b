import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from lopt.base.errors import UserError
from lopt.base.parts import Parts, build, config
from lopt.meta import ESTIMATORS, OBJECTIVES
from lopt.predict import PREDICTORS
from lopt.rules import RULES
from lopt.runs.commands import parse_flags
from lopt.tasks import MIXTURES, TASKS

QUICKSTART = "configs/quickstart.py"


PARTS = {
    "rule": RULES,
    "estimator": ESTIMATORS,
    "task": Parts("task", object, **TASKS, **MIXTURES),
    "inner.objective": OBJECTIVES,
    "validation.task": TASKS,
    "several.*": PREDICTORS,
}


def parse(*arguments):
    """The values of the flags that a command line sets."""
    argv = ["meta_train.py", *arguments]
    known = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=known, sys_argv=argv)
    flags.DEFINE_string("workdir", None, "", flag_values=known)
    flags.mark_flags_as_required(["config", "workdir"], known)
    assert parse_flags(known, argv, PARTS) == ["meta_train.py"]
    return known


def refused(*arguments, error=UserError):
    with pytest.raises(error) as raised:
        parse(*arguments)
    (line,) = str(raised.value).splitlines()
    return line


@pytest.fixture
def file(tmp_path):
    return tmp_path / "config.py"


@pytest.mark.parametrize("dashes", ["-", "--"])
@pytest.mark.parametrize("split", [True, False])
def test_every_form_of_a_flag_is_read(dashes, split):
    words = [("config", QUICKSTART), ("config.outer.steps", "7"), ("workdir", "x")]
    given = [[f"{dashes}{k}", v] if split else [f"{dashes}{k}={v}"] for k, v in words]
    known = parse(*(word for words in given for word in words))
    assert (known.config.outer.steps, known.config.seed, known.workdir) == (7, 0, "x")


def test_an_argument_after_a_colon_is_handed_on():
    assert parse(f"--config={QUICKSTART}:es", "--workdir=x").config.estimator.name == "es"


@pytest.mark.parametrize("argument", ["", ":es", ":a:b"])
def test_a_path_may_have_colons(argument, tmp_path):
    folder = tmp_path / "runs:2"
    folder.mkdir()
    text = "def get_config(given=''):\n    return {'given': given}\n"
    (folder / "a:config.py").write_text(text)
    known = parse(f"--config={folder / 'a:config.py'}{argument}", "--workdir=x")
    assert known.config.given == argument[1:]


def test_a_config_file_runs_once(file, tmp_path):
    counted = f"open({str(tmp_path / 'runs')!r}, 'a').write('run ')"
    file.write_text(f"{counted}\ndef get_config():\n    {counted}\n    return {{'a': 1}}\n")
    assert parse(f"--config={file}", "--config.a=2", "--workdir=x").config.to_dict() == {"a": 2}
    assert (tmp_path / "runs").read_text() == "run run "  # the file, and get_config()


def test_a_config_is_locked(file):
    file.write_text("def get_config():\n    return {'a': {'b': 1}}\n")
    config = parse(f"--config={file}", "--workdir=x").config
    assert isinstance(config, ConfigDict)
    with pytest.raises(AttributeError):
        config.a.c = 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\ndef get_config(:\n", "config.py, line 2: SyntaxError: invalid syntax"),
        ("import nowhere\n", "line 1: ModuleNotFoundError: No module named 'nowhere'"),
        ("def get_config():\n    return {}['a']\n", "line 2: KeyError: 'a'"),
        ("def get_config():\n    return float('x')\n", "line 2: ValueError: could not convert"),
        ("def get_config():\n    open('/nowhere')\n", "line 2: FileNotFoundError"),
        ("def get_config():\n    pass\n", "must return a ConfigDict, not NoneType"),
        ("get_config = 3\n", "defines no get_config()"),
        ("def get_config(a):\n    pass\n", "needs an argument: --config="),
        ("\0", "config.py: SyntaxError: source code"),
        ("def get_config():\n    return {'a': {'v1.0': 3}}\n", "the key v1.0 contains one"),
    ],
)
def test_errors_in_a_config_file_are_one_line_that_says_where(text, words, file):
    file.write_text(text)
    assert words in refused(f"--config={file}", "--workdir=x")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("a config is needed",)),
        (("--config.outer.steps=3",), ("a config is needed",)),
        (("--config=configs/quikstart.py",), ("no config file", "quikstart")),
        (("--config=configs",), ("no config file",)),
        (("--config=configs/mlp.py:es",), ("takes no argument: --config=configs/mlp.py",)),
        ((f"--config={QUICKSTART}:ges",), ("unknown estimator 'ges'",)),
        (
            (f"--config={QUICKSTART}", "--config.outer.stepz=3"),
            ("--config.outer.stepz: no key 'stepz'", "did you mean steps", "valid:"),
        ),
        ((f"--config={QUICKSTART}", "-config.seed.a", "3"), ("--config.seed.a: no key 'a'",)),
        ((f"--config={QUICKSTART}", "--noconfig.inner.normalise"), ("did you mean normalize",)),
        ((f"--config={QUICKSTART}", "--workdir="), ("--workdir is empty",)),
    ],
)
def test_mistakes_in_flags_are_one_line(arguments, words):
    line = refused(*arguments)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--config.outer.steps=many",), "config.outer.steps"),
        (("--workdri=x",), "workdri"),
        ((), "workdir"),
    ],
)
def test_what_absl_refuses_is_one_line(arguments, words):
    assert words in refused(f"--config={QUICKSTART}", *arguments, error=flags.Error)


def swapped(*arguments):
    return parse(f"--config={QUICKSTART}", "--workdir=x", *arguments).config


@pytest.mark.parametrize("split", [True, False])
def test_a_part_is_swapped_with_arguments_of_its_own_and_overridden(split):
    given = [("rule", "unf(widths=(8,), layers=exact)"), ("estimator", "pes(truncation=20)")]
    words = [[f"--config.{k}", v] if split else [f"--config.{k}={v}"] for k, v in given]
    found = swapped("--config.rule.step=direct", *(w for pair in words for w in pair))
    rule = config(RULES, "unf", widths=(8,), layers="exact", step="direct")
    assert found.rule.to_dict() == rule.to_dict()
    assert found.estimator.to_dict() == config(ESTIMATORS, "pes", truncation=20).to_dict()


def test_a_part_is_swapped_by_its_name_and_keeps_the_arguments_that_both_have():
    found = swapped("--config.estimator.name=es", "--config.rule.name=unf")
    expected = config(ESTIMATORS, "es", pairs=8, horizon=200, sigma=0.02)
    assert found.estimator.to_dict() == expected.to_dict()
    assert build(RULES, found.rule) == build(RULES, "unf")
    again = swapped("--config.estimator.name=pes").to_dict()
    assert again == swapped().to_dict()


def test_a_part_of_the_users_own_is_swapped_in():
    found = swapped("--config.rule=user_parts:OneRate(start=3.0)", "--config.rule.start=2.5")
    assert found.rule.to_dict() == {"name": "user_parts:OneRate", "start": 2.5}


def test_tasks_mixtures_and_parts_within_parts_are_swapped_in():
    task = swapped("--config.task=rnn(data=text(tokens=characters(limit=9)))").task
    assert task.data == "text(tokens=characters(limit=9))"
    mixed = swapped("--config.task=mixture(tasks=(quadratic, mlp(widths=(2,))))").task
    assert mixed.tasks == ("quadratic", "mlp(widths=(2,))")


def test_what_a_config_leaves_out_is_put_in(file):
    file.write_text("def get_config():\n    return {'inner': {}, 'several': {}}\n")
    flags = ("--config.inner.objective=end", "--config.several.mine=stat_nn(hidden=(4,))")
    found = parse(f"--config={file}", "--workdir=x", *flags).config
    assert found.inner.objective.to_dict() == config(OBJECTIVES, "end").to_dict()
    assert found.several.mine.hidden == (4,)


def test_a_part_that_is_a_text_stays_one():
    flags = ("--config=tests/validated.py", "--workdir=x")
    found = parse(*flags, "--config.validation.task=mlp(widths=(4,))").config
    assert found.validation.task == "mlp(widths=(4,))"


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--config.rule=unff", ("unknown rule 'unff'", "did you mean unf")),
        ("--config.rule.name=unff", ("unknown rule 'unff'", "did you mean unf")),
        ("--config.rule=unf(width=3)", ("unf has no argument 'width'", "did you mean widths")),
        ("--config.rule=unf(", ("cannot read 'unf('",)),
        ("--config.rule=", ("cannot read ''",)),
        ("--config.rule=nowhere.rules:Clipped", ("cannot import 'nowhere.rules'",)),
        ("--config.rule=user_parts:Nothing", ("user_parts has no function 'Nothing'",)),
        ("--config.validation.task=mlp", ("--config.validation.task: no key 'validation'",)),
        ("--config.validation.task.name=mlp", ("no key 'validation'",)),
    ],
)
def test_mistakes_in_swapping_are_one_line(flag, words):
    line = refused(f"--config={QUICKSTART}", "--workdir=x", flag)
    for word in words:
        assert word in line
