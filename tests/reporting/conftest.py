"""A small split and runs on it, written through the evaluator, so that every figure in a record follows from its files."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.core.config import config_hash
from recbench.core.interactions import Interactions, TimeKind
from recbench.core.model_card import ModelCard
from recbench.core.ragged import Histories, Targets
from recbench.core.records import RunRecord
from recbench.evaluation import (
    Exposure,
    RankTable,
    evaluate,
    target_facts,
    targets_part,
    write_exposure,
    write_items,
    write_ranks,
    write_targets,
)
from recbench.reporting import publish
from recbench.tasks import NEXT_ITEM

N_USERS, N_ITEMS = 100, 80


@dataclass
class Workshop:
    """Makes run folders below `runs`; `made` counts them."""

    runs: Path
    made: int = 0

    def run(
        self,
        model: str = "sasrec",
        preset: str = "paper",
        /,
        *,
        skill: float = 0.3,
        seed: int = 0,
        split: int = 0,
        views: tuple[str, ...] = ("keep", "unseen"),
        list_length: int = 50,
        **changes: Any,
    ) -> Path:
        """A finished run folder.

        Args:
            skill: share of users whose target stands high.
            split: number of the made-up data; another number gives other targets and fingerprints.
            changes: parts of the record laid over the made-up ones, such as `code={"is_dirty": True}` or `config_hash="..."`.
        """
        self.made += 1
        run_id = changes.pop("run_id", f"{changes.get('dataset', {}).get('name', 'toy')}-{model}-{preset}-s{seed}-{self.made:08d}-1")
        folder = self.runs / run_id
        folder.mkdir(parents=True)
        train, histories, targets, user, is_tied = _split(split)
        facts = target_facts(train, histories, targets, user, is_tied)
        rng = np.random.default_rng([seed, *model.encode(), *preset.encode()])
        rank = np.where(rng.random(N_USERS) < skill, rng.geometric(0.25, N_USERS) - 1, rng.integers(0, 4 * list_length, N_USERS))
        keep = np.where(rank < list_length, rank, -1).astype(np.int16)
        by_view = {"keep": keep, "unseen": np.where(facts.in_history, -1, keep).astype(np.int16)}
        ranks = RankTable.of_queries(user, targets, {view: by_view[view] for view in views}, list_length)
        hits = [np.bincount(targets.item[(rank >= 0) & (rank < 10)], minlength=N_ITEMS) for rank in by_view.values()]
        others = np.bincount(rng.zipf(1.5, 6 * N_USERS) % N_ITEMS, minlength=N_ITEMS)
        shown = np.clip(others, np.max(hits, axis=0), N_USERS).astype(np.int32)
        exposure = Exposure(dict.fromkeys(views, shown))
        counts = train.item_counts()
        found = evaluate(ranks, facts, exposure, counts, NEXT_ITEM.measures)
        (folder / "curve.csv").write_text(
            "step,epoch,seconds,loss,learning_rate,ndcg@10\n10,0.5,1.0,5.0,0.001,\n20,1.0,2.0,4.0,0.001,0.03\n"
        )
        written = [
            write_ranks(ranks, folder / "ranks.parquet"),
            write_exposure(exposure, folder / "exposure.parquet"),
            write_targets(facts, folder),
            write_items(counts, folder),
            folder / "curve.csv",
        ]
        record: dict[str, Any] = {
            "run_id": run_id,
            "started": f"2026-11-{self.made % 28 + 1:02d}T10:00:00+00:00",
            "command": ["recbench", "run"],
            "model": {
                "name": model,
                "preset": preset,
                "row_name": f"{model}:{preset}",
                "family": "scoring",
                "is_trivial": False,
                "reads_text": False,
                "source_hash": "5" * 64,
            },
            "dataset": {
                "name": "toy",
                "title": "Toy | shop",
                "is_synthetic": False,
                "time": "seconds",
                "n_users": N_USERS,
                "n_items": N_ITEMS,
                "n_interactions": int(counts.sum()) + 2 * N_USERS,
            },
            "protocol": {"split": "leave-one-out", "list_length": list_length, "views": views},
            "fingerprints": {part: f"{split}{part}".encode().hex().ljust(64, "0") for part in ("train", "valid", "test", "item_text")},
            "config": {"width": 64},
            "config_hash": "",
            "budget": None,
            "seed": seed,
            "code": {"version": "0.1.0", "commit": "c0ffee" * 6 + "c0ff", "is_dirty": False},
            "libraries": {"numpy": "2.0", "torch": "2.4"},
            "device": {"type": "cpu", "name": "Toy CPU", "threads": 2, "precision": "fp32"},
            "stages": [{"name": "training", "key": "k" * 64, "seconds": 12.5, "peak_memory_bytes": 1 << 28, "reused": False}],
            "fit": {
                "steps": 20,
                "epochs": 1.0,
                "examples_seen": 1000,
                "examples_possible": 1000,
                "parameters": 12345,
                "parameters_trainable": 12345,
                "parameters_embedding": 5120,
                "chosen": {"step": 20},
                "stopped_by": "done",
            },
            "targets": targets_part(facts, 0).model_dump(),
            "metrics": {view: {name: interval.model_dump() for name, interval in part.items()} for view, part in found.metrics.items()},
            "slices": [part.model_dump() for part in found.slices],
            "beyond": found.beyond,
            "diagnostics": {"list_length_mean_keep": float(list_length)},
            "cost": {"train_s": 12.5, "rank_s": 1.0, "total_s": 14.0, "users_per_s": 4000.0, "peak_memory_bytes": 1 << 28},
            "files": [{"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in written],
        }
        for key, value in changes.items():
            record[key] = record[key] | value if isinstance(value, dict) and isinstance(record.get(key), dict) else value
        record["config_hash"] = record["config_hash"] or config_hash(model, record["config"], record["budget"], {}, {})
        (folder / "record.json").write_text(RunRecord.model_validate(record).to_json())
        return folder

    def trivial(self, model: str = "popularity", preset: str = "default", /, **changes: Any) -> Path:
        """A run of a trivial baseline."""
        return self.run(model, preset, model={"is_trivial": True}, **changes)


def _split(number: int) -> tuple[Interactions, Histories, Targets, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(number)
    lengths = rng.integers(2, 30, N_USERS)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    item = (rng.zipf(1.3, offsets[-1]) % N_ITEMS).astype(np.int32)
    train = Interactions(item, offsets, np.arange(len(item), dtype=np.int64), N_ITEMS, TimeKind.SECONDS)
    targets = Targets(rng.integers(0, N_ITEMS, N_USERS).astype(np.int32), np.arange(N_USERS + 1, dtype=np.int64))
    return train, train.histories(), targets, np.arange(N_USERS, dtype=np.int32), rng.random(N_USERS) < 0.4


def card(name: str, **changes: Any) -> ModelCard:
    """A card with the presets `paper`, `cpu` and `default`."""
    presets = {"paper": {"width": 64}, "cpu": {"extends": "paper"}, "default": {}}
    base = {
        "name": name,
        "title": name,
        "summary": name,
        "family": "scoring",
        "presets": presets,
        "default": {"cpu": "cpu", "cuda": "paper"},
    }
    return ModelCard.model_validate(base | changes)


@pytest.fixture
def make_card() -> Any:
    return card


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "runs")


@pytest.fixture(scope="session")
def cards() -> dict[str, ModelCard]:
    """sasrec with published numbers and two trivial baselines, one of them for small catalogues only."""
    published = [
        {"dataset": "toy", "view": "keep", "metrics": {"ndcg@10": 0.5, "recall@10": 0.9}, "source": "A paper, table 2", "kind": "paper"},
        {"dataset": "toy", "view": "unknown", "metrics": {"ndcg@10": 0.05}, "source": "A readme | draft", "kind": "readme"},
        {"dataset": "elsewhere", "view": "keep", "metrics": {"ndcg@10": 0.9}, "source": "Nowhere", "kind": "paper"},
    ]
    return {
        "sasrec": card("sasrec", published=published),
        "popularity": card("popularity", is_trivial=True),
        "ease": card("ease", is_trivial=True, max_items=50),
    }


@pytest.fixture(scope="session")
def published_boards(cards: dict[str, ModelCard], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of one row, a trivial baseline and a second protocol, published; tests that change it must copy it."""
    folder = tmp_path_factory.mktemp("published")
    workshop = Workshop(folder / "runs")
    runs = [workshop.run(seed=0), workshop.run(seed=1), workshop.trivial(), workshop.run(protocol={"ties": "shuffle=1"})]
    publish(folder / "boards", runs, cards)
    return folder / "boards"
