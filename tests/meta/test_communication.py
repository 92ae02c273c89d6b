"""What devices exchange in a meta-step, read in the compiled program."""

import json

import pytest
from processes import run


@pytest.mark.slow
def test_devices_exchange_thetas_gradient_and_scalars_only():
    result = run("tests/mesh_communication.py", devices=8)
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["devices"] == 8
    assert list(said["estimators"]) == ["ES", "PES", "NRES", "TBPTT"]
    for found in said["estimators"].values():
        assert found["layout_stays"], found
        assert list(found["collectives"]) == ["all-reduce"], found
        gradient, *others = found["collectives"]["all-reduce"]
        assert found["theta_bytes"] <= gradient <= found["theta_bytes"] + 16, found
        assert len(others) <= 2
        assert sum(others) <= 64, found
