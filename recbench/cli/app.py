"""The command line. This file only says which command lives where; each is one function in a file of its own.

Nothing heavy is imported here or at the top of any command's file: `recbench --help` answers at once.
"""

import os
import signal
import sys
from typing import Annotated

import typer

from recbench.about import DISTRIBUTION
from recbench.cli import league
from recbench.cli.cache import add, clean, ls, size
from recbench.cli.codes import import_codes
from recbench.cli.compare import compare
from recbench.cli.data import check, fetch, optimum, shortcuts, stats
from recbench.cli.diff import diff
from recbench.cli.doctor import doctor
from recbench.cli.evaluate import evaluate
from recbench.cli.export import export as export_model
from recbench.cli.export import push
from recbench.cli.import_ranks import import_ranks
from recbench.cli.latency import latency
from recbench.cli.leaderboard import accept, export, publish, remeasure
from recbench.cli.leaderboard import check as check_submissions
from recbench.cli.list import datasets, models, runs
from recbench.cli.plan import plan
from recbench.cli.pull import pull
from recbench.cli.recommend import recommend
from recbench.cli.reproduce import reproduce
from recbench.cli.run import run
from recbench.cli.show import show
from recbench.cli.submit import submit
from recbench.cli.terminal import close_results
from recbench.cli.tune import tune
from recbench.cli.verify import verify

_BENCHMARK, _RESULTS, _SHARING, _MACHINE = "Benchmark", "Results", "Sharing", "Data and machine"
_SETTINGS = {"help_option_names": ["--help", "-h"]}

app = typer.Typer(
    name="recbench",
    help="Which generative recommender is better, by how much, at what cost, under the same rules?",
    epilog="Start here: recbench run --model popularity --dataset demo",
    no_args_is_help=True,
    # Tracebacks are shown on request only, and never with the values of local variables.
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings=_SETTINGS,
)


def _show_version(is_asked: bool) -> None:
    """The answer to `--version`: the package's version and, in a checkout, its commit."""
    if is_asked:
        from recbench.running.host.provenance import code

        typer.echo(f"recbench {code()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and, in a checkout, the commit.")
    ] = False,
) -> None:
    """Options of recbench itself; those of commands stand behind the command's name."""


def _group(name: str, help: str, panel: str, example: str) -> typer.Typer:  # noqa: A002 (typer's word)
    group = typer.Typer(help=f"{help}\n\nExample: recbench {example}", no_args_is_help=True, context_settings=_SETTINGS)
    app.add_typer(group, name=name, rich_help_panel=panel)
    return group


app.command(rich_help_panel=_BENCHMARK)(run)
app.command(rich_help_panel=_BENCHMARK)(compare)
app.command(rich_help_panel=_BENCHMARK)(plan)
app.command(rich_help_panel=_BENCHMARK)(tune)
app.command(rich_help_panel=_BENCHMARK)(reproduce)
app.command(rich_help_panel=_BENCHMARK)(import_ranks)

_league = _group("league", "Run every model for the same processor time, or show what is left.", _BENCHMARK, "league show --class small")
_league.command()(league.show)
_league.command()(league.run)

_list = _group("list", "List models, data sets or runs.", _RESULTS, "list runs")
_list.command()(models)
_list.command()(datasets)
_list.command()(runs)

app.command(rich_help_panel=_RESULTS)(show)
app.command(rich_help_panel=_RESULTS)(diff)
app.command(rich_help_panel=_RESULTS)(recommend)
app.command(rich_help_panel=_RESULTS)(latency)
app.command(rich_help_panel=_RESULTS)(evaluate)

app.command("export", rich_help_panel=_SHARING)(export_model)
app.command(rich_help_panel=_SHARING)(push)
app.command(rich_help_panel=_SHARING)(pull)
app.command(rich_help_panel=_SHARING)(submit)

_leaderboard = _group(
    "leaderboard",
    "Publish runs as leaderboards, take in others' records, export one.",
    _RESULTS,
    "leaderboard publish",
)
_leaderboard.command()(publish)
_leaderboard.command()(export)
_leaderboard.command()(remeasure)
_leaderboard.command("check")(check_submissions)
_leaderboard.command()(accept)

app.command(rich_help_panel=_RESULTS)(verify)

_codes = _group("codes", "Count how often released item codes collide.", _RESULTS, "codes import Beauty.index.json")
_codes.command("import")(import_codes)

_data = _group("data", "Fetch, describe or check a data set.", _MACHINE, "data stats demo")
_data.command()(fetch)
_data.command()(stats)
_data.command()(shortcuts)
_data.command()(check)
_data.command()(optimum)

_cache = _group("cache", "Show, fill or empty the cache of data sets, models and finished stages.", _MACHINE, "cache ls")
_cache.command()(add)
_cache.command()(ls)
_cache.command()(size)
_cache.command()(clean)

app.command(rich_help_panel=_MACHINE)(doctor)


def main() -> None:
    """The entry point `recbench`."""
    # Until a command takes signals over there is nothing to clean up: Ctrl-C ends the process without a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _share_the_machine()
    if _runs_foreign_code(sys.argv[1:]):
        from recbench.running.upkeep.supervision import supervised

        supervised(_command)
    _command()


def _command() -> None:
    """Do what the command line says. Nothing reaches stdout after that, whatever a plugin has left to be done at exit."""
    try:
        app()
    finally:
        close_results()


def _share_the_machine() -> None:
    """Let OpenMP's threads sleep soon while they wait for each other, unless the user has said how they should wait.

    They spin for milliseconds by default. On a machine that does something else, too, the thread that is waited for may not run
    in that time: beside four busy loops on two cores a step of SASRec took 1.8 s instead of 0.2 s, one of GRAM 2.6 s instead of 0.4 s.
    The library reads the variable once, when torch loads it, and so do the processes that this one starts.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")


def _runs_foreign_code(words: list[str]) -> bool:
    """Whether a command line gives a folder of a plugin, or names a model of another distribution than recbench."""
    if any(word.partition("=")[0] == "--plugin" for word in words):
        return True
    named = {words[place + 1] for place, word in enumerate(words[:-1]) if word in {"-m", "--model"}}
    named |= {word.partition("=")[2] for word in words if word.startswith("--model=")}
    if not named:
        return False
    from importlib.metadata import entry_points

    return any(
        entry.name in named and entry.dist is not None and entry.dist.name != DISTRIBUTION
        for entry in entry_points(group="recbench.models")
    )
