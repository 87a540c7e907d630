"""A finished run, ready to recommend."""

import csv
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from recbench import registry
from recbench.core.commands import command_line
from recbench.core.config import PluginConfig, explain, setting_names
from recbench.core.containment import contained
from recbench.core.errors import BadData, BadRequest, nearest
from recbench.core.plugin import Catalogue, Plugin
from recbench.core.progress import Progress
from recbench.core.ragged import Histories
from recbench.core.ranking import Queries, Rankings, View
from recbench.core.records import RECORD_FILE, RunRecord, read_record
from recbench.core.shared_model import read_pulled
from recbench.core.visible import listed
from recbench.data import Split
from recbench.running.host.machine import resolve_device
from recbench.running.host.workplace import Workplace
from recbench.running.requests import Recommendation
from recbench.running.run.catalogue import CATALOGUE_FILE, read_catalogue
from recbench.running.run.fit_context import ranked
from recbench.running.run.folders import refuse_changed
from recbench.running.run.guard import GuardedModel
from recbench.running.run.splits import SPLIT_STAGE, load_split_of
from recbench.running.run.training import MODEL_FOLDER
from recbench.running.stages.keys import plugin_source_hash
from recbench.running.stages.store import StageStore
from recbench.tasks import find_task

_FIRST_WITH_SUMS = 3
"""Schema version of the first records that name the model's files."""
log = logging.getLogger(__name__)


def record_with_model(folder: Path) -> RunRecord:
    """The record of a run; a `BadRequest` where its lists were made elsewhere, so that no model can be asked."""
    record = read_record(folder / RECORD_FILE)
    if record.foreign is not None:
        raise BadRequest(f"{record.run_id} holds lists that another toolkit made; there is no model here to ask. Name a run of your own.")
    return record


@dataclass(frozen=True)
class LoadedRun:
    """The trained model of a run with the catalogue it knows.

    Attributes:
        record: record of the run.
        folder: run folder.
        item_ids: (n_items,) the source's ids; row i is item i.
        titles: titles of the items, None where there is none.
    """

    record: RunRecord
    folder: Path
    recommender: GuardedModel = field(repr=False)
    item_ids: Sequence[str] = field(repr=False)
    titles: Sequence[str | None] = field(repr=False)

    @classmethod
    def open(cls, folder: Path, plugin: Plugin, *, device: str = "cpu") -> "LoadedRun":
        """The run in a folder; published records hold no weights and are refused with a sentence.

        Args:
            folder: run folder.
            plugin: its model.
            device: device for a model that can be moved: `auto`, `cpu`, `cuda` or `cuda:N`.
        """
        device = resolve_device(device)
        record = record_with_model(folder)
        if not (folder / MODEL_FOLDER).is_dir():
            folders = [record.model.distribution] if Path(record.model.distribution).is_dir() else []
            again = command_line("reproduce", folder / RECORD_FILE, plugin=folders)
            raise BadRequest(f"{folder} holds a record without its model. Make it again: {again}")
        refuse_damaged(record, folder)
        item_ids, titles = read_catalogue(folder / CATALOGUE_FILE, record.dataset.n_items)
        with contained(f"model {record.model.name!r}", "its settings"):
            try:
                present = record.with_present_config(plugin.card.moved, plugin.card.added)
                config = plugin.config.model_validate(present.config)
            except ValidationError as error:
                raise BadRequest(
                    f"{record.run_id} was made with settings that model {record.model.name!r} does not take any more: "
                    f"{explain(error, setting_names(plugin.config), 'the model')} Make the run again."
                ) from None
        return cls(record, folder, _read_model(plugin, config, record, folder, device), item_ids, titles)

    def recommend(self, history: Sequence[str], k: int = 10, *, view: View | None = None, user_id: str = "") -> list[Recommendation]:
        """The k best items after a history of item ids, oldest first; fewer where the catalogue ends.

        Args:
            history: ids of items.
            k: length of the list.
            view: whether items of the history may stand in it; None: not, if the task has such a view.
            user_id: user id of the source; empty for an unknown user.

        Raises:
            BadRequest: an id the catalogue does not have, or a k below 1.
        """
        if k < 1:
            raise BadRequest(f"--k {k}: at least one item must be asked for.")
        row_of = {item_id: row for row, item_id in enumerate(self.item_ids)}
        for item_id in history:
            if item_id not in row_of:
                name = self.record.dataset.name
                raise BadRequest(
                    f"Data set {name!r} has no item {item_id!r}.{nearest(item_id, row_of)} "
                    f"Use ids of its catalogue, such as {listed(self.item_ids[:3])}: {CATALOGUE_FILE} of the run's folder holds all."
                )
        task = find_task(self.record.task)
        rows = [row_of[item_id] for item_id in history]
        queries = Queries(
            histories=Histories.from_lists([sorted(set(rows)) if task.knows_sets else rows]),
            user=np.array([-1], dtype=np.int32),
            user_ids=np.array([user_id], dtype=object),
            views=(view or task.serving_view,),
        )
        rankings = self.recommender.answers(queries, min(k, len(self.item_ids)), n_items=len(self.item_ids))
        pairs = zip(rankings.items[0, 0].tolist(), rankings.scores[0, 0].tolist(), strict=True)
        return [Recommendation(self.item_ids[item], self.titles[item], score) for item, score in pairs if item >= 0]

    def export(self, path: Path, split: Split, progress: Progress, *, k: int, views: tuple[View, ...]) -> int:
        """Write the lists of all test users as csv (user_id, rank from 1, item_id, score, and view where there are two).

        Returns:
            The number of users.
        """
        names = [(view,) if len(views) > 1 else () for view in views]
        temporary = path.with_name(f".{path.name}.writing")
        try:
            with temporary.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerow(["user_id", "rank", "item_id", "score", *(("view",) if len(views) > 1 else ())])
                for first, rankings in self.lists(split, progress, k=k, views=views):
                    for view, name in zip(views, names, strict=True):
                        index = rankings.views.index(view)
                        lists = zip(rankings.items[index].tolist(), rankings.scores[index].tolist(), strict=True)
                        for row, (items, scores) in enumerate(lists, start=first):
                            user_id = split.user_ids[split.test.user[row]]
                            for place, (item, score) in enumerate(zip(items, scores, strict=True), start=1):
                                if item >= 0:
                                    writer.writerow([user_id, place, self.item_ids[item], repr(score), *name])
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return len(split.test)

    def lists(self, split: Split, progress: Progress, *, k: int, views: tuple[View, ...]) -> Iterator[tuple[int, Rankings]]:
        """Lists of all test queries, in calls of bounded size: (number of the first query, rankings)."""
        queries = split.test.queries(split.user_ids, views)
        return ranked(self.recommender, queries, k, len(self.item_ids), progress, "ranking test users")


