"""What docs/comparing.md prints runs as printed."""

import re

from guides import ROOT, running

from lopt.compare import BASELINES

GUIDE = (ROOT / "docs" / "comparing.md").read_text()


def test_the_python_of_the_guide_runs(tmp_path):
    with running("docs/comparing.md", tmp_path) as names:
        assert 0 < names["results"].standings["mine"].speedup.mean < 50
        assert "<svg" in names["results"]._repr_html_()


def test_the_commands_of_the_guide_name_configs_that_are_there():
    for config in re.findall(r"--config=([^ :]*)", GUIDE):
        assert (ROOT / config).exists()


def test_the_optimizers_of_the_guide_are_there():
    for name in re.findall(r"\*\*`(\w+)`\*\*", GUIDE):
        assert name in {*BASELINES, "untrained"}
