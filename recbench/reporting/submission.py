"""Rows that somebody hands in: a folder of records, written by `recbench submit` and checked as what it is, data nobody vouches for.

    SUBMISSION/README.md         for whoever reads the pull request
    SUBMISSION/records/RUN_ID/   record.json, ranks.parquet, exposure.parquet, curve.csv, and tune.json, latency.json where there are
    SUBMISSION/records/shared/   targets-HASH.parquet, items-HASH.parquet

as records lie below BOARDS. A check shows that every figure follows from ranks of the published targets of a known split; that the ranks
are those of the model, nobody can see without training it again.
"""

import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import recbench.evaluation as evaluation
from recbench.about import DISTRIBUTION
from recbench.core.byte_sizes import size_text
from recbench.core.config import by_dotted_name, config_hash
from recbench.core.errors import BadRequest, RecbenchError, VerifyFailed
from recbench.core.file_kinds import fault_of_curve
from recbench.core.file_names import is_run_name
from recbench.core.json_values import scalars
from recbench.core.latency import LATENCY_FILE
from recbench.core.model_card import ModelCard
from recbench.core.records import CURVE_FILE, EXPOSURE_FILE, RANKS_FILE, RECORD_FILE, RECORDS_FOLDER, RunRecord, is_laid_out_as_written
from recbench.core.shared_model import is_pulled
from recbench.core.temporary import own_folder
from recbench.core.tuning import TUNE_LOG
from recbench.core.visible import is_printable, short_repr
from recbench.reporting.archive import Fault, StoredRun, files_to_store, record_folders, unreadable_latencies
from recbench.reporting.badges import FOREIGN
from recbench.reporting.board import refuse_mixed_splits, section_key
from recbench.reporting.markdown import escape
from recbench.reporting.publishing import PublishResult, publish
from recbench.reporting.recompute import compare, measured, search_at_fault
from recbench.reporting.rows import row_key
from recbench.reporting.run_files import ITEMS, SHARED, TARGETS
from recbench.reporting.together import write_together
from recbench.reporting.workers import Workers
from recbench.tasks import find_task

README = "README.md"
_MOST_BYTES = {RECORD_FILE: 1 << 20, CURVE_FILE: 4 << 20, TUNE_LOG: 16 << 20, LATENCY_FILE: 64 << 10, README: 64 << 10}
"""Largest files by name; tables may have the last of these. Published records have a hundredth of it."""
_MOST_TABLE_BYTES, _MOST_IN_ALL, _MOST_RECORDS = 64 << 20, 512 << 20, 200
_MOST_CHARACTERS = 2_000
"""Of one text in a record."""
_MOST_NUMBER = 2**63
"""Of one number in a record; sums of these still are numbers."""
_HASH = re.compile(r"[0-9a-f]{1,64}")
_ALIKE = 0.9
"""Share of equal ranks from which on two models are one too many."""
_SHARED_NAME = re.compile(r"(targets|items)-[0-9a-f]{16}\.parquet")
_OWN_NAMES = {RECORD_FILE, RANKS_FILE, EXPOSURE_FILE, CURVE_FILE, TUNE_LOG, LATENCY_FILE}
_FIRST_SEALED = 3
_AS_WRITTEN = "If the evaluator changed since: recbench leaderboard remeasure --runs FOLDER. Then hand in what `recbench submit` writes."
_CLOCK = timedelta(days=1)
"""How far clocks may be apart."""


@dataclass(frozen=True)
class SubmissionReport:
    """What a check of a submission found.

    Attributes:
        n_records: records that were looked at.
        n_figures: figures computed again from ranks.
        notes: what is no fault and a maintainer should know, in sentences.
        faults: why it cannot be taken in; empty where it can.
    """

    n_records: int
    n_figures: int
    notes: tuple[str, ...]
    faults: tuple[Fault, ...]

    @property
    def counted(self) -> str:
        """How much was looked at, such as `1 record, 347 figures`."""
        return f"{self.n_records} record{'s' if self.n_records != 1 else ''}, {self.n_figures:,} figures"

    def refuse(self, folders: Sequence[Path]) -> None:
        """Raise a `VerifyFailed` with all faults, where there are any."""
        if self.faults:
            named = ", ".join(map(str, folders))
            count = f"{len(self.faults)} fault{'s' if len(self.faults) > 1 else ''}"
            listed = "\n".join(f"  {fault}" for fault in self.faults)
            raise VerifyFailed(f"{named} cannot be taken in, {count}:\n{listed}")


