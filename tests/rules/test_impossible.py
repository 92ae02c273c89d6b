"""Rules and their parts refuse what cannot work, before anything is compiled."""

import pytest

from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.rules import FEATURES, RULES, STEPS, UNFRule


@pytest.mark.parametrize(
    ("parts", "part", "message"),
    [
        (RULES, "unf(widths=(0,))", "unf: each of widths .* 0"),
        (RULES, "unf(widths=(-3,))", "unf: each of widths .* -3"),
        (RULES, "unf(widths=8)", r"unf: widths must be a sequence.*\(8,\)"),
        (RULES, "unf(features=())", "unf: features is empty"),
        (RULES, "unf(features=(momentum(decays=0.9),))", "momentum: decays must be a sequence"),
        (RULES, "unf(time_scales=(0,))", "unf: each of time_scales .* 0"),
        (RULES, "unf(time_scales=(-1.0,))", "unf: each of time_scales .* -1.0"),
        (RULES, "unf(time_scales=3)", "unf: time_scales must be a sequence"),
        (RULES, "unf(layers=3)", "unf: layers .*'relational', not 3"),
        (RULES, "unf(layers=(exact,))", "1 layers and 2 features"),
        (RULES, "unf(step=normalized(beta=small))", "normalized: beta .*'small'"),
        (STEPS, "normalized(limit=-1.0)", "normalized: limit .* -1.0"),
        (FEATURES, "momentum(decays=0.9)", "momentum: decays must be a sequence"),
        (FEATURES, "momentum(decays=())", "momentum: decays is empty"),
        (FEATURES, "momentum(decays=(2.0,))", "momentum: each of decays .* 1, not 2"),
        (FEATURES, "momentum(decays=(1,))", "momentum: each of decays .* 1, not 1"),
        (FEATURES, "second_moment(decays=(-0.1,))", "second_moment: each of decays .* -0.1"),
        (FEATURES, "adam_direction(second_decay=1.0)", "adam_direction: second_decay .* 1.0"),
        (FEATURES, "adam_direction(epsilon=0.0)", "epsilon .* 0.0"),
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
        ({"widths": (2.5,)}, "unf: each of widths .* 2.5"),
        ({"features": "weight"}, r"unf: features must be a sequence.*\('weight',\)"),
        ({"time_scales": 3.0}, r"unf: time_scales must be a sequence.*\(3.0,\)"),
        ({"time_scales": (float("nan"),)}, "unf: each of time_scales .* nan"),
        ({"time_scales": ("a",)}, "unf: each of time_scales .*'a'"),
        ({"layers": 3}, "unf: layers .* 3"),
    ],
)
def test_from_python(arguments, message):
    with pytest.raises(UserError, match=message):
        UNFRule(**arguments)
