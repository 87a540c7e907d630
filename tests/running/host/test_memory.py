import sys

import pytest

from recbench.running.host.memory import bounded_memory


@pytest.mark.skipif(sys.platform != "linux", reason="other systems set no bound")
def test_what_asks_for_more_is_refused_and_what_comes_after_is_not() -> None:
    with bounded_memory(256 << 20):
        assert len(bytearray(64 << 20)) == 64 << 20
        with pytest.raises(MemoryError):
            bytearray(1 << 30)
    assert len(bytearray(1 << 30)) == 1 << 30
