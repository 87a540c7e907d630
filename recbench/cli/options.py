"""Options that several commands take, each written once."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recbench.cli.terminal import stderr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recbench.core.model_card import ModelCard
    from recbench.reporting import Known
    from recbench.running.host.workplace import Workplace

Run = Annotated[str, typer.Argument(metavar="RUN", help="Run folder, run id or the start of one, or `last`.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.", rich_help_panel="Output")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug logs.", rich_help_panel="Output")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder with ready data sets, NAME/interactions.parquet and NAME/items.parquet. Wins over RECBENCH_DATA."),
]
Dataset = Annotated[
    str | None, typer.Option("--dataset", "-d", help="Where the data are now, if the name in the record is not enough: a name or a path.")
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        help="Folder of a model plugin that is not installed. This RUNS the code in that folder: give only folders you trust. Repeatable.",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        help="Upper bound of what a run may spend, auxiliary trainings and final ranking included: 90s, 20m, 5000steps, 1000000examples; "
        "or of processor time, 10cpu-min, without the final ranking."
    ),
]
Device = Annotated[str, typer.Option(help="Compute device: auto, cpu, cuda or cuda:N. Only auto may fall back to another.")]
Precision = Annotated[str, typer.Option(help="Matrix products of the training: auto (bf16 on a GPU that has it), fp32 or bf16.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads for computing on the CPU. Default: one per core.")]
Executor = Annotated[str, typer.Option(help="Where runs are made: local, ray on the cluster that RAY_ADDRESS names, or an installed one.")]
Track = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[=FOLDER]",
        help="Tracker that follows each run: tensorboard, mlflow, trackio, wandb (offline), or an installed one. Repeatable.",
    ),
]
Measure = Annotated[
    str | None,
    typer.Option(
        metavar="energy,flops",
        help="Measure what the training consumes: energy by codecarbon, floating-point operations by torch, which slows it down.",
    ),
]
Processes = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Processes that compute figures, at most. Default: one per core. Few records take one.")
]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Runs at a time. Costs are only comparable from --jobs 1; others are marked. "
        "Default: 1, or with --executor ray as many as the cluster has room for.",
    ),
]
ThreadsOfEach = Annotated[
    int | None, typer.Option(min=1, help="Threads of each run for computing on the CPU. Default: the cores divided by --jobs; 1 with ray.")
]
Ties = Annotated[
    str,
    typer.Option(help="Order of events with equal timestamps: source (as stored) or shuffle=SEED, which needs times in seconds."),
]
Protocol = Annotated[
    str | None,
    typer.Option(
        help="Split protocol: for next items leave-one-out, temporal:quantile=0.9, rolling:cut=0 to 3 or cold:share=0.05, each with "
        "users=N to ask N users alone; for bundles session, random or published."
    ),
]


def workplace(data_dir: Path | None = None) -> "Workplace":
    """Folders of the command and its progress on stderr. The only place where the environment is read."""
    from recbench.core.errors import BadRequest
    from recbench.core.progress import ConsoleProgress
    from recbench.running.host.workplace import Workplace

    if data_dir is not None and not data_dir.is_dir():
        raise BadRequest(f"--data-dir {data_dir}: there is no such folder. Give a folder with NAME/interactions.parquet in it.")
    return Workplace.from_environment(data_dir=data_dir, progress=ConsoleProgress(stderr()))


def check_output(path: Path, option: str) -> None:
    """A `BadRequest` where no file can be written at a path, before anything is computed for it."""
    from recbench.core.errors import BadRequest

    if not path.parent.is_dir():
        raise BadRequest(f"{option} {path}: there is no folder {path.parent}. Make it first.")
    if path.is_dir():
        raise BadRequest(f"{option} {path}: this is a folder. Give the name of a file in it.")


def existing_boards(boards: Path | None, plugins: "Sequence[Path] | None" = None) -> Path:
    """The folder of the leaderboards; a `BadRequest` where it is not there."""
    from recbench.core.commands import command_line
    from recbench.core.errors import BadRequest

    where = boards or workplace().boards
    if not where.is_dir():
        named = f"There is no folder {where} with leaderboards here." if boards is None else f"--boards {boards}: there is no such folder."
        remedy = "Say where it is with --boards" if boards is None else "Check the path"
        raise BadRequest(f"{named} {remedy}, or make one: {command_line('leaderboard', 'publish', boards=where, plugin=plugins)}")
    return where


def processes(jobs: int | None) -> int:
    """How many processes may compute figures; a `BadRequest` where the machine has fewer cores than were asked for."""
    from recbench.running.host.machine import cores, refuse_too_many

    refuse_too_many(threads=1, jobs=jobs)
    return jobs or cores()


def names(text: str, option: str) -> tuple[str, ...]:
    """The names in a comma-separated list, each with its options (`demo:n_items=100,seed=3`); an empty list is a `BadRequest`."""
    from recbench.core.errors import BadRequest

    # A comma before `key=` stands between two options of one name: no name begins like that, but a path may hold an equals sign.
    found = tuple(part.strip() for part in re.split(r",(?!\s*\w+\s*=)", text) if part.strip())
    if not found:
        raise BadRequest(f"{option} {text!r} names nothing. Write names separated by commas.")
    return found


def model_cards(plugins: "Sequence[Path] | None" = None) -> "dict[str, ModelCard]":
    """Cards of all models that can be imported, by name; published numbers and the list of baselines come from them."""
    from recbench import registry

    return {row.name: row.plugin.full_card for row in registry.models(tuple(plugins or ())).describe() if row.plugin is not None}


def model_card(name: str, plugins: "Sequence[Path] | None" = None) -> "ModelCard | None":
    """The card of one model, none where it cannot be imported: the others need not be for a table of one run."""
    from recbench import registry
    from recbench.core.errors import RecbenchError

    found = registry.models(tuple(plugins or ()))
    try:
        return found.load(name).full_card
    except RecbenchError:
        return None


def known_of_submissions(
    boards: Path | None, plugins: "Sequence[Path] | None" = None, *, new_split: bool = False, replace: bool = False
) -> "Known":
    """What a submission is held against: the boards, and the cards of the models and data sets that are known here."""
    from recbench import registry
    from recbench.data import dataset_card, dataset_names
    from recbench.reporting import Known

    models = registry.models(tuple(plugins or ()))
    cards = {row.name: row.plugin.full_card for row in models.describe() if row.plugin is not None}
    data = [card for card in map(dataset_card, dataset_names()) if not card.is_synthetic]
    return Known(
        boards,
        cards,
        distributions={name: models.distribution(name) for name in cards},
        titles={card.name: card.title for card in data},
        new_split=new_split,
        replace=replace,
    )


def run_folder(run: str) -> Path:
    """The folder of the run that a user means."""
    from recbench.running.run.folders import find_run

    where = workplace()
    return find_run(run, where.runs, where.boards)
