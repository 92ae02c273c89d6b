import re
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "symmetry.md"


def test_the_guide_prints_what_it_says(capsys):
    blocks = re.findall(r"```(\w*)\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    (_, example), (_, table) = blocks[:2]
    namespace = {}
    exec(example, namespace)
    assert capsys.readouterr().out == table
    for _, dialogue in blocks[2:]:
        if not dialogue.startswith(">>>"):
            continue
        commands = re.findall(r"^>>> (.*)$", dialogue, re.MULTILINE)
        for command in commands:
            exec(command, namespace)
        shown = [line for line in dialogue.splitlines() if not line.startswith(">>>")]
        printed = capsys.readouterr().out.splitlines()
        # Rounding differs between machines.
        assert [re.sub(r"[\d.]+e[-+]\d+", "", line) for line in printed] == [
            re.sub(r"[\d.]+e[-+]\d+", "", line) for line in shown
        ]
