"""Updates of a GPT whose params lie over eight devices, in one process for all of them."""

import json

import pytest
from processes import run

LAYOUTS = ["fully sharded", "tensor parallel, explicit axes"]


@pytest.fixture(scope="module")
def layouts():
    result = run("tests/mesh_update.py", devices=8, timeout=900)
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["devices"] == 8
    assert list(said["layouts"]) == LAYOUTS
    return said["layouts"]


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_state_and_updates_lie_as_the_params_do(layout, layouts):
    assert layouts[layout]["layout_stays"] == {"init": True, "state": True, "updates": True}


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_steps_are_those_of_one_device(layout, layouts):
    assert layouts[layout]["apart"] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_only_matrices_that_newton_schulz_needs_whole_are_gathered(layout, layouts):
    found = layouts[layout]
    assert found["gathered"] == found["needed"]
    assert found["needed"]


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_devices_exchange_nothing_within_loops(layout, layouts):
    assert layouts[layout]["collectives"] > 0
    assert layouts[layout]["in_loops"] == 0
