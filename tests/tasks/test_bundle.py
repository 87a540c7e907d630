"""Bundle construction from the first run to the board, and the facts that its figures rest on."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from recbench.cli.app import app
from recbench.core.interactions import Interactions, ItemTable, TimeKind
from recbench.core.ragged import Histories, Targets
from recbench.core.ranking import Rankings
from recbench.core.records import Fingerprints
from recbench.data import Split, SplitPart
from recbench.evaluation import Measures, RankTable, evaluate, exposure_counts
from recbench.running.host.workplace import Workplace
from recbench.running.run.splits import load_split
from recbench.running.stages.store import StageStore
from recbench.tasks import BUNDLE, NEXT_ITEM, find_task
from recbench.testing.small import write_sets


def give(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), prog_name="recbench")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with bundles in it, and four runs on two splits of them."""
    folder = tmp_path_factory.mktemp("bundles")
    write_sets(folder / "outfits")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("RECBENCH_HOME", str(folder / "home"))
        patch.delenv("RECBENCH_DATA", raising=False)
        for protocol in ("random:seed=0", "random:seed=1"):
            for model in ("popularity", "item-knn"):
                done = give("run", "-m", model, "-d", "./outfits", "--protocol", protocol)
                assert done.exit_code == 0, done.stderr
        done = give("run", "-m", "sasrec", "-d", "./outfits", "--preset", "smoke", "--set", "training.max_steps=4", "--threads", "1")
        assert done.exit_code == 0, done.stderr
        yield folder


@pytest.fixture(scope="module")
def board(here: Path) -> str:
    done = give("leaderboard", "publish")
    assert done.exit_code == 0, done.stderr
    return (here / "leaderboards" / "outfits.md").read_text()


def record_of(here: Path, model: str) -> dict[str, Any]:
    """The record of a model on the split with seed 0."""
    records = [json.loads(path.read_text()) for path in here.glob(f"runs/outfits-{model}-*/record.json")]
    (found,) = [record for record in records if record["protocol"]["split_options"] == {"seed": 0}]
    return found


def first_shown(here: Path, bundle: str) -> str:
    """An item that a test bundle of the split with seed 0 shows."""
    loaded = load_split(
        str(here / "outfits"), BUNDLE.protocol("random"), Workplace.from_environment(), StageStore(here / "home" / "stages")
    )
    row = loaded.split.user_ids[loaded.split.test.user].tolist().index(bundle)
    return str(loaded.split.items.item_ids[loaded.split.test.histories[row][0]])


def test_a_record_holds_the_figures_of_the_task(here: Path) -> None:
    record = record_of(here, "item-knn")
    assert record["task"] == "bundle"
    assert list(record["metrics"]) == ["unseen"]
    assert list(record["metrics"]["unseen"]) == [f"{kind}@{k}" for kind in ("recall", "ndcg") for k in (5, 10, 20, 40, 80)]
    assert record["protocol"]["list_length"] == 80
    assert {"target popularity", "input size", "bundle size", "target and input together in train", "input"} <= {
        part["slice"] for part in record["slices"]
    }
    assert record["notes"]["feedback pairs that only a held bundle explains, dropped"] == 0
    assert record["notes"]["test bundles equal to a train bundle"] == 0
    assert record["fingerprints"]["feedback"]
    assert list(record["fingerprints"]["features"]) == ["image"]


def test_its_board_sums_up_over_seeds_of_the_split(board: str) -> None:
    top = board.index("## Over seeds of the split: random")
    assert top < board.index("## Random (seed=0)") < board.index("## Random (seed=1)")
    summary = board[top : board.index("## Random (seed=0)")]
    assert "splits with seeds 0, 1" in summary
    assert summary.count(" ± ") == 5
    assert "test bundles with" in board
    (adapted,) = [line for line in board.splitlines() if "sasrec:smoke" in line and "undertrained" in line]
    assert "seq adapter" in adapted
    assert board.count("seq adapter") == 3  # in the row, and in the key of both sections
    assert "are contained in a train bundle" in board
    assert "users" not in board.split("## Protocol")[0].replace("feedback of users", "")
    assert give("verify").exit_code == 0


