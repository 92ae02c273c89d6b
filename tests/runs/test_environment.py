"""The command lines in environments that are not those of every day."""

import json

import numpy as np
import pytest
from processes import assert_refused, run

from lopt.predict import load as load_predictor
from lopt.rules import load

ZOO = {
    "widths": (3,),
    "runs": (12,),
    "snapshots": 2,
    "steps": 4,
    "every": 2,
    "batch_sizes": (4,),
    "together": 12,
    "numbers": 4,
    "unseen": 2,
}
PREDICT = {
    "predictors": {"deep_sets": {"name": "unf", "layers": "pointwise", "hidden": (2,)}},
    "budget": {"epochs": 1, "batch_size": 4, "validation": 0.3},
    "seeds": 1,
    "test": 0.3,
}
CONFIG = {"zoo": ZOO, "predict": PREDICT}


@pytest.mark.slow
def test_all_commands_work_in_64_bits_without_docstrings_or_letters_or_output(tmp_path):
    """One process: what each of these would break is told apart by its message."""
    run_, report, predicted = (tmp_path / name for name in ("run", "report", "predicted"))
    config = tmp_path / "config.py"
    config.write_text(f"def get_config():\n    return {CONFIG!r}\n")
    optimizer = run_ / "optimizer.safetensors"
    commands = [
        [
            "lopt.meta_train",
            "--config=tests/validated.py",
            f"--workdir={run_}",
            "--config.task=quadratic(dimension=3)",
            "--config.rule=unf(layers=pointwise, widths=(2,))",
            "--config.estimator=pes(pairs=1, truncation=2, horizon=4)",
            "--config.validation.task=quadratic(dimension=2)",
            "--config.validation.every=1",
            "--config.outer.steps=3",
            "--config.outer.checkpoint_every=1",
        ],
        [
            "lopt.compare",
            f"--optimizer={optimizer}",
            f"--workdir={report}",
            "--baselines=adamw,untrained",
            "--seeds=2",
            "--rates=1",
        ],
        ["lopt.predict.zoo", f"--config={config}", f"--workdir={predicted}"],
        ["lopt.predict", f"--config={config}", f"--workdir={predicted}"],
    ]
    with open("/dev/full", "w") as full:
        result = run(
            "-m",
            "tests.in_turn",
            json.dumps(commands),
            stdout=full,
            JAX_ENABLE_X64="1",
            PYTHONOPTIMIZE="2",
            PYTHONIOENCODING="ascii",
        )
    assert result.returncode == 0, result.stderr
    said = "standard output can no longer be written (No space left on device)"
    assert result.stderr == f"{said}; the work goes on without it\n"
    assert load(optimizer).provenance["meta_loss"] < np.inf
    assert load(run_ / "best.safetensors").provenance["meta_step"] in (1, 2, 3)
    assert json.loads((report / "results.json").read_text())["tasks"]
    (kept,) = (predicted / "predictors").iterdir()
    assert load_predictor(kept).provenance["networks"] < 24


def test_without_docstrings_and_with_a_device_that_is_not_there_a_command_ends_with_a_line():
    result = run("-m", "lopt.tasks", "show", "mlp", JAX_PLATFORMS="cup", PYTHONOPTIMIZE="2")
    assert_refused(result, "device", "JAX_PLATFORMS=cup")
