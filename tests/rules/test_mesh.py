"""Updates of a GPT whose params lie over eight devices, in one process for all of them."""

import json
from collections import Counter

import pytest
from processes import run

LAYOUTS = ["fully sharded", "tensor parallel, explicit axes"]


@pytest.fixture(scope="module")
def said():
    result = run("tests/mesh_update.py", devices=8, timeout=900)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def reports(said):
    assert said["devices"] == 8
    assert list(said["reports"]) == LAYOUTS
    return said["reports"]


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_state_and_updates_lie_as_the_params_do(layout, reports):
    stays = reports[layout]["layout_stays"]
    assert stays == {"init": True, "state": True, "updates": True}


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_steps_are_those_of_one_device(layout, reports):
    assert reports[layout]["apart"] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rotations_gather_a_gradient_a_mixture_and_a_basis_of_each_matrix_at_most(layout, reports):
    found = reports[layout]
    of_matrices = Counter(n for n in found["gathered"] if n in found["matrices"])
    assert of_matrices <= Counter(found["matrices"] * 3)
    assert sum(n for n in found["gathered"] if n not in found["matrices"]) < 1000


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_devices_exchange_nothing_within_loops(layout, reports):
    assert reports[layout]["collectives"] > 0
    assert reports[layout]["in_loops"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("library", ["linen", "nnx"])
def test_params_that_name_the_axes_of_a_mesh_are_trained_and_stay_divided(library, said):
    found = said["boxes"][library]
    assert found["losses"][-1] < 0.9 * found["losses"][0]
    assert found["stays"]
    assert found["divided"]
