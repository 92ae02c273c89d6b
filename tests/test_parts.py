import pytest
from ml_collections import ConfigDict

from lopt.errors import UserError
from lopt.parts import Parts, build, config, describe, parse


def make(size=3, name_of_it="x", *, required=None):
    return size, name_of_it, required


PARTS = Parts("thing", make=make, other=lambda needed: needed, flag=lambda on=False: on)


def test_config_lists_every_argument_so_that_each_can_be_overridden():
    assert config(PARTS, "make", size=5).to_dict() == {
        "name": "make",
        "size": 5,
        "name_of_it": "x",
        "required": None,
    }


def test_a_part_is_built_from_text_and_from_mapping():
    assert build(PARTS, "make(size=4, name_of_it='a')") == (4, "a", None)
    assert build(PARTS, {"name": "make", "size": 4}) == (4, "x", None)
    assert build(PARTS, "make") == (3, "x", None)


NESTED = "make(required=(make(size=5, name_of_it='a'), other, [1, -2.5, None]))"


def test_calls_and_names_among_the_values_are_parts():
    part = parse(NESTED)
    assert part["required"] == (
        {"name": "make", "size": 5, "name_of_it": "a"},
        {"name": "other"},
        [1, -2.5, None],
    )
    texts = ("make(size=5, name_of_it='a')", "other", [1, -2.5, None])
    for given in (NESTED, part, ConfigDict(part)):
        assert build(PARTS, given) == (3, "x", texts)


def test_a_part_in_a_part_is_built_from_either_form():
    outer = Parts("outer", around=lambda inner: build(PARTS, inner))
    for text in ("around(inner='make(size=4)')", "around(inner=make(size=4))"):
        assert build(outer, text) == (4, "x", None)
    config_of_it = ConfigDict({"name": "around", "inner": config(PARTS, "make", size=4)})
    assert build(outer, config_of_it) == (4, "x", None)


@pytest.mark.parametrize(
    "part",
    [
        {"name": "make", "size": (1, 2), "name_of_it": "a, b)"},
        {"name": "make", "size": (1,), "required": ({"name": "other", "needed": ()}, "other")},
        {"name": "make", "required": {"name": "other"}},
    ],
)
def test_text_and_mapping_are_one(part):
    assert parse(describe(part)) == part


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("mkae", r"unknown thing 'mkae'; did you mean make\? valid: flag, make, other"),
        ("make(sise=3)", r"make has no argument 'sise'; did you mean size\?"),
        ("other", "other needs the argument 'needed'"),
        ("make(3)", "cannot read"),
        ("make(size=", "cannot read"),
        ("3", "cannot read"),
        ("make(name=3)", "cannot read"),
        ("make(**{'size': 3})", "cannot read"),
        ("make(size=(1, false))", "cannot read 'false'"),
        ("make(required=other(3))", r"cannot read 'other\(3\)'; write name or name\(argument="),
        ("make(size=x)", "make: size must be a number, not 'x'"),
        ("make(size=make())", "make: size must be a number, not 'make'"),
        ("flag(on='no')", "flag: on must be True or False, not 'no'"),
        ("make(size=__import__('os'))", "cannot read"),
    ],
)
def test_a_mistake_is_named_with_its_mend(part, message):
    with pytest.raises(UserError, match=message):
        build(PARTS, part)
