"""Functions of `import recbench`: commands of the command line for Python."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbench.core.errors import BadRequest
from recbench.running.host.workplace import Workplace
from recbench.running.requests import Cell, CompareRequest, RunOutcome, RunRequest

if TYPE_CHECKING:
    from recbench.running.after.loaded import LoadedRun


def run(
    model: str,
    dataset: str,
    *,
    preset: str | None = None,
    seed: int = 0,
    protocol: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    budget: str | None = None,
    device: str = "auto",
    data_dir: Path | str | None = None,
    plugins: Sequence[Path | str] = (),
    again: bool = False,
) -> RunOutcome:
    """Train a model on a data set, rank the full catalogue for every test user, write a record; `recbench run` as a function.

    Args:
        model: plugin name.
        dataset: name of a card, or a path to a card or to a folder with interactions.parquet or .csv.
        preset: named settings; default: the card's for this machine.
        seed: random seed of the run.
        protocol: how the data are divided, such as `temporal:quantile=0.9`; default: that of the data set.
        overrides: single settings, over the preset's.
        budget: bound of training and ranking, such as `20m`, `5000steps`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        data_dir: folder of ready data sets; default: RECBENCH_DATA.
        plugins: folders of models that are not installed.
        again: make a new record even where a finished one is there.

    Raises:
        RecbenchError: with a sentence that says what to do.
    """
    from recbench.core.progress import ConsoleProgress
    from recbench.running.run.execute import run_request

    request = RunRequest(
        model=model,
        dataset=dataset,
        preset=preset,
        seed=seed,
        protocol=protocol,
        overrides=overrides or {},
        budget=budget,
        device=device,
        plugins=tuple(Path(path) for path in plugins),
        again=again,
    )
    workplace = Workplace.from_environment(data_dir=None if data_dir is None else Path(data_dir), progress=ConsoleProgress())
    outcome = run_request(request, workplace)
    if outcome is None:
        raise BadRequest("This process is not the first of its group; only rank 0 has the record. Read the run folder instead.")
    return outcome


def load(run: Path | str, *, plugins: Sequence[Path | str] = (), device: str = "cpu") -> "LoadedRun":
    """The trained model of a run: `load("last").recommend(["B00..."], k=10)`.

    Args:
        run: a run folder, a run id or its unique start, or `last`.
        plugins: folders of models that are not installed.
        device: device of the model: `auto`, `cpu`, `cuda` or `cuda:N`. A model that cannot be moved answers on the CPU.
    """
    from recbench import registry
    from recbench.running.after.loaded import LoadedRun, record_with_model
    from recbench.running.run.folders import find_run

    workplace = Workplace.from_environment()
    folder = find_run(str(run), workplace.runs, workplace.boards)
    models = registry.models(tuple(Path(path) for path in plugins))
    return LoadedRun.open(folder, models.load(record_with_model(folder).model.name), device=device)


def compare(
    models: Sequence[str],
    datasets: Sequence[str],
    *,
    seeds: int = 1,
    protocol: str | None = None,
    jobs: int | None = None,
    executor: str = "local",
    budget: str | None = None,
) -> list[Cell]:
    """Run models x data sets x seeds, only what is missing, each in its own process; `recbench compare` as a function."""
    from recbench.running.many.compare import compare_request

    request = CompareRequest(tuple(models), tuple(datasets), seeds=seeds, protocol=protocol, jobs=jobs, executor=executor, budget=budget)
    return compare_request(request, Workplace.from_environment(), lambda _cells: None)
