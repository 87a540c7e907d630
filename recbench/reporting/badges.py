"""One word about where a row's settings come from, so that nobody takes a tuned model for a published one."""

from recbench.core.model_card import ModelCard
from recbench.core.records import RunRecord
from recbench.reporting.archive import StoredRun
from recbench.reporting.rows import tuned_mark

FOREIGN, PAPER, CPU = "foreign", "paper-config", "cpu"


def badge_of(record: RunRecord, card: ModelCard | None) -> str:
    """`foreign`, `tuned-N` (with the data set where the search was made on another), `paper-config`, `cpu`; empty where none applies.

    `paper-config` is the preset `paper` as the card has it, trained without a bound; without the card nothing is known about that.
    """
    if record.foreign is not None:
        return FOREIGN
    if record.tuned is not None:
        return tuned_mark(record, record.tuned)
    preset = record.model.preset
    if preset == "paper":
        is_as_published = card is not None and record.budget is None and not card.changed_settings(record)
        return PAPER if is_as_published else ""
    return CPU if preset.partition("-")[0] == "cpu" else ""


def badge_of_runs(runs: tuple[StoredRun, ...], card: ModelCard | None) -> str:
    """The badge that all seeds of a row carry; where they differ, each one's. Empty where none has any."""
    badges = dict.fromkeys(badge_of(run.record, card) for run in runs)
    return " / ".join(badge or "no badge" for badge in badges) if any(badges) else ""
