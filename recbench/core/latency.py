"""How long a trained model takes to answer: what `recbench latency` measures and what stands in `latency.json`.

The file lies in the folder of a run, beside the record, which is never edited. It is no part of the record: another machine measures
other times of the same model.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, ValidationError

from recbench.core.config import explain
from recbench.core.errors import BadData
from recbench.core.ranking import View

LATENCY_FILE = "latency.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class BatchLatency(_Part):
    """Calls with a fixed number of users."""

    batch: PositiveInt
    """Users of a call."""
    n_calls: PositiveInt
    """Number of timed calls."""
    users_per_s: PositiveFloat
    """Throughput of these calls."""
    p50_ms: PositiveFloat | None
    """Percentiles of the time of a call; None where too few calls were timed to tell."""
    p95_ms: PositiveFloat | None
    p99_ms: PositiveFloat | None


class Latency(_Part):
    """A trained model at work on one machine."""

    schema_version: Literal[1] = 1
    run_id: str
    row_name: str
    dataset: str
    """Names of the run, its row and its data set."""
    measured: datetime
    """When."""
    code: str
    """Version and commit of recbench."""
    machine: str
    """Device and threads."""
    k: PositiveInt
    """Length of the lists."""
    view: View
    n_users: PositiveInt
    """Test users that were drawn for the calls."""
    batches: tuple[BatchLatency, ...]
    """Figures of each batch size, in the order of the request."""

    def of(self, batch: int) -> BatchLatency | None:
        """Figures of one batch size; None where it was not asked for."""
        return next((line for line in self.batches if line.batch == batch), None)

    def to_json(self) -> str:
        """The text of the file."""
        return self.model_dump_json(indent=1) + "\n"


def read_latency(path: Path, run_id: str) -> Latency | None:
    """The figures in a file; None where there is none. A damaged file, or another run's, is a `BadData`."""
    mend = f"Measure again by `recbench latency {run_id} --save`, or remove the file."
    try:
        found = Latency.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror}. {mend}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadData(f"{path}: not valid JSON: {error}. {mend}") from None
    except ValidationError as error:
        raise BadData(f"{explain(error, list(Latency.model_fields), str(path))} {mend}") from None
    if found.run_id != run_id:
        raise BadData(f"{path}: these are the times of run {found.run_id!r}, not of {run_id!r}. {mend}")
    return found
