"""`recbench run`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from recbench.cli.options import (
    Budget,
    DataDir,
    Debug,
    Device,
    Json,
    Measure,
    Plugins,
    Precision,
    Protocol,
    Threads,
    Ties,
    Track,
    model_card,
    names,
    workplace,
)
from recbench.cli.terminal import print_json, print_line, stdout, verb


@verb
def run(
    model: Annotated[str, typer.Option("--model", "-m", help="Name of a model; see `recbench list models`.")],
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset", "-d", help="Name of a data set (see `recbench list datasets`), or path of a card or of a folder of data."
        ),
    ],
    preset: Annotated[str | None, typer.Option(help="Named settings from the model's card. Default: the card's for this machine.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the run.")] = 0,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="One setting, as key=value. Repeatable. Wins over --config.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings. Wins over the preset.")] = None,
    budget: Budget = None,
    device: Device = "auto",
    threads: Threads = None,
    precision: Precision = "auto",
    seen: Annotated[str, typer.Option(help="Seen items: kept in the lists (keep), filtered out (unseen), or both.")] = "both",
    ties: Ties = "source",
    protocol: Protocol = None,
    plugin: Plugins = None,
    track: Track = None,
    measure: Measure = None,
    data_dir: DataDir = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1, max=10_000, help="How many runs share this machine now, including this one. Above 1, boards mark the cost as shared."
        ),
    ] = 1,
    again: Annotated[bool, typer.Option("--again", help="Run again even where a finished record exists.")] = False,
    rerun: Annotated[list[str] | None, typer.Option(metavar="STAGE", help="Recompute this cached stage. Repeatable.")] = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Train MODEL on DATASET, rank the full catalogue for every test user and write a run record below ./runs.

    The same command goes on where a killed one stopped, and shows the record of a finished one.

    Example: recbench run --model sasrec --preset cpu --dataset ml-100k --budget 10m
    """
    from recbench.core.config import parse_assignment
    from recbench.reporting import run_table
    from recbench.running.host.measure import process_start
    from recbench.running.requests import RunRequest
    from recbench.running.run.execute import run_request

    request = RunRequest(
        model=model,
        dataset=dataset,
        preset=preset,
        seed=seed,
        config_file=config,
        overrides=dict(parse_assignment(text) for text in overrides or ()),
        budget=budget,
        device=device,
        threads=threads,
        precision=precision,
        seen=seen,
        ties=ties,
        protocol=protocol,
        plugins=tuple(plugin or ()),
        track=tuple(track or ()),
        measure=() if measure is None else names(measure, "--measure"),
        again=again,
        jobs=jobs,
        rerun=tuple(rerun or ()),
    )
    outcome = run_request(request, workplace(data_dir), command=("recbench", *sys.argv[1:]), started_at=process_start())
    if outcome is None:  # under torchrun only rank 0 has a result
        return
    record = outcome.record
    if as_json:
        facts = {"run": record.run_id, "folder": outcome.folder, "is_new": outcome.is_new}
        print_json({**facts, "record": record.model_dump(mode="json"), "references": outcome.references})
        return
    stdout().print(run_table(record, model_card(record.model.name, plugin), outcome.references), crop=False)
    print_line(f"record: {outcome.folder}")
