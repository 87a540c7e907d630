"""Data set and split of a run, as stages of the cache."""

from dataclasses import dataclass
from pathlib import Path

from recbench.about import FOLDER
from recbench.core.commands import command_line
from recbench.core.errors import BadRequest, SplitMismatch, UnknownPlugin
from recbench.core.records import RunRecord
from recbench.data import Dataset, DatasetCard, Finding, Split, SplitProtocol, check, locate, make_split, read_dataset
from recbench.data.arrays import open_json
from recbench.data.card import parse_card
from recbench.data.dataset import open_interactions
from recbench.data.plugins import load_reader
from recbench.running.host.workplace import Workplace
from recbench.running.stages.keys import hash_sources, source_hash_of
from recbench.running.stages.store import Stage, StageStore
from recbench.tasks import Task, find_task, task_of_card

SPLIT_STAGE = "split"


@dataclass(frozen=True)
class LoadedSplit:
    """A split and facts about its data set.

    Attributes:
        card: the data set's, as it applied when it was read.
        origin: origin of its files, as a phrase.
        n_interactions: events of the whole data set.
        split: train, validation and test part.
        stages: stages of the data set and of the split.
    """

    card: DatasetCard
    origin: str
    n_interactions: int
    split: Split
    stages: tuple[Stage, ...]

    @property
    def task(self) -> Task:
        """Task of the data set."""
        return find_task(self.card.task)


def load_split(dataset: str, protocol: SplitProtocol, workplace: Workplace, store: StageStore) -> LoadedSplit:
    """The split of a data set, found in the cache or made now."""
    located = locate(dataset, data_dir=workplace.data, home=workplace.home, progress=workplace.progress)
    sources = hash_sources(FOLDER / "data")

    def read(folder: Path) -> None:
        read_dataset(located, workplace.progress).save(folder)

    def cut(folder: Path) -> None:
        make_split(Dataset.open(read_stage.folder), protocol).save(folder)

    # Reader and rule may come from another distribution, whose change must be seen as one of ours is.
    reader = source_hash_of(load_reader(located.reader))
    read_stage = store.get("dataset", {"content": located.content_key(), "source": sources, "reader": reader}, read)
    parts = {"dataset": read_stage.key, "protocol": protocol.identity(), "source": sources, "rule": source_hash_of(protocol.rule.cut)}
    split_stage = store.get(SPLIT_STAGE, parts, cut)
    # Not the whole data set: its strings take as long to read as those of the split, which has the same.
    card = parse_card(open_json(read_stage.folder, "dataset")["card"], str(read_stage.folder))
    n_interactions = len(open_interactions(read_stage.folder, "interactions").item)
    return LoadedSplit(card, located.origin, n_interactions, Split.open(split_stage.folder), (read_stage, split_stage))


def load_split_of(record: RunRecord, dataset: str | None, workplace: Workplace) -> LoadedSplit:
    """The split that a record is about.

    Args:
        record: record of a run.
        dataset: name or path of the data, where the record's name is not enough.
        workplace: folders of data and cache, and the display of progress.

    Raises:
        BadRequest: the name does not lead to the data.
        SplitMismatch: the data here make another one.
    """
    protocol = find_task(record.task).protocol_of(record.protocol)
    try:
        loaded = load_split(dataset or record.dataset.name, protocol, workplace, StageStore(workplace.stages))
    except UnknownPlugin as error:
        if dataset is not None:
            raise
        raise BadRequest(
            f"{record.run_id} was made from data that are called {record.dataset.name!r}. {error} Say where they are now: --dataset PATH"
        ) from None
    here, there = loaded.split.fingerprints.test, record.fingerprints.test
    if here != there:
        raise SplitMismatch(
            f"The test part here ({here[:12]}) is not that of {record.run_id} ({there[:12]}). "
            f"Fetch the same data ({command_line('data', 'check', dataset or record.dataset.name, data_dir=workplace.data)} says what is "
            "here), or say where they are: --dataset PATH"
        )
    return loaded


def checked(dataset: str, workplace: Workplace) -> tuple[Finding, ...]:
    """What holds of a data set, by the usual protocol of its task; nothing is downloaded, and what is wrong is a finding."""
    return check(
        dataset,
        data_dir=workplace.data,
        home=workplace.home,
        progress=workplace.progress,
        protocol_of=lambda card: task_of_card(card).protocol(),
        units_of=lambda card: task_of_card(card).words.units,
    )


def divided(dataset: str, protocol: str | None, ties: str, workplace: Workplace) -> tuple[Task, Dataset, Split]:
    """The task of a data set, its data, and these divided as the options say; read from the source, not from the cache."""
    located = locate(dataset, data_dir=workplace.data, home=workplace.home, progress=workplace.progress)
    read = read_dataset(located, workplace.progress)
    task = task_of_card(read.card)
    return task, read, make_split(read, task.protocol(protocol, ties))
