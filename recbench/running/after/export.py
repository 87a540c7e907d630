"""A trained model as a folder that anybody can take in, or as a commit of a hub: which of its files go along, and which may."""

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recbench.core.errors import BadData, BadRequest
from recbench.core.json_values import scalars
from recbench.core.model_card import ModelCard
from recbench.core.plugin import Plugin
from recbench.core.records import RECORD_FILE, FilePart, RunRecord
from recbench.core.shared_model import (
    ALWAYS,
    CARD_FILE,
    EVIDENCE,
    MANIFEST_FILE,
    MODEL,
    Manifest,
    SharedFile,
    is_pulled,
    may_stand_in_a_shared_model,
)
from recbench.core.temporary import own_folder
from recbench.data import DatasetCard, dataset_card, dataset_names
from recbench.running.after.loaded import record_with_model, refuse_damaged
from recbench.running.run.catalogue import CATALOGUE_FILE, ids_digest, read_catalogue
from recbench.running.run.folders import refuse_changed

_TABLES_OF_THE_SPLIT = ("targets-", "items-")
_FIRST_WITH_SUMS = 3
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SharedModel:
    """A trained model, ready to leave.

    Attributes:
        record: of its run.
        card: of the model.
        dataset: card of the data; None where no installed card has that name.
        manifest: what goes along.
        files: where each file of the manifest lies, by its name in the folder.
    """

    record: RunRecord
    card: ModelCard
    dataset: DatasetCard | None
    manifest: Manifest
    files: Mapping[str, Path]

    @property
    def traces(self) -> list[str]:
        """Words of the record that name a place of this machine: whoever reads the record sees them."""
        words = [*self.record.command, self.record.model.distribution]
        places = {word for word in words if os.sep in word and not word.startswith("-")}
        # Names of the hub have a separator too.
        return sorted(places | {value for value in scalars(self.record.config) if isinstance(value, str) and Path(value).is_absolute()})


def share_model(folder: Path, plugin: Plugin, *, ranks: bool = False, items: bool = False) -> SharedModel:
    """What of a run goes along, where all of it may.

    Args:
        folder: run folder.
        plugin: its model.
        ranks: True to take the files along that the figures can be computed from again.
        items: True to say that ids and titles of the items may be handed on, where no card of the data says so.

    Raises:
        BadRequest: there is no model, it is somebody else's, or the terms of the data keep what its files hold.
        BadData: a file of the run is not what its record says.
    """
    record = record_with_model(folder)
    if is_pulled(folder):
        raise BadRequest(f"{record.run_id} was pulled: somebody else trained it. Share a run of your own, or name their repository.")
    if record.schema_version < _FIRST_WITH_SUMS or not (folder / MODEL).is_dir():
        raise BadRequest(f"{folder} holds a record without its model. Make it again: recbench reproduce {folder / RECORD_FILE}")
    refuse_damaged(record, folder)
    dataset = dataset_card(record.dataset.name) if record.dataset.name.partition(":")[0] in dataset_names() else None
    may_share_items = _may_share_items(record, dataset, items)
    of_model = [part for part in record.files if part.name.startswith(MODEL)]
    odd = next((part.name for part in of_model if not may_stand_in_a_shared_model(part.name)), None)
    if odd is not None:
        raise BadRequest(f"{folder / odd} cannot be shared: its kind may hold more than numbers. Let `save` write safetensors or JSON.")
    item_ids, titles = read_catalogue(folder / CATALOGUE_FILE, record.dataset.n_items)
    if not may_share_items:
        remedy = _remedy(record, dataset)
        if plugin.card.saves_text:
            raise BadRequest(f"{record.model.name} saves words of the items' texts with its weights. {remedy}")
        _refuse_words(folder, of_model, {*item_ids, *filter(None, titles)}, remedy)
    wanted = [name for name in ALWAYS if (folder / name).is_file()] + [part.name for part in of_model]
    if may_share_items:
        wanted.append(CATALOGUE_FILE)
    if ranks:
        evidence = [part for part in record.files if part.name in EVIDENCE or part.name.startswith(_TABLES_OF_THE_SPLIT)]
        refuse_changed(folder, evidence)
        wanted += [part.name for part in evidence]
    files = {name: folder / name for name in wanted}
    entries = tuple(SharedFile.of(path, name) for name, path in files.items())
    for entry in entries:
        entry.refuse_other(files[entry.name])
    manifest = Manifest(run_id=record.run_id, item_ids=ids_digest(item_ids), files=entries)
    return SharedModel(record, plugin.card, dataset, manifest, files)


