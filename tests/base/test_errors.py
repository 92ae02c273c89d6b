import errno

import pytest

from lopt.base.errors import UserError, user_errors


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\nlines"), "data is damaged: ValueError: two lines; make it again"),
        (KeyError(), "data is damaged: KeyError; make it again"),
        (OSError(errno.EACCES, "Permission denied", "x"), "data is damaged: Permission denied; "),
        (ValueError("a" * 1000), f"data is damaged: ValueError: {'a' * 200}; make it again"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_an_error_of_others_is_one_line_with_its_reason(error, line):
    with pytest.raises(UserError) as raised, user_errors("data is damaged", fix="make it again"):
        raise error
    assert str(raised.value).startswith(line)
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [UserError("has its line"), KeyError("x"), SystemExit(2)], ids=str
)
def test_other_kinds_and_errors_that_have_their_line_are_let_through(error):
    with pytest.raises(type(error)) as raised, user_errors("data is damaged", ValueError):
        raise error
    assert raised.value is error
