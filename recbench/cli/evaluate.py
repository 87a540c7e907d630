"""`recbench evaluate`."""

from typing import Annotated

import typer

from recbench.cli.differences import differences_table
from recbench.cli.options import DataDir, Dataset, Debug, Device, Json, Plugins, Run, Threads, run_folder, workplace
from recbench.cli.terminal import print_json, print_line, stdout, verb


@verb
def evaluate(
    run: Run,
    device: Device = "auto",
    threads: Threads = None,
    tolerance: Annotated[float, typer.Option(min=0, help="Difference of a figure up to which the exit code is 0.")] = 1e-6,
    dataset: Dataset = None,
    plugin: Plugins = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Rank the test users again with the saved model of RUN, without training, and compare with its record.

    Where a figure differs by more than --tolerance, the exit code is 1: on another machine, last digits of scores may change an order.

    Example: recbench evaluate last
    """
    from recbench.running.after.evaluate import evaluate_run

    found = evaluate_run(run_folder(run), workplace(data_dir), dataset=dataset, plugins=plugin or (), device=device, threads=threads)
    if as_json:
        print_json(
            {
                "run": found.record.run_id,
                "is_exact": found.is_exact,
                "largest": found.largest,
                "n_ranks": found.n_ranks,
                "n_ranks_changed": found.n_ranks_changed,
                "metrics": found.differences,
            }
        )
    else:
        stdout().print(differences_table(found.differences, "now"))
        if found.n_ranks_changed is None:
            print_line("no ranks lie beside the record; figures alone were compared")
        else:
            verdict = "every target stands where it stood" if not found.n_ranks_changed else f"{found.n_ranks_changed:,} stand elsewhere"
            print_line(f"{found.n_ranks:,} ranks compared: {verdict}")
        print_line("every figure is the recorded one" if found.largest == 0 else f"figures differ by {found.largest:.2e} at most")
    if found.largest > tolerance:
        raise typer.Exit(1)
