"""`recbench export` and `recbench push`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recbench.cli.options import Debug, Json, Plugins, Run, run_folder
from recbench.cli.terminal import print_json, print_line, print_note, verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recbench.running.after.export import SharedModel

Ranks = Annotated[
    bool, typer.Option("--ranks", help="Take along what the figures can be computed from again: ranks of the targets by row.")
]
Items = Annotated[
    bool, typer.Option("--items", help="Say that ids and titles of the items of your own data may be handed on, and take them along.")
]
Licence = Annotated[
    str | None, typer.Option("--license", metavar="ID", help="Licence of the weights for the card, such as mit or cc-by-4.0.")
]


@verb
def export(
    run: Run,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder to write.")],
    ranks: Ranks = False,
    items: Items = False,
    licence: Licence = None,
    plugin: Plugins = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Write the trained model of RUN into FOLDER, to be handed on: weights, settings, record and a card with its figures.

    Ids and titles of the items go along only where the terms of the data allow it.

    Example: recbench export last tiger-on-demo
    """
    from recbench.core.byte_sizes import size_text
    from recbench.running.after.export import write_shared_model

    shared = _shared(run, ranks, items, plugin)
    write_shared_model(shared, folder, _card_of(shared, folder.name, licence))
    if as_json:
        print_json({"folder": folder, "run": shared.record.run_id, "bytes": shared.manifest.n_bytes, "files": shared.manifest.files})
        return
    print_line(f"{len(shared.manifest.files)} files, {size_text(shared.manifest.n_bytes)}: {folder}")
    print_line(f"Take it in elsewhere: recbench pull {folder}")


@verb
def push(
    run: Run,
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository of the hub; made where there is none.")],
    private: Annotated[bool, typer.Option("--private", help="Let only the owner see a repository that is made now.")] = False,
    ranks: Ranks = False,
    items: Items = False,
    licence: Licence = None,
    plugin: Plugins = None,
    as_json: Json = False,
    debug: Debug = False,  # noqa: ARG001 (read by `verb`)
) -> None:
    """Put the trained model of RUN on the Hugging Face hub, in one commit: what `recbench export` writes.

    Log in before, with `hf auth login`; recbench reads no token.

    Example: recbench push last me/tiger-on-demo
    """
    from recbench.running.after.hub import checked_name
    from recbench.running.after.hub import push as send

    checked_name(repository)
    shared = _shared(run, ranks, items, plugin)
    address = send(shared, repository, _card_of(shared, repository, licence), private=private)
    if as_json:
        print_json({"repository": repository, "commit": address, "run": shared.record.run_id, "files": shared.manifest.files})
        return
    print_line(f"pushed: {address}")
    print_line(f"Take it in elsewhere: recbench pull {repository}")


def _shared(run: str, ranks: bool, items: bool, plugin: "Sequence[Path] | None") -> "SharedModel":
    """What goes along; words that name places of this machine are told first."""
    from recbench import registry
    from recbench.running.after.export import share_model
    from recbench.running.after.loaded import record_with_model

    folder = run_folder(run)
    found = registry.models(tuple(plugin or ())).load(record_with_model(folder).model.name)
    shared = share_model(folder, found, ranks=ranks, items=items)
    if shared.traces:
        print_note(f"The record says, and whoever gets it reads: {', '.join(shared.traces)}")
    return shared


def _card_of(shared: "SharedModel", address: str, licence: str | None) -> str:
    from recbench.reporting import DataTerms, shared_card

    data = shared.dataset
    return shared_card(
        shared.record,
        shared.card,
        DataTerms() if data is None else DataTerms(data.terms, data.citation),
        address=address,
        has_items=shared.manifest.has_catalogue,
        has_ranks=shared.manifest.has_ranks,
        licence=licence,
    )
