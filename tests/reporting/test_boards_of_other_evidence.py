"""Runs on one name whose feedback or item vectors differ stand in no table together."""

from typing import Any

import pytest

from recbench.core.errors import SplitMismatch
from recbench.reporting.archive import StoredRun
from recbench.reporting.board import refuse_mixed_splits


def test_other_feedback_under_the_same_name_is_refused(workshop: Any) -> None:
    first, second = (StoredRun.open(workshop.run(name)) for name in ("a", "b"))
    refuse_mixed_splits([first, second])
    for other in ({"feedback": "f" * 64}, {"features": {"image": "e" * 64}}):
        prints = second.record.fingerprints.model_copy(update=other)
        changed = second.with_record(second.record.model_copy(update={"fingerprints": prints}))
        with pytest.raises(SplitMismatch, match="feedback or item vectors differ"):
            refuse_mixed_splits([first, changed])
