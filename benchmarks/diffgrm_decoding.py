"""The two searches of `diffgrm` with the same weights: over the catalogue, and as the source's code has it.

    RECBENCH_DATA=... python benchmarks/diffgrm_decoding.py runs/RUN [--k 50] [--widths 64,256] [--users N]

RUN is a finished run of `diffgrm`, with its model. Each search answers all test users; their figures are compared user by user, with the
interval and the test of a board. Figures of items, in both views; NDCG of codes stands beside them.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from recbench import registry
from recbench.core import Rankings
from recbench.core.codes_file import CODES_FILE
from recbench.core.plugin import Catalogue
from recbench.evaluation import RankTable, ranks_of_targets
from recbench.evaluation.code_levels import level_figures
from recbench.evaluation.code_statistics import read_codes
from recbench.evaluation.significance import compare_with_best
from recbench.evaluation.user_values import values_of_view
from recbench.running.after.loaded import record_with_model, split_of
from recbench.running.host.workplace import Workplace
from recbench.running.run.guard import GuardedModel
from recbench.running.run.ranking import queries_of_test
from recbench.running.run.training import MODEL_FOLDER
from recbench.tasks import NEXT_ITEM

CUTOFF = 10
METRIC = f"ndcg@{CUTOFF}"


def compare(folder: Path, workplace: Workplace, *, k: int, widths: tuple[int, ...], threads: int, n_users: int | None = None) -> None:
    """Print figures of both searches for the model of a run."""
    torch.set_num_threads(threads)
    record = record_with_model(folder)
    plugin = registry.models().load("diffgrm")
    split = split_of(record, None, workplace)
    queries, targets = queries_of_test(split, NEXT_ITEM.views), split.test.targets
    if n_users is not None:
        queries, targets = queries.take(np.arange(n_users)), targets.take(np.arange(n_users))
    codes = read_codes(folder / CODES_FILE)
    values = {}
    for decode, width in (("catalogue", None), *(("released", width) for width in widths)):
        search = {**record.config["search"], "decode": decode, **({"n_beams": width} if width else {})}
        config = plugin.config.model_validate({**record.config, "search": search})
        model = GuardedModel(plugin, config, Catalogue(n_items=len(split.items), n_users=len(split.user_ids)))
        model.load(folder / MODEL_FOLDER)
        start = time.process_time()
        rankings: Rankings = model.answers(queries, k, n_items=len(split.items))
        seconds = time.process_time() - start
        ranks = RankTable.of_queries(queries.user, targets, ranks_of_targets(rankings, targets, queries), k)
        sid = level_figures(codes, rankings, targets, queries, (CUTOFF,))
        name = f"{decode}, {config.search.n_beams} beams"
        for view in rankings.views:
            recall, ndcg = values_of_view(ranks, view, ("recall@10", METRIC)).mean(axis=0)
            values[view, name] = values_of_view(ranks, view, (METRIC,))[:, 0]
            length = (rankings.items[rankings.views.index(view)] >= 0).sum(axis=1).mean()
            print(
                f"{name:24} {view:7} R@10 {recall:.4f}  N@10 {ndcg:.4f}  N@10 of codes {sid[f'codes_sid_ndcg@10_{view}']:.4f}  "
                f"{length:.1f} items  {len(queries) / seconds:,.0f} users a processor second"
            )
        print(f"{'':24} {', '.join(f'{name} {count:,}' for name, count in rankings.counters.items())}")
    for view in NEXT_ITEM.views:
        for pair in compare_with_best({name: value for (of, name), value in values.items() if of == view}):
            d = pair.difference
            print(f"{view:7} {METRIC}: {pair.best} - {pair.other}: {d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}], p {pair.p:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare diffgrm's two searches on the same weights.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--widths", default="64,256", help="Beams of the source's search.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--users", type=int, help="The first so many test users; default: all.")
    asked = parser.parse_args()
    if asked.k <= CUTOFF:
        parser.error(f"--k {asked.k}: figures at {CUTOFF} places need lists of more")
    widths = tuple(int(width) for width in asked.widths.split(","))
    compare(asked.run, Workplace.from_environment(), k=asked.k, widths=widths, threads=asked.threads, n_users=asked.users)


if __name__ == "__main__":
    main()