@pytest.mark.slow
def test_runs_are_compared(here: Path) -> None:
    done = give("compare", "--models", "popularity,item-knn", "--datasets", "./outfits", "--protocol", "random:seed=0")
    assert done.exit_code == 0, done.stderr
    assert "NDCG@20" in done.stdout


def test_a_bundle_is_completed(here: Path) -> None:
    run = record_of(here, "item-knn")["run_id"]
    one, other = (
        json.loads(give("recommend", str(run), "--items", ids, "--k", "3", "--json").stdout) for ids in ("i0001,i0005", "i0005,i0001,i0005")
    )
    assert one == other
    assert len(one) == 3
    assert not {"i0001", "i0005"} & {found["item_id"] for found in one}


def test_lists_made_elsewhere_and_a_repeated_run_are_measured_alike(here: Path) -> None:
    run = str(record_of(here, "item-knn")["run_id"])
    assert give("recommend", run, "--export", "lists.csv", "--dataset", "./outfits").exit_code == 0
    with (here / "lists.csv").open(newline="") as stream:
        assert "view" not in next(csv.reader(stream))
    done = give("import-ranks", "lists.csv", "--model", "again", "-d", "./outfits")
    assert done.exit_code == 0, done.stderr
    assert "test bundles have a list" in done.stdout
    assert "bundles without a test query, left out" in done.stdout
    shown = give("show", run).stdout
    assert "bundles/s" in shown
    assert " users" not in shown.replace("feedback of users", "")
    bundle = (here / "lists.csv").read_text().splitlines()[1].split(",")[0]
    (here / "shown.csv").write_text(f"user_id,item_id,rank\n{bundle},{first_shown(here, bundle)},1\n")
    refused = give("import-ranks", "shown.csv", "--model", "odd", "-d", "./outfits")
    assert "is shown. Leave it out." in " ".join(refused.stderr.split())
    assert "keep" not in refused.stderr
    again = record_of(here, "again")
    assert again["protocol"]["split"] == "random"
    assert again["metrics"] == record_of(here, "item-knn")["metrics"]
    done = give("reproduce", run, "--dataset", "./outfits")
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "-m", "last-item-markov", "-d", "./outfits"), "is for next-item; the data set asks for bundle. Models for that: "),
        (("run", "-m", "popularity", "-d", "./outfits", "--seen", "keep"), "--seen 'keep' is not known for bundle."),
        (("run", "-m", "popularity", "-d", "./outfits", "--protocol", "session"), "has no table of sessions"),
        (("run", "-m", "popularity", "-d", "./outfits", "--protocol", "random:seed=0.5"), "random: seed=0.5 is no whole number from 0"),
        (("run", "-m", "popularity", "-d", "./outfits", "--protocol", "random:seed=inf"), "random: seed=inf is no whole number from 0"),
        (("run", "-m", "popularity", "-d", "./outfits", "--protocol", "random:seed=nan"), "random: seed=nan is no whole number from 0"),
        (("run", "-m", "popularity", "-d", "./outfits", "--protocol", "leave-one-out"), "Known: random, session, published."),
    ],
)
def test_what_does_not_fit_is_refused_by_name(here: Path, words: tuple[str, ...], sentence: str) -> None:
    done = give(*words)
    assert done.exit_code == 2
    assert sentence in " ".join(done.stderr.split())


def test_the_default_protocol_is_the_data_sets() -> None:
    assert BUNDLE.with_default("").rules[0].name == "session"
    assert [rule.name for rule in BUNDLE.with_default("random").rules] == ["random", "session", "published"]
    assert str(BUNDLE.protocol("random:seed=0.0")) == str(BUNDLE.protocol("random")) == "random:seed=0"
    assert find_task("next-item").with_default("") is NEXT_ITEM


