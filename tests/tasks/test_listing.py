import processes
import pytest
from processes import assert_refused
from rich.console import Console

from lopt.data import DATASETS, TEXTS
from lopt.runs.commands import one_line_errors
from lopt.tasks import TASKS
from lopt.tasks.__main__ import main
from lopt.tasks.listing import data_table


def run(*arguments):
    return processes.run("-m", "lopt.tasks", *arguments)


def rows(output):
    """The cells of each row of the tables."""
    lines = [line for line in output.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_the_list_has_every_task_and_every_data_set():
    result = run()
    assert result.returncode == 0, result.stderr
    names = [cells[0] for cells in rows(result.stdout) if cells[0]]
    assert names == [*TASKS, *DATASETS, *TEXTS]
    table = {cells[0]: cells for cells in rows(result.stdout)}
    assert table["mlp"] == [
        "mlp",
        "data='digits', widths=(32,), activation='relu', batch_size=64",
        "2,410",
        "digits of scikit-learn",
    ]
    assert table["digits"][-1] == "yes"


def test_a_set_that_is_not_prepared_is_listed_as_such(monkeypatch, tmp_path, capsys):
    def here(name):
        Console(width=160).print(data_table())
        return {cells[0]: cells[-1] for cells in rows(capsys.readouterr().out)}[name]

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert here("cifar10") == "no"
    version = tmp_path / "cifar10" / "3.0.2"
    version.mkdir(parents=True)
    (version / "dataset_info.json").write_text("{}")
    assert here("cifar10") == "yes"


def test_show_prints_params_and_neuron_groups():
    result = run("show", "mlp(widths=(5, 4))")
    assert result.returncode == 0, result.stderr
    cells = rows(result.stdout)
    assert ["Dense_1/kernel", "5×4", "20", "Dense_0, Dense_1"] in cells
    assert ["Dense_0", "5", "true"] in cells
    assert ["input", "64", "fixed"] in cells
    assert "399 params in 6 tensors" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "mlpp"), ("'mlpp'", "mean mlp")),
        (("show", "mlp(width=3)"), ("'width'", "mean widths")),
        (("show", "mlp(3"), ("cannot read",)),
        (("show",), ("task", "required")),
        (("shw",), ("'shw'",)),
        (("show", "mlp", "cnn"), ("arguments: cnn",)),
    ],
)
def test_mistakes_are_one_line(arguments, words, capsys):
    with pytest.raises(SystemExit) as end, one_line_errors():
        main(arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line


def test_a_mistake_ends_the_command_with_one_line():
    assert_refused(run("show", "mlpp"), "unknown task 'mlpp'", "did you mean mlp")
