"""The guide to estimators, run as printed."""

import pytest
from guides import running


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    with running("docs/estimators.md", tmp_path_factory.mktemp("guide")) as names:
        yield names


def test_a_truncation_of_nres_is_less_noisy_than_one_of_pes(guide):
    assert 0 < guide["noises"]["NRES"] < 0.8 * guide["noises"]["PES"]


def test_noise_falls_with_the_root_of_the_pairs(guide):
    assert 0.4 < guide["more_pairs"] / guide["noises"]["PES"] < 0.65
