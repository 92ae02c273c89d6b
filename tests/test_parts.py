import pytest

from lopt.errors import UserError
from lopt.parts import Parts, build, config, describe, parse


def make(size=3, name_of_it="x", *, required=None):
    return size, name_of_it, required


PARTS = Parts("thing", make=make, other=lambda needed: needed)


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


def test_text_and_mapping_are_one():
    part = {"name": "make", "size": (1, 2), "name_of_it": "a, b)"}
    assert parse(describe(part)) == part


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("mkae", r"unknown thing 'mkae'; did you mean make\? valid: make, other"),
        ("make(sise=3)", r"make has no argument 'sise'; did you mean size\?"),
        ("other", "other needs the argument 'needed'"),
        ("make(3)", "cannot read"),
        ("make(size=", "cannot read"),
        ("make(size=__import__('os'))", "cannot read"),
    ],
)
def test_a_mistake_is_named_with_its_mend(part, message):
    with pytest.raises(UserError, match=message):
        build(PARTS, part)
