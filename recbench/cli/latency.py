"""`recbench latency`."""

from typing import Annotated

import typer

from recbench.cli.options import DataDir, Dataset, Debug, Device, Json, Plugins, Run, Threads, names, run_folder, workplace
from recbench.cli.terminal import print_json, print_line, print_note, stdout, verb


@verb
def latency(
    run: Run,
    batches: Annotated[str, typer.Option(metavar="N,N,...", help="Batch sizes to time, one line of the result each.")] = "1,16,256",
    users: Annotated[int, typer.Option(min=1, help="How many test users to draw; the same ones for every model.")] = 1000,
    k: Annotated[int, typer.Option("--k", min=1, help="Length of the lists.")] = 10,
    seen: Annotated[str | None, typer.Option(help="Seen items: kept in the lists (keep) or filtered out (unseen, the default).")] = None,
    seconds: Annotated[float, typer.Option(min=0.001, help="Upper bound, in seconds, on the timed calls of each batch size.")] = 30.0,
    device: Device = "auto",
    threads: Threads = None,
    dataset: Dataset = None,
    plugin: Plugins = None,
    save: Annotated[
        bool, typer.Option("--save", help="Keep the figures in the run's folder; `leaderboard publish` shows them on the answer page.")
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Time the trained model of RUN: how long a call takes, and how many users it serves, for several numbers of users per call.

    Example: recbench latency last --batches 1,64
    """
    from rich.table import Table

    from recbench.core.errors import BadRequest
    from recbench.core.latency import LATENCY_FILE
    from recbench.core.writing import replace_text
    from recbench.running.after.latency import measure_latency

    sizes = names(batches, "--batches")
    if not all(size.isdigit() for size in sizes):
        raise BadRequest(f"--batches {batches!r}: write whole numbers separated by commas, such as 1,16,256.")
    folder = run_folder(run)
    found = measure_latency(
        folder,
        workplace(data_dir),
        batches=[int(size) for size in sizes],
        users=users,
        k=k,
        seen=seen,
        seconds=seconds,
        device=device,
        threads=threads,
        dataset=dataset,
        plugins=plugin or (),
    )
    if save:
        replace_text(folder / LATENCY_FILE, found.to_json())
        print_note(f"saved in {folder / LATENCY_FILE}")
    if as_json:
        print_json(found)
        return
    print_line(f"{found.row_name} on {found.dataset}: lists of {found.k}, view {found.view}, {found.n_users:,} users. {found.machine}")
    table = Table(box=None, header_style="bold")
    for title in ("users per call", "calls", "p50 ms", "p95 ms", "p99 ms", "users/s"):
        table.add_column(title, justify="right")
    for line in found.batches:
        times = (f"{time:,.1f}" if time is not None else "–" for time in (line.p50_ms, line.p95_ms, line.p99_ms))
        table.add_row(f"{line.batch:,}", f"{line.n_calls:,}", *times, f"{line.users_per_s:,.1f}")
    stdout().print(table)
