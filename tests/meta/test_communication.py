"""What devices exchange in a meta-step, read in the compiled program."""

import json

import pytest
from processes import run


@pytest.mark.slow
def test_devices_exchange_thetas_gradient_and_scalars_only():
    result = run("benchmarks/scaling.py", "--communication", devices=8)
    assert result.returncode == 0, result.stderr
    lines = json.loads(result.stdout)
    assert [line["estimator"] for line in lines] == ["ES", "PES", "NRES", "TBPTT"]
    for found in lines:
        assert found["devices"] == 8
        assert found["layout_stays"], found
        assert list(found["collectives"]) == ["all-reduce"], found
        gradient, *others = found["collectives"]["all-reduce"]
        assert found["theta_bytes"] <= gradient <= found["theta_bytes"] + 16, found
        assert len(others) <= 2
        assert sum(others) <= 64, found
