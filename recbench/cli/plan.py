"""`recbench plan`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recbench.cli.options import Budget, DataDir, Debug, Device, Json, Plugins, Protocol, Ties, workplace
from recbench.cli.terminal import print_json, print_line, stdout, verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from recbench.running.after.estimate import Estimate, PastError


@verb
def plan(
    model: Annotated[str, typer.Option("--model", "-m", help="Name of a model; see `recbench list models`.")],
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Name of a data set, or path of a card or of a folder of data.")],
    preset: Annotated[str | None, typer.Option(help="Named settings from the model's card. Default: the card's for this machine.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="One setting, as key=value. Repeatable. Wins over --config.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings. Wins over the preset.")] = None,
    budget: Budget = None,
    device: Device = "auto",
    seen: Annotated[str, typer.Option(help="Views to rank: keep, unseen or both; lists of two views take twice the room.")] = "both",
    ties: Ties = "source",
    protocol: Protocol = None,
    plugin: Plugins = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Estimate time, memory and disk of a run before it starts, from past records here and on the leaderboards.

    It says which records the figures rest on and how far the same rule was off on past records, each predicted from the others.

    Example: recbench plan --model sasrec --preset tuned --dataset toys
    """
    from rich.table import Table

    from recbench.core.byte_sizes import size_text
    from recbench.core.config import parse_assignment
    from recbench.core.durations import duration
    from recbench.running.after.estimate import RULES, make_plan
    from recbench.running.requests import PlanRequest
    from recbench.tasks import task_of

    request = PlanRequest(
        model=model,
        dataset=dataset,
        preset=preset,
        config_file=config,
        overrides=dict(parse_assignment(text) for text in overrides or ()),
        budget=budget,
        device=device,
        seen=seen,
        ties=ties,
        protocol=protocol,
        plugins=tuple(plugin or ()),
    )
    found = make_plan(request, workplace(data_dir))
    if as_json:
        print_json(found)
        return
    sizes = found.sizes
    print_line(f"{found.row_name} on {found.dataset}, {found.device}")
    units = task_of(dataset).words.units
    print_line(f"{sizes.n_users:,} {units}, {sizes.n_items:,} items, {sizes.n_interactions:,} interactions (from {sizes.source})")
    if found.rule is None:
        print_line("There is nothing to go by.")
    else:
        table = Table("", "estimate", "range", box=None, header_style="bold")
        for name, estimate, text in (
            ("training", found.train_s, duration),
            ("ranking", found.rank_s, duration),
            ("in all", found.total_s, duration),
            ("memory", found.memory_bytes, size_text),
        ):
            table.add_row(name, *_cells(estimate, text))
        table.add_row("disk", size_text(found.disk_bytes or 0), "from sizes, not measured")
        stdout().print(table)
        print_line(f"Rests on {RULES[found.rule]}: {', '.join(found.basis)}")
        print_line(f"Time: {_past(found.time_error)}")
        print_line(f"Memory: {_past(found.memory_error)}")
    for note in found.notes:
        print_line(note)


def _cells(estimate: "Estimate | None", text: "Callable[[float], str]") -> tuple[str, str]:
    if estimate is None:
        return "–", ""
    if estimate.low is None or estimate.high is None:
        return text(estimate.value), "no past to learn it from"
    return text(estimate.value), f"{text(estimate.low)} to {text(estimate.high)}"


def _past(error: "PastError | None") -> str:
    """How the rule did on past records, in a sentence."""
    if error is None:
        return "no past record can be predicted from others by this rule; nobody knows how good the figure is."
    each = "each from the others" if error.n > 1 else "from the others"
    return (
        f"this rule predicted {error.n} past records of {error.of}, {each}: off by a factor of {error.median:.2f} in the median, "
        f"{error.worst:.2f} at worst; the range is what four of five kept within."
    )
