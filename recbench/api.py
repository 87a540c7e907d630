"""Functions of `import recbench` that do what the commands do; `recbench.frames` reads what they made.

The options are the fields of the requests in `recbench.running.requests`, with the same names and defaults.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from recbench.core.errors import BadRequest, UnknownPlugin
from recbench.core.tabular import Tabular
from recbench.core.tuning import RANDOM
from recbench.running.host.workplace import Workplace
from recbench.running.requests import Cell, CompareRequest, RunOutcome, RunRequest, TuneRequest

if TYPE_CHECKING:
    import pandas as pd

    from recbench.core.model_card import ModelCard
    from recbench.core.plugin import Plugin
    from recbench.evaluation import PairedComparison
    from recbench.reporting import Comparison
    from recbench.running.after.loaded import LoadedRun
    from recbench.running.many.tune import TrialState, TuneOutcome


_One = TypeVar("_One")


@dataclass(frozen=True, eq=False, repr=False)
class CompareOutcome(Tabular):
    """Result of `compare`; `to_frame` gives the metrics of all rows.

    Attributes:
        cells: every model on every data set with every seed, `done` with its folder or `failed` with the reason.
        comparison: the finished ones as rows, seeds merged; None where every cell failed.
    """

    cells: tuple[Cell, ...]
    comparison: "Comparison | None"

    @property
    def tests(self) -> "dict[str, tuple[PairedComparison, ...]]":
        """Per data set the best row against every other, paired by user."""
        return {} if self.comparison is None else self.comparison.tests

    def tests_to_frame(self) -> "pd.DataFrame":
        """The paired tests, a line each, see `Comparison.tests_to_frame`."""
        return self._finished.tests_to_frame()

    def costs_to_frame(self) -> "pd.DataFrame":
        """What each row cost, see `Comparison.costs_to_frame`."""
        return self._finished.costs_to_frame()

    @property
    def _finished(self) -> "Comparison":
        from recbench.reporting import Comparison

        return self.comparison or Comparison(())

    def _headline(self) -> str:
        n_failed = sum(cell.state == "failed" for cell in self.cells)
        rows = "no row" if self.comparison is None else self.comparison._headline()
        return f"{len(self.cells)} cells, {n_failed} failed; {rows}"

    def _lines(self) -> list[dict[str, Any]]:
        return [] if self.comparison is None else self.comparison._lines()


def run(
    model: str,
    dataset: str,
    *,
    preset: str | None = None,
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
    config_file: Path | str | None = None,
    budget: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    seen: str = "both",
    ties: str = "source",
    protocol: str | None = None,
    plugins: Sequence[Path | str] = (),
    track: Sequence[str] = (),
    measure: Sequence[str] = (),
    data_dir: Path | str | None = None,
    jobs: int = 1,
    again: bool = False,
    rerun: Sequence[str] = (),
) -> RunOutcome:
    """Train a model on a data set, rank the full catalogue for every test user, write a record; `recbench run` as a function.

    Args:
        model: plugin name.
        dataset: name of a card, or a path to a card or to a folder with interactions.parquet or .csv.
        preset: named settings; default: the card's for this machine.
        seed: random seed of the run.
        overrides: single settings, over the preset's and the file's.
        config_file: TOML file with settings, over the preset's.
        budget: bound of training and ranking, such as `20m`, `5000steps`, `10cpu-min`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads; default: one per core.
        precision: matrix products of the training: `auto`, `fp32` or `bf16`.
        seen: seen items: kept in the lists (`keep`), filtered out (`unseen`), or `both`.
        ties: order of events with equal times: `source` or `shuffle=SEED`.
        protocol: how the data are divided, such as `temporal:quantile=0.9`; default: that of the data set.
        plugins: folders of models that are not installed. Their code is run.
        track: trackers that follow each run, such as `tensorboard` or `tensorboard=FOLDER`.
        measure: what the training consumes that is measured too: `energy`, `flops`.
        data_dir: folder of ready data sets; default: RECBENCH_DATA.
        jobs: runs that share the machine now, this one included, for the record.
        again: make a new record even where a finished one is there.
        rerun: stages to compute again.

    Raises:
        RecbenchError: with a sentence that says what to do.
    """
    from recbench.running.run.execute import run_request

    request = RunRequest(
        model=model,
        dataset=dataset,
        preset=preset,
        seed=seed,
        overrides=overrides or {},
        config_file=None if config_file is None else Path(config_file),
        budget=budget,
        device=device,
        threads=threads,
        precision=precision,
        seen=seen,
        ties=ties,
        protocol=protocol,
        plugins=_paths(plugins),
        track=_texts("track", track),
        measure=_texts("measure", measure),
        jobs=jobs,
        again=again,
        rerun=_texts("rerun", rerun),
    )
    outcome = run_request(request, workplace_with(data_dir))
    if outcome is None:
        raise BadRequest("This process is not the first of its group; only rank 0 has the record. Read the run folder instead.")
    return outcome


def compare(
    models: Sequence[str],
    datasets: Sequence[str],
    *,
    seeds: int = 1,
    overrides: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    executor: str = "local",
    budget: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    ties: str = "source",
    protocol: str | None = None,
    plugins: Sequence[Path | str] = (),
    track: Sequence[str] = (),
    measure: Sequence[str] = (),
    data_dir: Path | str | None = None,
) -> CompareOutcome:
    """Run models x data sets x seeds, only what is missing, each in its own process; `recbench compare` as a function.

    Args:
        models: each `NAME` or `NAME:PRESET`.
        datasets: names, or paths as for `run`.
        seeds: seeds per cell, from 0.
        overrides: single settings of every model, over the presets'.
        jobs: runs at a time; default: 1, or as many as a cluster has room for.
        executor: where runs are made: `local`, `ray`, or an installed one.
        budget: bound of each run, as for `run`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads of each run; default: the cores divided by `jobs`.
        ties: order of events with equal times: `source` or `shuffle=SEED`.
        protocol: how the data are divided; default: that of the data set.
        plugins: folders of models that are not installed. Their code is run.
        track: trackers that follow each run, such as `tensorboard` or `tensorboard=FOLDER`.
        measure: what the training consumes that is measured too: `energy`, `flops`.
        data_dir: folder of ready data sets; default: RECBENCH_DATA.

    Returns:
        Cells, rows with their metrics, and paired tests. A cell that fails stops no other and raises nothing.

    Raises:
        RecbenchError: the request is impossible as a whole.
    """
    from recbench.reporting import compare_runs
    from recbench.running.many.compare import compare_request

    request = CompareRequest(
        models=_texts("models", models),
        datasets=_texts("datasets", datasets),
        seeds=seeds,
        overrides=overrides or {},
        jobs=jobs,
        executor=executor,
        budget=budget,
        device=device,
        threads=threads,
        ties=ties,
        protocol=protocol,
        plugins=_paths(plugins),
        track=_texts("track", track),
        measure=_texts("measure", measure),
    )
    where = workplace_with(data_dir)
    with where.progress.task("comparing", len(models) * len(datasets) * seeds) as task:
        n_ended = 0

        def show(cells: list[Cell]) -> None:
            nonlocal n_ended
            before, n_ended = n_ended, sum(cell.state in {"done", "failed"} for cell in cells)
            task.advance(n_ended - before)
            task.show("; ".join(f"{cell}: {cell.reason}" for cell in cells if cell.state == "running"))

        cells = compare_request(request, where, show)
    folders = [cell.folder for cell in cells if cell.folder is not None]
    return CompareOutcome(tuple(cells), compare_runs(folders, cards_of(plugins)) if folders else None)


def compare_runs(runs: Sequence[Path | str], *, plugins: Sequence[Path | str] = ()) -> "Comparison":
    """Finished runs side by side, with metrics, paired tests and costs; nothing is run. Seeds of one setting are merged.

    Args:
        runs: run folders, run ids or their unique starts, published records among them.
        plugins: folders of models that are not installed. Their code is run.

    Raises:
        BadRequest: there is no such run, or none is named.
        SplitMismatch: two runs on one data set differ in protocol, order of ties, test part or item text.
    """
    from recbench.reporting import compare_runs as stand_together

    return stand_together([folder_of(run) for run in _several("runs", runs)], cards_of(plugins))


def tune(
    model: str,
    dataset: str,
    *,
    trials: int = 20,
    seed: int = 0,
    preset: str | None = None,
    sampler: str = RANDOM,
    prune: bool = False,
    budget: str | None = None,
    jobs: int | None = None,
    executor: str = "local",
    device: str = "auto",
    threads: int | None = None,
    ties: str = "source",
    protocol: str | None = None,
    plugins: Sequence[Path | str] = (),
    track: Sequence[str] = (),
    data_dir: Path | str | None = None,
) -> "TuneOutcome":
    """Search the settings of a model and take the best by validation; `recbench tune` as a function.

    `run(model, dataset, preset=outcome.log.preset, config_file=outcome.config_file)` runs the best.

    Args:
        model: plugin name; its card declares what may be tuned.
        dataset: name or path, as for `run`.
        trials: settings to try; trial 0 is the preset itself.
        seed: random seed of the draws and of every training.
        preset: preset that the drawn settings override; default: the card's for searches.
        sampler: where settings come from: `random`, `tpe` (from the outcomes of earlier trials, with optuna) or `grid`.
        prune: stop a trial below the median of those before it, at the same validation; with optuna.
        budget: bound of each trial.
        jobs: trials at a time; default: 1, or as many as a cluster has room for.
        executor: where trials are trained: `local`, `ray`, or an installed one.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads of each trial; default: the cores divided by `jobs`.
        ties: order of events with equal times: `source` or `shuffle=SEED`.
        protocol: how the data are divided; default: that of the data set.
        plugins: folders of models that are not installed. Their code is run.
        track: trackers that follow each run, such as `tensorboard` or `tensorboard=FOLDER`.
        data_dir: folder of ready data sets; default: RECBENCH_DATA.

    Raises:
        RecbenchError: with a sentence that says what to do.
    """
    from recbench.running.many.tune import tune_request

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
        plugins=_paths(plugins),
        track=_texts("track", track),
    )
    where = workplace_with(data_dir)
    with where.progress.task("trials", trials) as task:
        n_ended = 0

        def show(states: "list[TrialState]") -> None:
            nonlocal n_ended
            before, n_ended = n_ended, sum(state.has_ended for state in states)
            task.advance(n_ended - before)

        return tune_request(request, where, show)


def load(run: Path | str, *, plugins: Sequence[Path | str] = (), device: str = "cpu") -> "LoadedRun":
    """The trained model of a run: `load("last").recommend(["B00..."], k=10)`.

    Args:
        run: a run folder, a run id or its unique start, or `last`.
        plugins: folders of models that are not installed. Their code is run.
        device: device of the model: `auto`, `cpu`, `cuda` or `cuda:N`. A model that cannot be moved answers on the CPU.

    Raises:
        BadRequest: there is no such run, or it holds no model.
        UnknownPlugin: its model is not installed; the sentence names the folder to pass.
    """
    from recbench.running.after.loaded import LoadedRun, record_with_model

    folder = folder_of(run)
    record = record_with_model(folder)
    return LoadedRun.open(folder, _plugin_of(record.model.name, record.model.distribution, plugins), device=device)


def workplace_with(data_dir: Path | str | None) -> Workplace:
    """Folders as the environment names them, data from `data_dir` where it is given; progress goes to the console or the notebook."""
    from recbench.core.progress import ConsoleProgress

    return Workplace.from_environment(data_dir=None if data_dir is None else Path(data_dir), progress=ConsoleProgress())


def _paths(paths: Sequence[Path | str]) -> tuple[Path, ...]:
    return tuple(Path(path) for path in _several("plugins", paths))


def _texts(option: str, texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(_several(option, texts))


def _several(option: str, values: Sequence[_One]) -> Sequence[_One]:
    """The values of an option that takes several; a single text, whose letters would be taken for them, is refused."""
    if isinstance(values, str | Path):
        raise BadRequest(f"{option}={str(values)!r} is a single one. Give a list: {option}=[{str(values)!r}].")
    return values


def folder_of(run: Path | str) -> Path:
    """Folder of a run as users name it: a folder, a run id or its unique start, or `last`."""
    from recbench.running.run.folders import find_run

    where = Workplace.from_environment()
    return find_run(str(run), where.runs, where.boards)


def cards_of(plugins: Sequence[Path | str]) -> "dict[str, ModelCard]":
    """Cards of all models that can be imported, those of `plugins` among them."""
    from recbench import registry

    return {row.name: row.plugin.full_card for row in registry.models(_paths(plugins)).describe() if row.plugin is not None}


def _plugin_of(name: str, distribution: str, plugins: Sequence[Path | str]) -> "Plugin":
    """The model of a run; an `UnknownPlugin` that names the folder it was in, where that is what has to be said."""
    from recbench import registry

    try:
        return registry.models(_paths(plugins)).load(name)
    except UnknownPlugin:
        if not Path(distribution).is_absolute():
            raise
        raise UnknownPlugin(
            f"Model {name!r} is not installed; the run was made with the folder {distribution}. Pass plugins=[{distribution!r}] in "
            f"Python, --plugin {distribution} on the command line: the code in that folder is then run."
        ) from None
