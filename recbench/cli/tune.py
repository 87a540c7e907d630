"""`recbench tune`."""

from typing import TYPE_CHECKING, Annotated

import typer

from recbench.cli.options import (
    Budget,
    DataDir,
    Debug,
    Device,
    Executor,
    Jobs,
    Json,
    Plugins,
    Protocol,
    ThreadsOfEach,
    Ties,
    Track,
    workplace,
)
from recbench.cli.terminal import print_json, print_line, stdout, verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from recbench.running.many.tune import TrialState


@verb
def tune(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model whose card declares what may be tuned.")],
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a data set, or path of a card or of a folder of data.")],
    trials: Annotated[
        int, typer.Option(min=1, help="How many settings to try. Trial 0 is the preset itself; more may be added later.")
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the draws and of every training.")] = 0,
    preset: Annotated[
        str | None, typer.Option(help="Preset that the drawn settings override. Default: the published settings, as the card names them.")
    ] = None,
    sampler: Annotated[
        str, typer.Option(help="Where settings come from: random, tpe (from the outcomes of earlier trials, with optuna) or grid.")
    ] = "random",
    prune: Annotated[
        bool, typer.Option("--prune", help="Stop a trial below the median of those before it, at the same validation; with optuna.")
    ] = False,
    budget: Budget = None,
    jobs: Jobs = None,
    executor: Executor = "local",
    device: Device = "auto",
    threads: ThreadsOfEach = None,
    ties: Ties = "source",
    protocol: Protocol = None,
    plugin: Plugins = None,
    track: Track = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Search the settings of MODEL on DATASET, with the same number of trials for every model, and take the best by validation.

    No trial ranks the test part. The same command goes on where a killed one stopped; --budget bounds each trial.

    Example: recbench tune sasrec ml-100k --preset cpu --trials 20
    """
    from recbench.cli.live import LiveTable, progress_line
    from recbench.evaluation import METRICS
    from recbench.running.many.tune import tune_request
    from recbench.running.requests import TuneRequest

    request = TuneRequest(
        model=model,
        dataset=dataset,
        trials=trials,
        seed=seed,
        preset=preset,
        sampler=sampler,
        prune=prune,
        budget=budget,
        jobs=jobs,
        executor=executor,
        device=device,
        threads=threads,
        ties=ties,
        protocol=protocol,
        plugins=tuple(plugin or ()),
        track=tuple(track or ()),
    )
    last: list[TrialState] = []

    def show(states: "list[TrialState]") -> None:
        last[:] = states
        running = (progress_line(f"trial {state.trial}", state.reason, state.left_s) for state in states if state.state == "running")
        live.show(trial_table(states), running)

    with LiveTable(stays=False) as live:
        found = tune_request(request, workplace(data_dir), show)
    if as_json:
        print_json(
            {"folder": found.folder, "best": found.best, "config": found.config_file, "command": found.command, "trials": found.log.trials}
        )
        return
    stdout().print(trial_table(last, found.best.trial))
    published = next(trial for trial in found.log.trials if trial.trial == 0)
    against = "" if published.score is None or found.best.score is None else f", {found.best.score - published.score:+.4f} against trial 0"
    title = METRICS.title(found.log.metric)
    stopped = "".join(f", {n} {state}" for state in ("pruned", "failed") if (n := found.log.count(state)))
    print_line(f"best of {len(found.log.trials)} trials{stopped} by validation {title}: trial {found.best.trial}{against}")
    print_line(f"trial 0 is the preset {found.log.preset} itself")
    print_line(f"trials: {found.folder}")
    print_line(f"run it: {found.command}")


def trial_table(states: "Sequence[TrialState]", best: int | None = None) -> "Table":
    """The trials as they now stand: what was drawn, the validation figure, the cost. At the end the best is bold, and no time is left."""
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from recbench.cli.live import STATE_STYLES
    from recbench.core.durations import duration

    names = sorted({name for state in states for name in state.values})
    table = Table(box=None, header_style="bold")
    is_live = best is None
    left = ("left",) if is_live else ()
    for title in ("trial", *names, "state", *left, "validation", "train s", "MiB"):
        # A table that is drawn again and again keeps to a line for each trial; the last one loses nothing on a narrow terminal.
        table.add_column(
            title, no_wrap=is_live, overflow="ellipsis" if is_live else "fold", justify="left" if title == "state" else "right"
        )
    table.add_column("", overflow="fold")
    for state in states:
        result = state.result
        measured = ("", "", "")
        if result is not None and result.score is not None:
            measured = (f"{result.score:.4f}", f"{result.train_s:,.1f}", f"{result.peak_memory_bytes / (1 << 20):,.0f}")
        table.add_row(
            str(state.trial),
            *(escape(str(state.values.get(name, "" if state.trial else "preset"))) for name in names),
            f"[{STATE_STYLES[state.state]}]{state.state}[/]",
            *("" if state.left_s is None else duration(state.left_s) for _ in left),
            *measured,
            Text("" if state.state == "done" else state.reason, no_wrap=is_live, overflow="ellipsis" if is_live else "fold"),
            style="bold" if state.trial == best else None,
        )
    return table
