import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from lopt.commands import parse_flags
from lopt.errors import UserError

QUICKSTART = "configs/quickstart.py"


def parse(*arguments):
    """The values of the flags that a command line sets."""
    argv = ["meta_train.py", *arguments]
    known = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=known, sys_argv=argv)
    flags.DEFINE_string("workdir", None, "", flag_values=known)
    flags.mark_flags_as_required(["config", "workdir"], known)
    assert parse_flags(known, argv) == ["meta_train.py"]
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