def split_by_hand() -> Split:
    """Train bundles {0, 1, 2} and {0, 1}; asked: {1, 3} beside 0 (3 is cold), 2 beside 3, 4 beside 2."""
    train = Histories.from_lists([[0, 1, 2], [0, 1], [], [], []])
    part = SplitPart(
        user=np.array([2, 3, 4], np.int32),
        histories=Histories.from_lists([[0], [3], [2]]),
        targets=Targets.from_lists([[1, 3], [2], [4]]),
        timestamp=None,
        is_tied=None,
        cluster=np.array([5, 5, 6], np.int32),
        is_of_strangers=True,
    )
    ids = np.array([f"i{row}" for row in range(5)], object)
    events = Interactions(train.item, train.offsets, np.zeros(5, np.int64), 5, TimeKind.NONE)
    prints = Fingerprints(train="", valid="", test="", item_text="")
    return Split("random", events, part, part, ItemTable(ids, {}), np.array(list("abcde"), object), prints, 2)


def test_facts_and_groups_by_hand() -> None:
    facts = BUNDLE.facts(split_by_hand())
    assert facts.target_count.tolist() == [2, 0, 1, 0]
    assert facts.of_task["bundle_size"].tolist() == [3, 3, 2, 2]
    assert facts.of_task["met_before"].tolist() == [True, False, False, False]
    assert facts.of_task["input_coldness"].tolist() == [0, 0, 2, 0]
    assert facts.of_task["session"].tolist() == [5, 5, 5, 6]
    groups = {(group.slice, group.name): group.rows.tolist() for group in BUNDLE.measures.groups(facts)}
    assert groups["target popularity", "cold"] == [False, True, False, True]
    assert groups["target in a train bundle", "warm"] == [True, False, True, False]
    assert groups["input", "all cold"] == [False, False, True, False]
    assert ("input size", "2") not in groups


def test_a_query_with_a_warm_and_a_cold_target_counts_in_both_groups() -> None:
    split = split_by_hand()
    facts = BUNDLE.facts(split)
    ranks = RankTable.of_queries(split.test.user, split.test.targets, {"unseen": np.array([0, -1, 4, 0], np.int16)}, 5)
    lists = Rankings(("unseen",), np.zeros((1, 3, 5), np.int32), np.zeros((1, 3, 5), np.float32))
    measures = Measures(("recall",), (5,), ("recall@5",), BUNDLE.measures.groups, BUNDLE.measures.cluster)
    found = evaluate(ranks, facts, exposure_counts(lists, 5), split.train.item_counts(), measures)
    by_group = {(part.slice, part.group): (part.n, part.metrics["recall@5"].value) for part in found.slices}
    assert by_group["target in a train bundle", "warm"] == (2, 1.0)
    assert by_group["target in a train bundle", "cold"] == (2, 0.5)
    assert found.metrics["unseen"]["recall@5"].value == pytest.approx((0.5 + 1 + 1) / 3)


def test_models_are_not_told_whose_bundle_it_is() -> None:
    split = split_by_hand()
    queries = split.test.queries(split.user_ids, ("unseen",))
    assert queries.user.tolist() == [-1, -1, -1]
    assert queries.user_ids.tolist() == ["c", "d", "e"]


def test_a_list_of_runs_tells_divisions_apart(here: Path) -> None:
    listed = give("list", "runs").stdout
    assert "random:seed=0" in listed
    assert "random:seed=1" in listed


def test_a_run_under_another_seed_does_not_empty_the_summary(here: Path, board: str) -> None:
    for seed in ("2", "3", "4", "9"):
        assert give("run", "-m", "popularity", "-d", "./outfits", "--protocol", f"random:seed={seed}").exit_code == 0
    assert give("leaderboard", "publish", "--boards", "more").exit_code == 0
    page = (here / "more" / "outfits.md").read_text()
    assert "with seeds 0, 1, 2, 3, 4, view" in page
    assert "## Random (seed=9)" in page
