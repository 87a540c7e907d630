"""Beams of the search against quality and cost: what a wider search finds, and from which width on the lists are the exact ones.

    RECBENCH_DATA=... python benchmarks/beams.py runs/RUN [runs/RUN ...] [--widths 1,5,10,20,50,100,200] [--users 500] [--exact-users 100]

RUN is a finished run of a model that searches with beams, with its trained model. Each width answers the same test users, with lists of
ten items, or of as many as there are beams. A search with as many beams as there are items drops none: its lists are the exact ones, for
the first `--exact-users` users.
"""

import argparse
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbench import registry
from recbench.core import Rankings
from recbench.core.config import by_dotted_name, nested
from recbench.core.plugin import Catalogue, Plugin, Queries
from recbench.core.records import RunRecord
from recbench.data import Split
from recbench.evaluation import RankTable, ranks_of_targets
from recbench.evaluation.user_values import values_of_view
from recbench.running.after.loaded import record_with_model, split_of
from recbench.running.host.workplace import Workplace
from recbench.running.run.guard import GuardedModel
from recbench.running.run.ranking import queries_of_test
from recbench.running.run.training import MODEL_FOLDER
from recbench.tasks import NEXT_ITEM

PLACES = 10
METRIC = f"ndcg@{PLACES}"


def with_beams(plugin: Plugin, config: Mapping[str, Any], width: int) -> Any:
    """The settings of a run with another number of beams; a `SystemExit` where the model has no such setting."""
    settings = by_dotted_name(config)
    names = [name for name in settings if name.rpartition(".")[2] == "n_beams"]
    if len(names) != 1:
        raise SystemExit(f"{plugin.card.name} has {len(names)} settings called n_beams; give runs of a model that searches with beams.")
    return plugin.config.model_validate(nested({**settings, names[0]: width}))


def answers(plugin: Plugin, record: RunRecord, folder: Path, split: Split, queries: Queries, width: int) -> tuple[Rankings, float]:
    """Lists of the queries with so many beams, and the processor seconds that they took."""
    catalogue = Catalogue(n_items=len(split.items), n_users=len(split.user_ids))
    model = GuardedModel(plugin, with_beams(plugin, record.config, width), catalogue)
    with tempfile.TemporaryDirectory(prefix="recbench-beams-") as name:
        kept = Path(shutil.copytree(folder / MODEL_FOLDER, Path(name) / MODEL_FOLDER))
        for file in kept.glob("*.json"):  # what is trained keeps its sizes beside it, the beams of its search among them
            sizes = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(sizes, dict) and "n_beams" in sizes:
                file.write_text(json.dumps(sizes | {"n_beams": width}), encoding="utf-8")
        model.load(kept)
    start = time.process_time()
    found: Rankings = model.answers(queries, min(PLACES, width), n_items=len(split.items))
    return found, time.process_time() - start


def compare(folder: Path, workplace: Workplace, widths: tuple[int, ...], n_users: int, n_exact: int) -> None:
    """Print a line per width for the model of a run."""
    record = record_with_model(folder)
    plugin = registry.models().load(record.model.name)
    split = split_of(record, None, workplace)
    queries, targets = queries_of_test(split, NEXT_ITEM.views), split.test.targets
    drawn = np.sort(np.random.default_rng(0).permutation(len(queries))[:n_users])
    queries, targets = queries.take(drawn), targets.take(drawn)
    first = np.arange(min(n_exact, len(queries)))
    exact, _ = answers(plugin, record, folder, split, queries.take(first), len(split.items))
    for width in widths:
        found, seconds = answers(plugin, record, folder, split, queries, width)
        ranks = RankTable.of_queries(queries.user, targets, ranks_of_targets(found, targets, queries), found.items.shape[2])
        cells = []
        for place, view in enumerate(found.views):
            values = values_of_view(ranks, view, (f"ndcg@{min(PLACES, width)}",))[:, 0]
            length = found.items.shape[2]
            same = (found.items[place][first] == exact.items[place][:, :length]).all(axis=1).mean() if length == PLACES else float("nan")
            cells += [f"{values.mean():.4f}", "–" if np.isnan(same) else f"{same:.0%}"]
        print(f"| {record.model.row_name} | {width} | {' | '.join(cells)} | {len(queries) / seconds:,.1f} |", flush=True)


def main() -> None:
    """A table over runs and widths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--widths", default="1,5,10,20,50,100,200")
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--exact-users", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    widths = tuple(int(width) for width in asked.widths.split(","))
    print(f"{platform.platform()}, Python {platform.python_version()}, {asked.threads} thread(s), {datetime.now(UTC):%Y-%m-%d}")
    heads = [head for view in NEXT_ITEM.views for head in (f"NDCG@10 {view}", f"exact lists, {view}")]
    print(f"| model | beams | {' | '.join(heads)} | users a processor second |")
    print("| :-- | --: |" + " --: |" * (len(heads) + 1))
    for folder in asked.runs:
        compare(folder, Workplace.from_environment(), widths, asked.users, asked.exact_users)


if __name__ == "__main__":
    main()
