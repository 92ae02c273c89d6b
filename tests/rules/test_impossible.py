"""Rules and their parts refuse what cannot work, before anything is compiled."""

import pytest

from lopt.errors import UserError
from lopt.parts import build
from lopt.rules import FEATURES, RULES, STEPS, UNFRule


@pytest.mark.parametrize(
    ("parts", "part", "message"),
    [
        (RULES, "unf(widths=(0,))", "unf: widths must be positive integers, not 0"),
        (RULES, "unf(widths=(-3,))", "unf: widths must be positive integers, not -3"),
        (RULES, "unf(widths=8)", r"unf: widths must be a sequence such as \(8,\), not 8"),
        (RULES, "unf(features=())", "unf: features must be one or more"),
        (RULES, "unf(features=(momentum(decays=0.9),))", "momentum: decays must be a sequence"),
        (RULES, "unf(time_scales=(0,))", "unf: time_scales must be positive and finite, not 0"),
        (RULES, "unf(time_scales=(-1.0,))", "unf: time_scales must be positive and finite"),
        (RULES, "unf(time_scales=3)", "unf: time_scales must be a sequence such as"),
        (RULES, "unf(layers=3)", "unf: layers must be text such as 'relational', not 3"),
        (RULES, "unf(layers=(exact,))", "1 layers and 2 features"),
        (RULES, "unf(step=normalized(beta=small))", "normalized: beta must be a finite number"),
        (STEPS, "normalized(limit=-1.0)", "normalized: limit must be positive, not -1.0"),
        (FEATURES, "momentum(decays=0.9)", r"momentum: decays must be a sequence such as"),
        (FEATURES, "momentum(decays=())", "momentum: decays must be one or more"),
        (FEATURES, "momentum(decays=(2.0,))", "momentum: decays must be from 0 to below 1, not 2"),
        (FEATURES, "momentum(decays=(1,))", "momentum: decays must be from 0 to below 1, not 1"),
        (FEATURES, "second_moment(decays=(-0.1,))", "second_moment: decays must be from 0 to"),
        (FEATURES, "adam_direction(second_decay=1.0)", "adam_direction: decays must be from 0 to"),
        (FEATURES, "adam_direction(epsilon=0.0)", "epsilon must be positive, not 0.0"),
    ],
)
def test_from_text(parts, part, message):
    with pytest.raises(UserError, match=message) as caught:
        build(parts, part)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": 8}, "unf: widths must be a sequence"),
        ({"widths": (2.5,)}, "unf: widths must be positive integers, not 2.5"),
        ({"features": "weight"}, "unf: features must be a sequence, not 'weight'"),
        ({"time_scales": 3.0}, "unf: time_scales must be a sequence, not 3.0"),
        ({"time_scales": (float("nan"),)}, "unf: time_scales must be positive and finite, not nan"),
        ({"time_scales": ("a",)}, "unf: time_scales must be positive and finite, not 'a'"),
        ({"layers": 3}, "unf: layers must be a name, or one for each, not 3"),
    ],
)
def test_from_python(arguments, message):
    with pytest.raises(UserError, match=message):
        UNFRule(**arguments)
