"""Small tables of bundles for tests."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Tables = dict[str, dict[str, list[Any]]]


def table_of(bundles: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Columns bundle_id and item_id."""
    rows = [(bundle, item) for bundle, items in bundles.items() for item in items]
    return {"bundle_id": [bundle for bundle, _ in rows], "item_id": [item for _, item in rows]}


def divided(bundles: Mapping[str, tuple[str, str, str]]) -> dict[str, list[Any]]:
    """Columns of bundles that come divided: part, letters that are shown, letters that are asked for; items are called after letters."""
    rows = [(name, item, part, int(item in shown)) for name, (part, shown, asked) in bundles.items() for item in shown + asked]
    return {name: [row[place] for row in rows] for place, name in enumerate(("bundle_id", "item_id", "part", "is_input"))}


def random_tables(n_bundles: int = 90, *, seed: int = 0) -> Tables:
    """Bundles of one to six of 40 items, some of them equal, three to a session, each owned by someone."""
    draw = np.random.default_rng(seed)
    bundles = {str(number): [f"i{item}" for item in draw.choice(40, draw.integers(1, 7), replace=False)] for number in range(n_bundles)}
    for number in range(0, n_bundles, 15):
        bundles[str(number)] = bundles[str((number + 7) % n_bundles)]
    names = list(bundles)
    return {
        "bundles": table_of(bundles),
        "bundle_info": {"bundle_id": names, "session_id": [f"s{number // 3}" for number in range(n_bundles)]},
        "user_bundles": {"user_id": [f"u{number % 20}" for number in range(n_bundles)], "bundle_id": names},
    }
