"""The file in which a run folder keeps the run beside the cheap references of its split."""

import logging
from collections.abc import Sequence
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter

from recbench.core.errors import BadData
from recbench.core.records import ReferencePart, RunRecord
from recbench.running.run.folders import refuse_changed

REFERENCES_FILE = "references.json"
"""File beside the record in a run folder. It is not published: a board has rows of the same models."""
_REFERENCES = TypeAdapter(tuple[ReferencePart, ...], config=ConfigDict(defer_build=True))
log = logging.getLogger(__name__)


def write_references(parts: Sequence[ReferencePart], folder: Path) -> None:
    """Write the references beside the record."""
    (folder / REFERENCES_FILE).write_bytes(_REFERENCES.dump_json(tuple(parts), indent=1) + b"\n")


def read_references(folder: Path, record: RunRecord) -> tuple[ReferencePart, ...]:
    """References that `write_references` kept; none for a run folder without them, such as a published record."""
    named = [part for part in record.files if part.name == REFERENCES_FILE]
    if not named or not (folder / REFERENCES_FILE).exists():
        return ()
    try:
        refuse_changed(folder, named)
        return _REFERENCES.validate_json((folder / REFERENCES_FILE).read_bytes())
    except (BadData, ValueError) as error:
        log.warning("the run is shown without its references: %s", error)
        return ()
