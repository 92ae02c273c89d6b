"""What devices tell one another in a meta-step, read in the compiled program."""

import json

import pytest
from processes import run


@pytest.mark.slow
def test_devices_exchange_thetas_gradient_and_scalars_only():
    result = run("benchmarks/scaling.py", "--communication", devices=8)
    assert result.returncode == 0, result.stderr
    lines = json.loads(result.stdout)
    assert [line["estimator"] for line in lines] == ["ES", "PES", "NRES", "TBPTT"]
    for line in lines:
        assert line["devices"] == 8
        assert line["layout_stays"], line
        assert list(line["collectives"]) == ["all-reduce"], line
        gradient, *others = line["collectives"]["all-reduce"]
        assert line["theta_bytes"] <= gradient <= line["theta_bytes"] + 16, line
        assert len(others) <= 2
        assert sum(others) <= 64, line
