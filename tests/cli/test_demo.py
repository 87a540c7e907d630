"""The first command of the README: what it prints must be the figures of trained models."""

import shlex
from pathlib import Path
from typing import Any

import pytest

_MAKEFILE = Path(__file__).parents[2] / "Makefile"


def demo_command() -> list[str]:
    """The words behind `recbench` in the recipe of `make demo`."""
    recipe = _MAKEFILE.read_text(encoding="utf-8").partition("\ndemo: ")[2]
    line = next(line for line in recipe.splitlines() if line.strip().startswith("$(BIN)/recbench "))
    return shlex.split(line)[1:]


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a quarter of a minute of computing, which a busy machine spreads over many
def test_the_demo_prints_gram_above_popularity(recbench: Any) -> None:
    """The demo's own command line, on the generated data set, with a bound on steps that leaves GRAM at twice popularity's figure."""
    words = ["demo" if word == "ml-100k" else word for word in demo_command()]
    answer = recbench(*words, "--budget", "80steps", "--threads", "1")
    assert answer.code == 0, answer.stderr
    values = _values(answer.stdout)
    assert set(values) == {"popularity", "item-knn", "sasrec", "gram"}
    assert values["gram"] > values["popularity"]


def _values(printed: str) -> dict[str, float]:
    """NDCG@10 `keep` by model, from the first table that was printed."""
    found: dict[str, float] = {}
    for line in printed.splitlines():
        model = line.strip().partition(":")[0]
        if model in {"popularity", "item-knn", "sasrec", "gram"} and model not in found:
            figure = line.partition(" [")[0].split()[-1]
            found[model] = float(figure)
    return found
