"""Where learned_optimization is not installed, or not whole, a line says what to install."""

import pytest

from lopt.base.errors import UserError
from lopt.interop import learned_optimization as interop
from lopt.interop.learned_optimization import library

CALLS = {
    "as_learned_optimizer": lambda: interop.as_learned_optimizer("base"),
    "task_from": lambda: interop.task_from("a.b:c"),
    "optimizer_from": lambda: interop.optimizer_from("a.b:c"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_missing_library_is_one_line(name, monkeypatch):
    monkeypatch.setattr(library, "LIBRARY", "not_installed")
    with pytest.raises(UserError, match="pip install --no-deps not_installed") as caught:
        CALLS[name]()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", CALLS)
def test_what_it_imports_and_is_missing_is_named(name, monkeypatch, tmp_path):
    for folder in ("tasks", "optimizers", "learned_optimizers"):
        (tmp_path / "half_installed" / folder).mkdir(parents=True)
        file = tmp_path / "half_installed" / folder / "base.py"
        file.write_text("import no_such_package.core\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(library, "LIBRARY", "half_installed")
    with pytest.raises(UserError, match=r"no_such_package.* pip "):
        CALLS[name]()
