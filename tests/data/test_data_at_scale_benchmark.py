"""The benchmark of data at scale, on a toy: the three formats hold the same events, and each is read to the same split."""

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "data_at_scale.py"


def test_every_format_is_read_to_the_same_split(tmp_path: Path) -> None:
    script = runpy.run_path(str(SCRIPT))
    found = {}
    for kind in script["FORMATS"]:
        script["generate"](tmp_path / kind, 3_000, kind)
        found[kind] = script["measured"](tmp_path / kind)
        assert list(found[kind].seconds) == ["read", "split", "open"]
    assert len({(one.n_users, one.test_fingerprint) for one in found.values()}) == 1
    assert all(100 < one.n_users <= 300 and one.n_items == 60 for one in found.values())