def write_shared_model(shared: SharedModel, target: Path, readme: str) -> None:
    """Write a model, its manifest and its card into a new folder, in one step.

    Raises:
        BadRequest: something is there already.
    """
    if target.exists():
        raise BadRequest(f"{target} is there already. Remove it or give another name.")
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = own_folder(target.parent, f".writing-{target.name}")
    try:
        for name, path in shared.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            # Not a link: whoever edits what leaves must not edit the run.
            shutil.copyfile(path, folder / name)
        (folder / CARD_FILE).write_text(readme, encoding="utf-8")
        (folder / MANIFEST_FILE).write_text(shared.manifest.to_json(), encoding="utf-8")
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _may_share_items(record: RunRecord, dataset: DatasetCard | None, said_so: bool) -> bool:
    """Whether ids and titles of the items go along; a `BadRequest` where somebody says so and the card of the data does not."""
    if dataset is None:
        return said_so
    if said_so and not dataset.may_share_items:
        raise BadRequest(f"--items: the terms of {record.dataset.name} do not let ids and texts of items be handed on: {dataset.terms}")
    return dataset.may_share_items


def _remedy(record: RunRecord, dataset: DatasetCard | None) -> str:
    """Why item texts stay here, and what to do."""
    name = record.dataset.name
    if dataset is None:
        return f"No card says whether texts of {name} may be handed on. If they may, say so: --items"
    return f"The terms of {name} do not let texts be handed on: {dataset.terms} Share the figures alone: recbench submit {record.run_id}"


def _refuse_words(folder: Path, files: Sequence[FilePart], words: set[str], remedy: str) -> None:
    """Raise a `BadRequest` where a file of the model holds an id or a title as text.

    A number is a row as well as an id, and is not looked for.
    """
    telling = {word.encode() for word in words if not word.isdecimal()}
    for part in files:
        path = folder / part.name
        found = next((word for word in _texts_in(path) if word in telling), None)
        if found is not None or _holds_strings(path):
            what = f"the text {found.decode()!r}" if found is not None else "a column of text"
            raise BadRequest(f"{path} holds {what} of the data. {remedy}")


def _texts_in(path: Path) -> set[bytes]:
    """What could be a text in a file: texts and keys in JSON and in the header of tensors, lines and fields elsewhere."""
    if path.suffix in {".safetensors", ".json"}:
        with path.open("rb") as stream:
            content = stream.read(int.from_bytes(stream.read(8), "little")) if path.suffix == ".safetensors" else stream.read()
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            raise BadData(f"{path} cannot be read as what its name says. Make the run again.") from None
        return {text.encode("utf-8", "surrogatepass") for text in scalars(value) if isinstance(text, str)}
    return (
        {field.strip() for line in path.read_bytes().splitlines() for field in (line, *line.split(b"\t"))}
        if path.suffix == ".txt"
        else set()
    )


def _holds_strings(path: Path) -> bool:
    """Whether a table has a column of texts, such as the brands and categories of the items, or an array is one of texts."""
    if path.suffix == ".npy":
        import numpy as np

        return bool(np.load(path, mmap_mode="r", allow_pickle=False).dtype.kind == "U")
    if path.suffix != ".parquet":
        return False
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise BadData(f"{path} cannot be read: {error}. Make the run again.") from None
    return any(_is_text(kind) for kind in schema.types)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_is_text(kind.field(place).type) for place in range(kind.num_fields))
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
