"""Rules by which tasks divide their data. What divides is imported when data are divided: a record only needs a rule's name and options."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from recbench.data.protocol import SplitRule

if TYPE_CHECKING:
    from recbench.data.dataset import Dataset
    from recbench.data.parts import Parts

_EVENTS_NEEDED = "Users need at least 3 events, and a temporal cut events on both sides."
_COLD_NEEDED = "Users need an event before one with a drawn item, and at least ten items must be there."
_SETS_NEEDED = "At least ten bundles of 2 items are needed."


def _leave_one_out(dataset: "Dataset", options: Mapping[str, Any]) -> "Parts":
    from recbench.data import time_splits

    return time_splits.leave_one_out(dataset, options)


def _temporal(dataset: "Dataset", options: Mapping[str, Any]) -> "Parts":
    from recbench.data import time_splits

    return time_splits.temporal(dataset, options)


def _rolling(dataset: "Dataset", options: Mapping[str, Any]) -> "Parts":
    from recbench.data import time_splits

    return time_splits.rolling(dataset, options)


def _check_rolling(options: Mapping[str, Any]) -> None:
    from recbench.data import time_splits

    time_splits.check_rolling(options)


def _cold(dataset: "Dataset", options: Mapping[str, Any]) -> "Parts":
    from recbench.data import cold_split

    return cold_split.cold(dataset, options)


def _check_cold(options: Mapping[str, Any]) -> None:
    from recbench.data import cold_split

    cold_split.check_cold(options)


def _check_temporal(options: Mapping[str, Any]) -> None:
    from recbench.data import time_splits

    time_splits.check_temporal(options)


def _by_session(dataset: "Dataset", options: Mapping[str, Any]) -> "Parts":
    from recbench.data import set_splits

    return set_splits.by_group(dataset, options)


def _random(dataset: "Dataset", options: Mapping[str, Any]) -> "Parts":
    from recbench.data import set_splits

    return set_splits.random(dataset, options)


def _published(dataset: "Dataset", options: Mapping[str, Any]) -> "Parts":
    from recbench.data import set_splits

    return set_splits.published(dataset, options)


LEAVE_ONE_OUT = SplitRule("leave-one-out", _leave_one_out, _EVENTS_NEEDED, may_ask_fewer=True)
"""Each user's last event is the test target, the last but one the validation target."""

TEMPORAL = SplitRule(
    "temporal",
    _temporal,
    _EVENTS_NEEDED,
    defaults={"quantile": 0.9, "targets": "last"},
    check=_check_temporal,
    may_ask_fewer=True,
    needs_seconds="there is no global time to cut at. Use --protocol leave-one-out.",
)
"""All users are cut at one time, `quantile` of all event times. `targets`: each user's `last` event after the cut, each `successive` event
after it in a query of its own, or `all` of them as a set."""

ROLLING = SplitRule(
    "rolling",
    _rolling,
    _EVENTS_NEEDED,
    defaults={"cut": 0, "targets": "last"},
    check=_check_rolling,
    seed_option="cut",
    may_ask_fewer=True,
    needs_seconds="there is no global time to cut at. Use --protocol leave-one-out.",
)
"""As TEMPORAL, at the cut `cut` of four: models are trained again at each, and boards take the mean over them."""

COLD = SplitRule(
    "cold",
    _cold,
    _COLD_NEEDED,
    defaults={"share": 0.05, "seed": 0},
    check=_check_cold,
    seed_option="seed",
    may_ask_fewer=True,
)
"""Items that no train part holds are asked for: `share` of the items, drawn by popularity alike, and as many others for validation."""

BY_SESSION = SplitRule("session", _by_session, _SETS_NEEDED, defaults={"seed": 0}, seed_option="seed")
"""Bundles of one session stand in one part; of the sessions 80 % are for training, 10 % each for validation and test."""

RANDOM = SplitRule("random", _random, _SETS_NEEDED, defaults={"seed": 0}, seed_option="seed")
"""80 % of the bundles are for training, 10 % each for validation and test. Near-duplicates may stand in two parts."""

PUBLISHED = SplitRule("published", _published, "The published files name no query.")
"""Parts and shown items as the source has them; nothing is left out."""
