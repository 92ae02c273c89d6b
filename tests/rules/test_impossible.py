"""Rules and their parts refuse what cannot work, before anything is compiled."""

import pytest

from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.rules import FEATURES, RULES, STEPS, UNFRule


@pytest.mark.parametrize(
    ("parts", "part", "message"),
    [
        (RULES, "unf(widths=(0,))", "unf: each of widths must be a positive integer, not 0"),
        (RULES, "unf(widths=(-3,))", "unf: each of widths must be a positive integer, not -3"),
        (RULES, "unf(widths=8)", r"unf: widths must be a sequence such as \(8,\), not 8"),
        (RULES, "unf(features=())", "unf: features is empty; give one or more"),
        (RULES, "unf(features=(momentum(decays=0.9),))", "momentum: decays must be a sequence"),
        (
            RULES,
            "unf(time_scales=(0,))",
            "unf: each of time_scales must be a positive finite number, not 0",
        ),
        (RULES, "unf(time_scales=(-1.0,))", "unf: each of time_scales must be a positive finite"),
        (RULES, "unf(time_scales=3)", "unf: time_scales must be a sequence such as"),
        (RULES, "unf(layers=3)", "unf: layers must be text such as 'relational', not 3"),
        (RULES, "unf(layers=(exact,))", "1 layers and 2 features"),
        (RULES, "unf(step=normalized(beta=small))", "normalized: beta must be a finite number"),
        (
            STEPS,
            "normalized(limit=-1.0)",
            "normalized: limit must be a positive finite number, not -1.0",
        ),
        (FEATURES, "momentum(decays=0.9)", r"momentum: decays must be a sequence such as"),
        (FEATURES, "momentum(decays=())", "momentum: decays is empty"),
        (
            FEATURES,
            "momentum(decays=(2.0,))",
            "momentum: each of decays must be a number from 0 to below 1, not 2",
        ),
        (
            FEATURES,
            "momentum(decays=(1,))",
            "momentum: each of decays must be a number from 0 to below 1, not 1",
        ),
        (
            FEATURES,
            "second_moment(decays=(-0.1,))",
            "second_moment: each of decays must be a number from 0 to",
        ),
        (
            FEATURES,
            "adam_direction(second_decay=1.0)",
            "adam_direction: second_decay must be a number from 0 to",
        ),
        (
            FEATURES,
            "adam_direction(epsilon=0.0)",
            "epsilon must be a positive finite number, not 0.0",
        ),
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
        ({"widths": (2.5,)}, "unf: each of widths must be a positive integer, not 2.5"),
        ({"features": "weight"}, r"unf: features must be a sequence, such as \('weight',\), not"),
        ({"time_scales": 3.0}, r"unf: time_scales must be a sequence, such as \(3.0,\), not 3.0"),
        (
            {"time_scales": (float("nan"),)},
            "unf: each of time_scales must be a positive finite number, not nan",
        ),
        (
            {"time_scales": ("a",)},
            "unf: each of time_scales must be a positive finite number, not 'a'",
        ),
        ({"layers": 3}, "unf: layers must be a name, or one for each, not 3"),
    ],
)
def test_from_python(arguments, message):
    with pytest.raises(UserError, match=message):
        UNFRule(**arguments)