@dataclass(frozen=True)
class Known:
    """What a submission is held against.

    Attributes:
        boards: folder of the leaderboards; None where they are not here, and what hangs on them is not looked at.
        cards: of the models known here, by name.
        distributions: what each of them is installed from, by name.
        titles: of the data sets that have a card and are not generated, by name.
        new_split: True to take records of a split that no published record has.
        replace: True to take records that count in place of a published one, being newer runs of its row and seed.
    """

    boards: Path | None
    cards: Mapping[str, ModelCard]
    distributions: Mapping[str, str]
    titles: Mapping[str, str]
    new_split: bool = False
    replace: bool = False


def write_submission(target: Path, runs: Sequence[Path], known: Known, jobs: int = 1) -> SubmissionReport:
    """Copy the records of runs, with the files that their figures follow from, into a new folder, which is there once it stands a check.

    Args:
        target: folder to write.
        runs: run folders.
        known: what the records are held against.
        jobs: processes at a time, at most.

    Raises:
        BadRequest: a run is somebody else's, or on data that boards do not show; or something is there already.
        BadData: a record or one of its files is damaged.
        VerifyFailed: the check found faults.
    """
    if target.exists():
        raise BadRequest(f"{target} is there already. Remove it, or give another name: --output FOLDER")
    opened = {run.record.run_id: run for run in map(_own, runs)}
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = own_folder(target.parent, f".writing-{target.name}")
    try:
        files: dict[str, bytes | Path] = {README: _readme(list(opened.values())).encode()}
        for run in opened.values():
            files |= files_to_store(run, folder)
        write_together(folder, files)
        report = check_submissions([folder], known, jobs)
        moved = tuple(replace(fault, file=target / fault.file.relative_to(folder)) for fault in report.faults)
        replace(report, faults=moved).refuse([target])
        folder.rename(target)
        return report
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _own(folder: Path) -> StoredRun:
    """A run that its owner may hand in."""
    run = StoredRun.open(folder)
    if is_pulled(folder):
        raise BadRequest(f"{run.record.run_id} was pulled: somebody else trained it, and hands it in. Name a run of your own.")
    if run.record.dataset.is_synthetic:
        raise BadRequest(f"{run.record.run_id} is on {run.record.dataset.name}, which is synthetic; boards show real data only.")
    return run


def _readme(runs: Sequence[StoredRun]) -> str:
    """The rows of a submission for whoever reads the pull request."""
    lines = ["# Records for the leaderboards", "", "| Row | Data set | Seed | Figure | Run |", "| :-- | :-- | --: | :-- | :-- |"]
    for run in sorted(runs, key=lambda run: run.record.run_id):
        record = run.record
        figure = find_task(record.task).headline(record.metrics)
        lines.append(f"| {escape(record.model.row_name)} | {escape(record.dataset.name)} | {record.seed} | {figure} | {record.run_id} |")
    return "\n".join([*lines, "", "Check it: `recbench leaderboard check FOLDER`", ""])


def accept_submissions(folders: Sequence[Path], known: Known, jobs: int = 1) -> tuple[SubmissionReport, PublishResult]:
    """Check submissions, then take their records into the leaderboards and write the pages anew: all or nothing.

    Raises:
        VerifyFailed: with all faults.
    """
    assert known.boards is not None, "records are taken into boards"
    report = check_submissions(folders, known, jobs)
    report.refuse(folders)
    records = [record for folder in folders for record in record_folders(folder)]
    return report, publish(known.boards, records, known.cards, jobs)