def refuse_damaged(record: RunRecord, folder: Path) -> None:
    """Raise a `BadData` unless each file of model and catalogue is what the record says, before any of them is read."""
    if record.schema_version < _FIRST_WITH_SUMS:
        log.warning("%s was made before records kept checksums of models: damage to its files would not be noticed", record.run_id)
        return
    pulled = read_pulled(folder)
    of_model = [part for part in record.files if part.name.startswith(f"{MODEL_FOLDER}/")]
    catalogue = [part for part in record.files if part.name == CATALOGUE_FILE] if pulled is None else [pulled.catalogue]
    files = [*of_model, *catalogue]
    refuse_changed(folder, files)
    named = {part.name for part in files}
    # A loader may look for whatever lies there.
    present = {path.relative_to(folder).as_posix() for path in (folder / MODEL_FOLDER).rglob("*") if not path.is_dir()}
    extra = min(present - named, default=None)
    if extra is not None:
        raise BadData(f"{folder / extra}: the record names no such file of the model. Remove it.")


def _read_model(plugin: Plugin, config: PluginConfig, record: RunRecord, folder: Path, device: str) -> GuardedModel:
    """The model as it was saved, on its device."""
    if plugin_source_hash(plugin.folder) != record.model.source_hash:
        log.warning("the code of model %s changed since %s was made; it may give other results now", plugin.card.name, record.run_id)
    recommender = GuardedModel(plugin, config, Catalogue(record.dataset.n_items, record.dataset.n_users))
    recommender.load(folder / MODEL_FOLDER)
    recommender.to(device)
    return recommender


def split_of(record: RunRecord, dataset: str | None, workplace: Workplace) -> Split:
    """The split of a run: the one in the cache that it was made with, unless `dataset` says where the data are now.

    So the lists of a run on a folder of one's own can be made for as long as the cache keeps its split, whatever the folder is called.

    Raises:
        SplitMismatch: the data here make another split.
        BadRequest: neither cache nor name lead to the data.
    """
    if dataset is None:
        keys = [stage.key for stage in record.stages if stage.name == SPLIT_STAGE]
        stage = StageStore(workplace.stages).finished(SPLIT_STAGE, keys[0]) if keys else None
        split = None if stage is None else Split.open(stage.folder)
        if split is not None and split.fingerprints == record.fingerprints:
            return split
    return load_split_of(record, dataset, workplace).split


def export_lists(
    folder: Path,
    path: Path,
    workplace: Workplace,
    *,
    k: int | None = None,
    seen: str | None = None,
    dataset: str | None = None,
    plugins: Sequence[Path] = (),
) -> int:
    """Write the lists of a run's model for all test users as csv; returns the number of users.

    Args:
        folder: run folder.
        path: the csv file.
        workplace: folders of data and cache, and the display of progress.
        k: length of the lists, which end with the catalogue; None: that of the task.
        seen: whether items of the history may stand in them, as in `--seen`; with both, a column says which list is which. None: the
            task's main view.
        dataset: name or path of the data, where the record's name is not enough.
        plugins: folders of models that are not installed.

    Raises:
        SplitMismatch: the data here make another split than the run's.
    """
    record = record_with_model(folder)
    task = find_task(record.task)
    views = task.views_of(seen or task.main_view)
    run = LoadedRun.open(folder, registry.models(plugins).load(record.model.name))
    split = split_of(record, dataset, workplace)
    return run.export(path, split, workplace.progress, k=min(k or task.list_length, record.dataset.n_items), views=views)
