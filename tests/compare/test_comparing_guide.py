"""What docs/comparing.md prints runs as printed."""

import re

from guides import ROOT, running

from lopt.compare import BASELINES
from lopt.compare.entries import UNTRAINED

GUIDE = (ROOT / "docs" / "comparing.md").read_text()


def test_the_python_of_the_guide_runs(tmp_path):
    with running("docs/comparing.md", tmp_path) as names:
        assert 0 < names["results"].standings["mine"].speedup.mean < 50
        assert "<svg" in names["results"]._repr_html_()


def test_the_optimizers_that_the_guide_describes_are_there():
    section = GUIDE[GUIDE.index("## Who takes part") : GUIDE.index("## Tuning")]
    described = re.findall(r"^- (?:A )?\*\*`?([\w ]+?)`?\*\*", section, re.MULTILINE)
    controls = ["tensor_normalized_adam", "untrained"]
    assert described == ["muon", "muon_two_rates", "soap", *controls, "learned optimizer"]
    inline = set(re.findall(r"`(\w+)`", GUIDE))
    assert {"muon_default", "schedule_free_adamw", "schedule_free_sgd"} <= inline & {*BASELINES}
    assert {*described[:4], "normuon", "kl_soap"} <= {*BASELINES}
    assert UNTRAINED == "untrained"