def check_submissions(folders: Sequence[Path], known: Known, jobs: int = 1) -> SubmissionReport:
    """Look at everything in some submissions, without trusting any of it, and list what is wrong.

    Nothing in a folder is read before its names, kinds and sizes are seen to be those of a submission.

    Args:
        folders: submissions.
        known: what they are held against.
        jobs: processes at a time, at most.
    """
    faults: list[Fault] = []
    runs: list[StoredRun] = []
    for folder in folders:
        strange = list(_strange_files(folder))
        faults += strange
        if strange:
            continue
        for record_folder in record_folders(folder):
            try:
                runs.append(StoredRun.open(record_folder))
            except RecbenchError as error:
                faults.append(Fault(record_folder / RECORD_FILE, None, str(error)))
    sound = []
    for run in runs:
        wrong = list(_faults_of_names(run, known))
        faults += wrong
        if not wrong:
            sound.append(run)
    published = _published(known, faults)
    notes: list[str] = []
    # Before anything is computed from them: targets of a published split are what the evaluator expects.
    beside = list(_faults_beside(sound, published, known, notes))
    faults += beside
    at_fault = {fault.file for fault in beside}
    fitting = [run for run in sound if run.folder / RECORD_FILE not in at_fault]
    n_figures = 0
    with Workers(jobs, len(fitting)) as workers:
        for number, found in measured(fitting, workers):
            run = fitting[number]
            compared, wrong = compare(run, found, _AS_WRITTEN)
            n_figures += compared
            if not found.damaged and not found.refused:
                wrong += [Fault(run.place(RANKS_FILE), None, f"{why}. No lists give that.") for why in _contradictions(run)]
            faults += wrong if found.damaged else [*wrong, *search_at_fault(run, known.cards)]
    faults += unreadable_latencies(fitting)
    if not runs and not faults:
        faults.append(Fault(folders[0] / RECORDS_FOLDER, None, "there is no record to check. Write one with: recbench submit RUN"))
    return SubmissionReport(len(runs), n_figures, tuple(notes), tuple(faults))


def _contradictions(run: StoredRun) -> list[str]:
    return evaluation.contradictions(run.ranks, run.exposure, run.facts)


def _published(known: Known, faults: list[Fault]) -> list[StoredRun]:
    """The published records; one that cannot be read is a fault of the boards."""
    runs = []
    for folder in record_folders(known.boards) if known.boards is not None else []:
        try:
            runs.append(StoredRun.open(folder))
        except RecbenchError as error:
            faults.append(Fault(folder / RECORD_FILE, None, str(error)))
    return runs


def _strange_files(folder: Path) -> Iterator[Fault]:
    """What a submission cannot hold: links, files that are none, unknown names, too many or too large ones."""
    if folder.is_symlink() or not folder.is_dir():
        yield Fault(folder, None, "this is no folder. Name the one that `recbench submit` wrote.")
        return
    total, n_records = 0, 0
    for path, status in _tree(folder):
        name = path.relative_to(folder).as_posix()
        if stat.S_ISLNK(status.st_mode):
            yield Fault(path, None, "this is a link. Put the file itself there.")
        elif stat.S_ISDIR(status.st_mode):
            n_records += len(Path(name).parts) == 2
            if not _is_folder_of_a_submission(name):
                yield Fault(path, None, "no submission has such a folder. Remove it.")
        elif not stat.S_ISREG(status.st_mode):
            yield Fault(path, None, "this is no file. Remove it.")
        elif not _is_file_of_a_submission(name):
            yield Fault(path, None, "no submission has such a file. Remove it.")
        else:
            most = _MOST_BYTES.get(path.name, _MOST_TABLE_BYTES)
            total += status.st_size
            if status.st_size > most:
                yield Fault(path, None, f"it has {size_text(status.st_size)}, more than {size_text(most)}. No record has such a file.")
            elif fault := _fault_of_content(path):
                yield Fault(path, None, f"{fault}. Hand in what `recbench submit` wrote.")
    if total > _MOST_IN_ALL:
        yield Fault(folder, None, f"it has {size_text(total)}, more than {size_text(_MOST_IN_ALL)}. Hand in fewer runs at a time.")
    if n_records > _MOST_RECORDS + 1:
        yield Fault(folder, None, f"it holds more than {_MOST_RECORDS} records. Hand in fewer runs at a time.")


def _fault_of_content(path: Path) -> str:
    """Why a file of an allowed name and size is not of its kind; empty for a record or a log, whose reader tells."""
    if path.suffix == ".parquet":
        return evaluation.fault_of_numbers(path)
    return fault_of_curve(path) if path.name == CURVE_FILE else ""


