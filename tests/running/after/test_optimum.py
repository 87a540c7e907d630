"""The optimum of generated data: exact and sampled values agree, no model is above it, and the model of a simple world reaches it."""

import math
from pathlib import Path

import pytest

from recbench.core import BadRequest
from recbench.running.after.optimum import Optimum, find_optimum
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunRequest
from recbench.running.run.execute import run_request

RICH = "synthetic:items=120,users=600,text=0.2,two_step=0.3,cold=0.1"
BIGRAM = "synthetic:items=60,users=3000,two_step=0,taste=0,text=0"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    root = tmp_path_factory.mktemp("optimum")
    return Workplace(root / "home", None, root / "runs", root / "leaderboards")


@pytest.fixture(scope="module")
def rich(workplace: Workplace) -> Optimum:
    """The optimum beside the runs of models that learn different parts of the process."""
    for model in ("popularity", "last-item-markov", "ease"):
        run_request(RunRequest(model, RICH, threads=1), workplace)
    run_request(RunRequest("popularity", BIGRAM, threads=1), workplace)
    return find_optimum(RICH, workplace, with_runs=True)


def test_exact_and_sampled_values_agree(rich: Optimum) -> None:
    assert len(rich.best) == 4
    for best in rich.best:
        assert abs(best.sampled - best.exact) < 4 * best.standard_error, best


def test_whoever_knows_more_is_expected_to_do_better(rich: Optimum) -> None:
    exact = {(best.oracle, best.view): best.exact for best in rich.best}
    assert exact["history", "unseen"] < exact["history", "keep"] < exact["history and user", "keep"]
    assert exact["history", "unseen"] < exact["history and user", "unseen"]


def test_no_model_is_above_the_optimum(rich: Optimum) -> None:
    assert len(rich.runs) == 6
    for run in rich.runs:
        assert run.below.high > 0, run
        assert 0 < (run.share or 0) < 1.05
    nearest = [run.row_name for run in rich.runs if run.view == "keep"]
    assert nearest.index("last-item-markov:default") < nearest.index("popularity:default")
    assert [run.below.value for run in rich.runs[:3]] == sorted(run.below.value for run in rich.runs[:3])


def test_a_counter_of_pairs_solves_a_world_of_pairs(workplace: Workplace) -> None:
    run_request(RunRequest("last-item-markov", BIGRAM, threads=1), workplace)
    optimum = find_optimum(BIGRAM, workplace, with_runs=True)
    # Four items may follow each, with chances of 12, 6, 4 and 3 in 25.
    assert optimum.best[0].exact == pytest.approx((12 + 6 / math.log2(3) + 4 / 2 + 3 / math.log2(5)) / 25)
    solved = {run.view: run for run in optimum.runs if run.row_name == "last-item-markov:default"}
    assert set(solved) == {"keep", "unseen"}
    for run in solved.values():
        assert abs(run.below.value) < 0.005, run


def test_what_has_no_known_optimum_is_refused(workplace: Workplace, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="No optimum of demo is known: the reader 'demo' does not say how likely"):
        find_optimum("demo", workplace)
    with pytest.raises(BadRequest, match="No optimum of outfits is known"):
        find_optimum("outfits", workplace)
    card = tmp_path / "mine.toml"
    card.write_text(
        'name = "mine"\ntitle = "Mine"\nterms = ""\nreader = "synthetic"\ntime = "seconds"\noptions = { items = 60, users = 50 }\n'
        "filters = [{ kind = 'k-core', user = 2, item = 2 }]\n[[sources]]\nkind = 'generated'\n"
    )
    with pytest.raises(BadRequest, match="No optimum of mine is known: its card filters the events"):
        find_optimum(str(card), workplace)
    with pytest.raises(BadRequest, match=r"--protocol cold:.* Use leave-one-out"):
        find_optimum(RICH, workplace, protocol="cold")
