"""Latency and throughput of a trained model: batch by batch, as a service would call it.

The clock runs around `generate` alone, from histories of item rows to finished lists on the host; reading, tokenising and whatever else
the model does with a history is in it, the look-up of ids and titles is not. The first calls are not counted: caches fill in them.
"""

import itertools
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from recbench import registry
from recbench.core.errors import BadRequest
from recbench.core.latency import BatchLatency, Latency
from recbench.core.plugin import Recommender
from recbench.core.progress import Progress
from recbench.core.ranking import Queries
from recbench.core.seeds import generator
from recbench.running.after.loaded import LoadedRun, record_with_model, split_of
from recbench.running.host.machine import Machine
from recbench.running.host.provenance import code
from recbench.running.host.workplace import Workplace
from recbench.tasks import find_task

WARM_UP = 10
_SEED = 0
"""Seed of the choice of users: the same for every model."""
_LEAST_CALLS = {"p50": 1, "p95": 20, "p99": 100}
"""Fewest calls for each percentile; with fewer it is one of the slowest few, by chance."""


def measure_latency(
    folder: Path,
    workplace: Workplace,
    *,
    batches: Sequence[int] = (1, 16, 256),
    users: int = 1000,
    k: int = 10,
    seen: str | None = None,
    seconds: float = 30.0,
    device: str = "auto",
    threads: int | None = None,
    dataset: str | None = None,
    plugins: Sequence[Path] = (),
) -> Latency:
    """Time the model of a run on test users that are the same for every model of a data set.

    Args:
        folder: run folder.
        workplace: folders of data and cache, and the display of progress.
        batches: users per call.
        users: number of test users to draw; all, where there are fewer.
        k: length of the lists.
        seen: the view, as in `--seen`, whether items of the history may stand in them; None: the one for a person.
        seconds: bound on the timed calls of each batch size, and on those before them; at least one of each is made.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: number of CPU threads to use; None: one per core.
        dataset: name or path of the data, where the record's name is not enough.
        plugins: folders of models that are not installed.

    Raises:
        BadRequest: the run holds no model, or a number is out of range.
        SplitMismatch: the data here make another split than the run's.
    """
    if not batches or min(batches) < 1 or users < 1 or seconds <= 0:
        raise BadRequest(f"--batches {','.join(map(str, batches))}, --users {users} and --seconds {seconds:g} must all be above 0.")
    record = record_with_model(folder)
    if not 1 <= k <= record.dataset.n_items:
        raise BadRequest(f"--k {k}: a list holds 1 to {record.dataset.n_items:,} items of {record.dataset.name}.")
    task = find_task(record.task)
    views = task.views_of(seen or task.serving_view)
    if len(views) > 1:
        raise BadRequest(f"--seen {seen!r}: a call makes lists of one kind. Use {' or '.join(task.views)}.")
    machine = Machine.resolve(device, "auto", threads)
    run = LoadedRun.open(folder, registry.models(plugins).load(record.model.name), device=machine.device)
    split = split_of(record, dataset, workplace)
    queries = split.test.queries(split.user_ids, views)
    drawn = generator(_SEED, "latency", "users").permutation(len(queries))[:users]
    # One guard around all calls: the clock must not measure it.
    with run.recommender.calling("generate"):
        timed = tuple(_timed(run.recommender.raw, queries.take(drawn), batch, k, seconds, workplace.progress) for batch in batches)
    about = f"{machine.type}: {machine.name}" + (f", {machine.threads} threads" if machine.type == "cpu" else "")
    found = {"machine": about, "k": k, "view": views[0], "n_users": len(drawn), "batches": timed}
    names = {"run_id": record.run_id, "row_name": record.model.row_name, "dataset": record.dataset.name}
    return Latency.model_validate({**names, **found, "measured": datetime.now(UTC).replace(microsecond=0), "code": str(code())})


def _timed(recommender: Recommender, queries: Queries, batch: int, k: int, seconds: float, progress: Progress) -> BatchLatency:
    """Time calls of one size over the users in their order; users left over at the end are not asked."""
    size = min(batch, len(queries))
    starts = range(0, len(queries) - size + 1, size)
    begin = time.perf_counter()
    for start in itertools.islice(itertools.cycle(starts), WARM_UP):
        recommender.generate(queries.take(np.arange(start, start + size)), k)
        if time.perf_counter() - begin >= seconds:
            break
    taken: list[float] = []
    with progress.task(f"calls of {size}", len(starts)) as task:
        for start in starts:
            part = queries.take(np.arange(start, start + size))
            before = time.perf_counter()
            recommender.generate(part, k)
            taken.append(time.perf_counter() - before)
            task.advance()
            if sum(taken) >= seconds:
                break
    percentiles = {
        name: float(np.percentile(taken, int(name[1:]))) * 1e3 if len(taken) >= least else None for name, least in _LEAST_CALLS.items()
    }
    return BatchLatency(
        batch=size,
        n_calls=len(taken),
        users_per_s=size * len(taken) / sum(taken),
        p50_ms=percentiles["p50"],
        p95_ms=percentiles["p95"],
        p99_ms=percentiles["p99"],
    )
