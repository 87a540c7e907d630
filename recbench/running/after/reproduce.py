"""Repeating a run and comparing it with its record."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import recbench.evaluation as evaluation
from recbench import registry
from recbench.core.errors import BadRequest
from recbench.core.ranking import BOTH
from recbench.core.records import RECORD_FILE, CodePart, RunRecord, read_record
from recbench.core.tuning import TUNE_LOG
from recbench.running.after.evaluate import Difference, metric_differences
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunOutcome, RunRequest
from recbench.running.run.execute import run_request
from recbench.running.run.folders import refuse_changed
from recbench.running.run.ranking import RANKING_STAGE
from recbench.running.run.splits import load_split_of
from recbench.running.run.training import training_stage


@dataclass(frozen=True)
class Reproduction:
    """Result of a repetition.

    Attributes:
        record: the one to repeat.
        outcome: result of the new run.
        differences: every metric, in the order of the record.
        n_ranks: (user, target, view) triples.
        n_ranks_changed: number of ranks that differ now.
    """

    record: RunRecord
    outcome: RunOutcome
    differences: tuple[Difference, ...]
    n_ranks: int
    n_ranks_changed: int

    @property
    def code_changes(self) -> tuple[str, ...]:
        """Changes of the code since the record, each as a phrase; empty where nothing is known to differ."""
        then, now = self.record, self.outcome.record
        found = []
        if _differs(then.code, now.code):
            found.append(f"recbench was {then.code} and is {now.code}")
        if then.model.source_hash != now.model.source_hash:
            found.append(
                f"the sources of model {then.model.name!r} were {then.model.source_hash[:12]} and are {now.model.source_hash[:12]}"
            )
        return tuple(found)

    @property
    def is_exact(self) -> bool:
        """True where every target has the same rank as before."""
        return self.n_ranks_changed == 0


def _differs(then: CodePart, now: CodePart) -> bool:
    """Tell whether two versions of recbench differ, or may: uncommitted changes can be any."""
    if then.version != now.version or then.is_dirty or now.is_dirty:
        return True
    return then.commit is not None and now.commit is not None and then.commit != now.commit


def request_of(record: RunRecord, folder: Path, dataset: str | None = None, plugins: Sequence[Path] = ()) -> RunRequest:
    """The request that made the record in a folder. Its settings override the preset, so that later changes of the preset do no harm."""
    card = registry.models(plugins).load(record.model.name).card
    protocol = record.protocol
    options = ",".join(f"{key}={value}" for key, value in protocol.split_options.items())
    return RunRequest(
        model=record.model.name,
        dataset=dataset or record.dataset.name,
        preset=record.model.preset,
        seed=record.seed,
        tune_log=folder / TUNE_LOG if record.tuned is not None else None,
        overrides=record.with_present_config(card.moved, card.added).config,
        budget=record.budget,
        device=record.device.type,
        precision=record.device.precision,
        threads=record.device.threads,
        seen=BOTH if len(protocol.views) > 1 else protocol.views[0],
        ties=protocol.ties,
        protocol=protocol.split + (f":{options}" if options else ""),
        plugins=tuple(plugins),
        again=True,
        rerun=(training_stage(record.model.name), RANKING_STAGE),
    )


def reproduce(record_path: Path, workplace: Workplace, *, dataset: str | None = None, plugins: Sequence[Path] = ()) -> Reproduction | None:
    """Run a record's request again, training included, and compare every rank; None on every rank but 0 under torchrun.

    Args:
        record_path: a record file or a run folder.
        dataset: name or path of the data, where the record's name is not enough.
        plugins: folders of models that are not installed.

    Raises:
        SplitMismatch: the data of this machine make another split.
    """
    folder = record_path if record_path.is_dir() else record_path.parent
    record = read_record(folder / RECORD_FILE)
    if record.foreign is not None:
        raise BadRequest(
            f"{record.run_id} holds lists that another toolkit made; nothing here can make them again. "
            f"With the file {record.foreign.file} they can be measured again: recbench import-ranks"
        )
    # Before the training, not after it: other data would be other targets, and damaged ranks nothing to compare with.
    ranks = record.file("ranks")
    refuse_changed(folder, [ranks])
    load_split_of(record, dataset, workplace)
    outcome = run_request(request_of(record, folder, dataset, plugins), workplace, command=("recbench", "reproduce", record.run_id))
    if outcome is None:
        return None
    new = outcome.record
    old_ranks = evaluation.read_ranks(folder / ranks.name)
    new_ranks = evaluation.read_ranks(outcome.folder / new.file("ranks").name)
    changed = sum(int((old_ranks.rank[view] != new_ranks.rank[view]).sum()) for view in old_ranks.views)
    return Reproduction(record, outcome, metric_differences(record, new.metrics), len(old_ranks) * len(old_ranks.views), changed)
