"""Items without a past: some items are kept out of training, and these are what is asked for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import BadConfig
from recbench.core.interactions import Interactions, StringArray
from recbench.core.ragged import LongArray
from recbench.data.dataset import Dataset, Notes
from recbench.data.id_hashes import id_hashes
from recbench.data.parts import Parts, SplitPart
from recbench.data.time_splits import one_target

_STRATA = 10
_MOST = 0.4


def cold(dataset: Dataset, options: Mapping[str, Any]) -> Parts:
    """The last event with a drawn item is a user's target; whatever comes after it is in no part.

    `share` of the items are drawn for the test and as many others for validation, of every tenth of the items by popularity alike. The
    train part holds neither, and of a user who is asked it ends before the first target. Histories hold known items alone.
    """
    events = dataset.interactions
    for_test, for_valid = drawn_items(events.item_counts(), dataset.items.item_ids, float(options["share"]), int(options["seed"]))
    user = events.row_of_entry()
    is_known = ~(for_test | for_valid)[events.item]
    # Known events before each event, within its user.
    n_known = np.concatenate([[0], np.cumsum(is_known)])
    n_before = n_known[:-1] - n_known[events.offsets[user]]
    never = len(events.item)
    test = _last_asked(events, user, for_test[events.item] & (n_before > 0))
    is_earlier = np.arange(never) < np.where(test < 0, never, test)[user]
    valid = _last_asked(events, user, for_valid[events.item] & (n_before > 0) & is_earlier)
    ends = np.minimum(np.where(test < 0, never, test), np.where(valid < 0, never, valid))
    kept = is_known & (np.arange(never) < ends[user])
    known = _some(events, user, is_known)
    train = _some(events, user, kept)

    def part(at: LongArray) -> SplitPart:
        asked = np.flatnonzero(at >= 0)
        place = at[asked]
        return one_target(known, asked, n_before[place], events.item[place], events.timestamp[place])

    notes: Notes = {
        "items that are asked for in the test, without a train event": int(for_test.sum()),
        "items that are asked for in validation, without a train event": int(for_valid.sum()),
        "events behind a target, in no part": int(np.count_nonzero(is_known)) - int(np.count_nonzero(kept)),
    }
    return Parts(train, part(valid), part(test), notes)


def drawn_items(counts: LongArray, item_ids: StringArray, share: float, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which items are drawn for the test and which for validation, two times (n_items,).

    Items with an event are sorted by their number of events, of equal ones by chance, and cut into tenths; `share` of each tenth is
    drawn for each of the two, rounded so that the tenths up to each have given `share` of their items together. Chance is a hash of the
    id and the seed: no order of rows changes it.
    """
    chance = id_hashes(item_ids, f"{seed}/cold")
    with_events = np.flatnonzero(counts > 0)
    by_count = with_events[np.lexsort((chance[with_events], counts[with_events]))]
    for_test, for_valid = (np.zeros(len(counts), np.bool_) for _ in range(2))
    # Another hash than the one that settles equal counts, else these would be drawn by their place in a tenth.
    draw = id_hashes(item_ids, f"{seed}/drawn")
    n_items = n_drawn = 0
    for stratum in np.array_split(by_count, _STRATA):
        drawn = stratum[np.argsort(draw[stratum])]
        n_items += len(drawn)
        n = round(share * n_items) - n_drawn
        n_drawn += n
        for_test[drawn[:n]] = True
        for_valid[drawn[n : 2 * n]] = True
    return for_test, for_valid


def _last_asked(events: Interactions, user: LongArray, is_asked: NDArray[np.bool_]) -> LongArray:
    """The last marked event of each user, (n_users,); -1 where none is marked."""
    last = np.full(events.n_users, -1, np.int64)
    marked = np.flatnonzero(is_asked)
    # Events of a user ascend: the last assignment stays.
    last[user[marked]] = marked
    return last


def _some(events: Interactions, user: LongArray, is_kept: NDArray[np.bool_]) -> Interactions:
    """All users with some of their events."""
    offsets = np.zeros(events.n_users + 1, np.int64)
    np.cumsum(np.bincount(user[is_kept], minlength=events.n_users), out=offsets[1:])
    return events.at(np.flatnonzero(is_kept), offsets)


def check_cold(options: Mapping[str, Any]) -> None:
    """Refuse shares that leave nothing to learn from or nothing to ask."""
    share = options["share"]
    if not isinstance(share, float) or not 0 < share <= _MOST:
        raise BadConfig(f"--protocol cold: share={share} is not above 0 and at most {_MOST}. Write for example cold:share=0.05")