def _tree(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything below a folder, in order of names; no link is followed."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        yield Path(entry.path), entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            yield from _tree(Path(entry.path))


def _is_folder_of_a_submission(name: str) -> bool:
    parts = Path(name).parts
    return parts[0] == RECORDS_FOLDER and len(parts) <= 2 and (len(parts) == 1 or is_run_name(parts[1]))


def _is_file_of_a_submission(name: str) -> bool:
    if name == README:
        return True
    parts = Path(name).parts
    if len(parts) != 3 or parts[0] != RECORDS_FOLDER:
        return False
    return _SHARED_NAME.fullmatch(parts[2]) is not None if parts[1] == SHARED else parts[2] in _OWN_NAMES


def _faults_of_names(run: StoredRun, known: Known) -> Iterator[Fault]:
    """Claims of a record about who and what it is that cannot be true, or cannot stand on a board."""
    record, path = run.record, run.folder / RECORD_FILE
    if record.schema_version < _FIRST_SEALED:
        yield Fault(path, None, f"schema {record.schema_version} has no sum of its own content. Run it again with a recbench of today.")
    if record.run_id != run.folder.name:
        yield Fault(path, None, f"the record calls itself {record.run_id!r}, its folder {run.folder.name!r}. Hand in what was written.")
    if f"-{record.model.name}-{record.model.preset}-s{record.seed}-" not in record.run_id:
        yield Fault(path, None, f"its name {record.run_id!r} is not that of model, preset and seed. Hand in what was written.")
    if not is_laid_out_as_written(path.read_bytes()):
        yield Fault(path, None, "its text is not laid out as recbench writes it, such as a key twice. Hand in what was written.")
    names = [part.name for part in record.files]
    for prefix in (RANKS_FILE, EXPOSURE_FILE, TARGETS, ITEMS):
        if sum(name.startswith(prefix) for name in names) != 1:
            yield Fault(path, None, f"it names no file {prefix!r}, or several, to compute its figures from. Hand in what was written.")
    if len(set(names)) < len(names):
        yield Fault(path, None, f"it names the file {max(names, key=names.count)!r} twice. Hand in what was written.")
    odd = next((value for value in scalars(record.model_dump(mode="json")) if not _can_be_shown(value)), None)
    if odd is not None:
        yield Fault(path, None, f"it holds {short_repr(odd)}, which no page can show. Hand in what was written.")
    yield from (Fault(path, None, fault) for fault in _faults_of_model(record, known))
    if record.dataset.name not in known.titles:
        yield Fault(path, None, f"no data set with a card is called {record.dataset.name!r}; boards show real data.")
    elif record.dataset.title != known.titles[record.dataset.name] or record.dataset.is_synthetic:
        yield Fault(path, None, f"what it says of {record.dataset.name} is not what the card says. Run it again with a recbench of today.")
    if record.code.is_dirty:
        yield Fault(path, None, "its code had uncommitted changes: nobody can make it again. Commit them and run it again.")
    if not _is_past(record.started):
        why = "The newest run of a row counts: a time to come, or one not written as recbench does, is refused."
        yield Fault(path, None, f"it says that it started {record.started!r}. {why}")
    try:
        find_task(record.task)
    except RecbenchError as error:
        yield Fault(path, None, str(error))


def _faults_of_model(record: RunRecord, known: Known) -> Iterator[str]:
    """Claims about the model that its card, or common sense, contradicts."""
    model, card = record.model, known.cards.get(record.model.name)
    row = f"{model.name}:{model.preset}"
    if not is_run_name(model.name) or not (model.row_name == row or model.row_name.startswith(f"{row} (")):
        yield f"a row {model.row_name!r} of {row!r} cannot stand on a board. Hand in what was written."
    prints = record.fingerprints
    hashes = [record.config_hash, model.source_hash, prints.train, prints.valid, prints.test, prints.item_text, record.code.commit or "0"]
    odd = next((text for text in hashes if not _HASH.fullmatch(text)), None)
    if odd is not None:
        yield f"it holds {short_repr(odd)} in the place of a hash. Hand in what was written."
    if (record.cost is None) != (record.foreign is not None):
        yield "only lists of another toolkit have no cost. Hand in what was written."
    counted = [record.fit.model_dump(exclude={"chosen"}), record.device.model_dump(), record.cost and record.cost.model_dump()]
    if any(not isinstance(value, str) and value < 0 for value in scalars(counted)):
        yield "a count or cost of it is below 0. Hand in what was written."
    if record.foreign is not None:
        about = (model.family, model.preset, model.row_name, model.is_trivial, record.config, record.budget, record.tuned, record.cost)
        if about != ("unknown", FOREIGN, f"{model.name}:{FOREIGN}", False, {}, None, None, None):
            yield "it holds lists of another toolkit and claims to be a run of this one. Hand in what `recbench import-ranks` wrote."
        if card is not None:
            yield f"it holds lists of another toolkit under the name of recbench's model {model.name!r}. Import them under another."
        return
    if any(separator in model.distribution for separator in "/\\"):
        yield (
            f"its model came from the folder {model.distribution!r}, which nobody else has. Offer it as a distribution "
            "(docs/add-a-model.md), or hand in its lists: recbench import-ranks"
        )
    if card is None:
        if model.is_trivial:
            yield f"no trivial baseline is called {model.name!r}. Hand in what was written."
        if model.distribution in {"recbench", DISTRIBUTION}:
            yield f"recbench has no model {model.name!r}, which is said to come from it. Update recbench, or name its own distribution."
        return
    if model.distribution not in {known.distributions.get(model.name), "recbench"}:
        yield f"the name {model.name!r} belongs to a model of recbench, its model came from {model.distribution!r}. Give it another name."
    if (model.family, model.is_trivial) != (card.family, card.is_trivial):
        yield f"what it says of {model.name} is not what the card of the model says. Run it again with a recbench of today."
    settings = record.with_present_config(card.moved, card.added).config
    if not record.is_flat and not by_dotted_name(record.config).keys() <= by_dotted_name(settings).keys():
        yield f"it holds settings that {model.name} does not have. Hand in what was written."
    if record.config_hash != config_hash(card.name, settings, record.budget, card.moved, card.added):
        yield "its hash of settings is not that of its settings and budget, by which rows are told apart. Hand in what was written."


def _can_be_shown(value: str | float) -> bool:
    """Whether a page can print a text or a number, and add to it."""
    return is_printable(value, _MOST_CHARACTERS) if isinstance(value, str) else abs(value) < _MOST_NUMBER


def _is_past(text: str) -> bool:
    """Whether a text is a time in UTC, in the one form in which times can be told apart as texts, and has been."""
    try:
        started = datetime.fromisoformat(text)
    except ValueError:
        return False
    is_as_written = started.tzinfo == UTC and started.isoformat(timespec="seconds") == text
    return is_as_written and started <= datetime.now(UTC) + _CLOCK


def _faults_beside(runs: Sequence[StoredRun], published: Sequence[StoredRun], known: Known, notes: list[str]) -> Iterator[Fault]:
    """What does not fit beside the published records and the others of the submission; what a maintainer should know joins `notes`."""
    sections: dict[tuple[str, str], list[StoredRun]] = {}
    for run in published:
        sections.setdefault(section_key(run.record), []).append(run)
    # Some file systems take names that differ in capitals for one.
    taken = {run.record.run_id.casefold(): run for run in published}
    for run in sorted(runs, key=lambda run: run.record.run_id):
        path = run.folder / RECORD_FILE
        there = taken.get(run.record.run_id.casefold())
        if there is not None:
            same = "is published already" if there.sha256 == run.sha256 else "is the name of another record"
            yield Fault(path, None, f"{run.record.run_id} {same}. Leave it out.")
            continue
        section = sections.setdefault(section_key(run.record), [])
        told: list[str] = []
        faults = list(_faults_of_copy(run, section, known.cards, told))
        if known.boards is not None:
            faults += _faults_of_split(run, section)
            (told if known.new_split else faults).extend(_first_of_its_split(run, section))
        (told if known.replace else faults).extend(_replacement(run, section))
        yield from (Fault(path, None, fault) for fault in faults)
        if not faults:
            notes += told
            section.append(run)
            taken[run.record.run_id.casefold()] = run


def _faults_of_copy(run: StoredRun, section: Sequence[StoredRun], cards: Mapping[str, ModelCard], notes: list[str]) -> Iterator[str]:
    """Why equal ranks of another record are one too many; what is nearly equal joins `notes`.

    Models without chance give equal ranks for every seed, and on a few hundred bundles two that count alike may agree.
    """
    record = run.record
    for stored in section:
        other, likeness = stored.record, _likeness(run, stored)
        is_other_model = other.model.name != record.model.name
        if likeness == 1 and is_other_model and not {record.model.name, other.model.name} <= cards.keys():
            yield f"its ranks are those of {other.run_id}, which is of another model. One of them is not what it says."
        elif likeness == 1 and row_key(other) == row_key(record) and other.seed == record.seed:
            yield f"its ranks are those of {other.run_id}, the same row and seed: nothing new. Leave it out."
        elif likeness >= _ALIKE and is_other_model:
            notes.append(f"{record.run_id} has {likeness:.1%} of the ranks of {other.run_id}, of another model: ask how it was made.")


def _likeness(one: StoredRun, other: StoredRun) -> float:
    """Of the targets that either list holds, the share that stands in the same place; 0 where tables are damaged or of other targets."""
    try:
        ours, theirs = one.ranks, other.ranks
    except RecbenchError:  # told by name when the figures are computed
        return 0.0
    if len(ours) != len(theirs) or (ours.user != theirs.user).any() or (ours.target != theirs.target).any():
        return 0.0
    n_found = n_equal = 0
    for view in set(ours.views) & set(theirs.views):
        is_found = (ours.rank[view] >= 0) | (theirs.rank[view] >= 0)
        n_found += int(is_found.sum())
        n_equal += int((ours.rank[view] == theirs.rank[view])[is_found].sum())
    return n_equal / n_found if n_found else 0.0


def _first_of_its_split(run: StoredRun, section: Sequence[StoredRun]) -> Iterator[str]:
    """The word that a record needs where nothing says what the targets of its split are."""
    if not section:
        record = run.record
        yield (
            f"no published record is on this split of {record.dataset.name} ({record.protocol.split}), so that nothing says "
            "whether its targets are the right ones. Whoever has the data may take it in with --new-split."
        )


def _replacement(run: StoredRun, section: Sequence[StoredRun]) -> Iterator[str]:
    """The word that a record needs to count in place of a published run of the same row and seed: the newest does."""
    record = run.record
    same = [other.record for other in section if row_key(other.record) == row_key(record) and other.record.seed == record.seed]
    newest = max(same, key=lambda other: other.started, default=None)
    if newest is not None:
        order = "counts in place of" if record.started > newest.started else "is older than, and superseded by,"
        yield f"{record.run_id} {order} {newest.run_id}, of the same row and seed. Whoever wants that may take it in with --replace."


def _faults_of_split(run: StoredRun, section: Sequence[StoredRun]) -> Iterator[str]:
    """Why a record is not of the split that the published records beside it are of."""
    record = run.record
    if not section:
        return
    first = section[-1].record
    for what in ("train", "valid", "test"):
        ours, theirs = getattr(first.fingerprints, what), getattr(record.fingerprints, what)
        if ours != theirs:
            yield f"its {what} part is {theirs[:16]}, that of {first.run_id} on the same data set is {ours[:16]}: it is another split."
            return
    # A page says these once, of whichever row is first.
    if not any(_about_the_data(other.record) == _about_the_data(record) for other in section):
        yield f"its counts of {record.dataset.name} are not those of {first.run_id}. Update recbench and run it again."
    try:
        refuse_mixed_splits([*section, run])
    except RecbenchError as error:
        yield str(error)
    for prefix in (TARGETS, ITEMS):
        if not _has_a_known_table(run, prefix, section):
            yield (
                f"the table {run.record.file(prefix).name} is none of the published records of this split: figures that follow from other "
                "targets say nothing. Update recbench and run it again."
            )


def _has_a_known_table(run: StoredRun, prefix: str, section: Sequence[StoredRun]) -> bool:
    """Whether a table of the split is one of those of published records: the same file, or the same content written by another library."""
    name = run.files.name(prefix)
    by_name = {other.files.name(prefix): other for other in section}
    if name in by_name and by_name[name].files.sums[name] == run.files.sums[name]:
        return True
    try:
        return any(_same_table(run.path(prefix), other.path(prefix)) for other in by_name.values())
    except RecbenchError:  # what is damaged or missing is told by name when the figures are computed
        return True


def _same_table(one: Path, other: Path) -> bool:
    import pyarrow.parquet as pq

    return bool(pq.read_schema(one).equals(pq.read_schema(other)) and pq.read_table(one).equals(pq.read_table(other)))


def _about_the_data(record: RunRecord) -> tuple[object, ...]:
    """Counts of data set and split that follow from no file of a record."""
    data = record.dataset
    return data.n_users, data.n_items, data.n_interactions, data.time, record.targets.n_users_train_only, record.notes
