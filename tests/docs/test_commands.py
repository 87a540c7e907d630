"""Commands of the guides: recbench understands every one of them, names of models and presets included."""

import re
import shlex

import pytest

from recbench import registry
from tests.docs.pages import ROOT, blocks, commands, understood

STANDS_FOR_WHATEVER_IS_MEANT = {"M", "NAME", "MODEL"}
"""Words that stand for the name of a model."""
OF_THE_READER = {"BPR", "ials"}
"""Models that the guides do not take from here."""


@pytest.mark.parametrize(
    "wrong", ["frobnicate", "run --modle sasrec", "data stats a --k", "tune item-knn --trials 3", "latency last --users many"]
)
def test_what_recbench_does_not_understand_is_refused(wrong: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|missing|unexpected|should be|is not a valid"):
        understood(["recbench", *wrong.split()])


@pytest.mark.parametrize("command", list(commands().values()), ids=list(commands()))
def test_recbench_understands_every_command(command: str) -> None:
    known = registry.models()
    values = understood(shlex.split(command))
    named = [values.get("model"), *str(values.get("models") or "").split(",")]
    for name in named:
        model, _, preset = str(name or "").partition(":")
        if not model or model in STANDS_FOR_WHATEVER_IS_MEANT or model in OF_THE_READER:
            continue
        card = known.load(model).card
        for wanted in filter(None, (preset, values.get("preset") if name == values.get("model") else None)):
            assert wanted in card.presets, f"{model} has no preset {wanted}"


def test_scripts_have_every_option_that_the_guides_name() -> None:
    lines = {line.strip() for block in blocks() for line in block.text.splitlines() if re.match(r"\s*python benchmarks/\S+\.py", line)}
    assert lines
    for line in sorted(lines):
        _, script, *words = shlex.split(line.replace("[", "").replace("]", ""), comments=True)
        source = (ROOT / script).read_text("utf-8")
        for word in words:
            if word.startswith("--"):
                assert f'"{word}"' in source, f"{script} has no option {word}"
