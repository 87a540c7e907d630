"""The command line. This file only says which command lives where; each is one function in a file of its own.

Nothing heavy is imported here or at the top of any command's file: `recbench --help` answers at once.
"""

import typer

from recbench.cli import list as listing
from recbench.cli.terminal import verb

app = typer.Typer(
    name="recbench",
    help="Which generative recommender is better, by how much, at what cost, under the same rules?",
    epilog="Start here: recbench run --model popularity --dataset demo",
    no_args_is_help=True,
    # Tracebacks are shown on request only, and never with the values of local variables.
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)

_list = typer.Typer(help="List models, data sets or runs.", no_args_is_help=True)
_list.command("models")(verb(listing.models))
_list.command("datasets")(verb(listing.datasets))
_list.command("runs")(verb(listing.runs))
app.add_typer(_list, name="list", rich_help_panel="Look")


def main() -> None:
    """The entry point `recbench`."""
    app()
