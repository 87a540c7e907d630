import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import distributed_child
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from recbench.core import BadRequest, World
from recbench.nn.compute.distributed import barrier, broadcast, connected, sum_over_ranks, world_from_environment

CHILD = Path(__file__).parent / "distributed_child.py"


def test_one_process_alone_needs_no_group() -> None:
    with connected(World(), "cpu") as group:
        assert (group.rank, group.size) == (0, 1)
        assert group.broadcast({"a": 1}) == {"a": 1}
        group.barrier()
    barrier(World())
    assert broadcast([1], World()) == [1]
    assert sum_over_ranks(np.array([2.0]), World()).tolist() == [2.0]


def test_world_comes_from_torchrun_s_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert world_from_environment() == (World(), 0)
    for name, value in {"WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert world_from_environment() == (World(5, 8), 1)


def test_missing_address_says_how_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(BadRequest, match=r"MASTER_ADDR is not set.*torchrun --nproc-per-node 2"), connected(World(0, 2), "cpu"):
        pass


def test_a_port_that_is_taken_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        with pytest.raises(BadRequest, match=r"2 processes cannot meet at 127\.0\.0\.1:\d+: .*MASTER_PORT"), connected(World(0, 2), "cpu"):
            pass


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port of this machine, where the processes are to meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found: int = free.getsockname()[1]
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(found))
    return found


@pytest.mark.usefixtures("port")
def test_processes_that_never_come_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECBENCH_WAIT_S", "0")
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    for size, named in ((2, "Rank 1 of the 2 processes"), (4, "Ranks 1, 2, 3 of the 4"), (999_999_999, "5, 6, 7, 8 and others of the")):
        with pytest.raises(BadRequest, match=f"{named}.* did not come within 0 s.*WORLD_SIZE"), connected(World(0, size), "cpu"):
            pass


def test_a_first_process_that_never_comes_is_a_sentence(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECBENCH_WAIT_S", "1")
    with pytest.raises(BadRequest, match=rf"2 processes cannot meet at 127\.0\.0\.1:{port}: .*rank 0"), connected(World(1, 2), "cpu"):
        pass


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The folder in which two gloo processes wrote their weights, and what each has to tell."""
    out = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    children = [
        subprocess.Popen(
            [sys.executable, str(CHILD), str(out)],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for child in children:
        _, log = child.communicate(timeout=120)
        assert child.returncode == 0, log
    return out, [json.loads((out / f"facts-{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
def test_processes_agree(two_ranks: tuple[Path, list[dict[str, Any]]]) -> None:
    for rank, facts in enumerate(two_ranks[1]):
        assert facts["group"] == [rank, 2]
        assert facts["local_rank"] == rank
        assert facts["broadcast"] == {"text": "only from the first", "rank": 0}
        assert facts["broadcast_nothing"] is None
        assert facts["sum"] == [[2.0, 1.0]]


@pytest.mark.slow
def test_rows_of_all_processes_stand_in_the_order_of_ranks_and_gradients_are_summed(two_ranks: tuple[Path, list[dict[str, Any]]]) -> None:
    first, second = (facts["gathered"] for facts in two_ranks[1])
    rows = [[0, 1], [2, 3], [10, 11], [12, 13], [14, 15]]
    assert first["2+3"] == [rows, [[3, 3]] * 2]
    assert second["2+3"] == [rows, [[3, 3]] * 3]
    assert first["0+2"] == [[[10, 11], [12, 13]], []]
    assert second["0+2"][1] == [[3, 3]] * 2


@pytest.mark.slow
def test_ranks_share_the_batches_of_a_matrix_and_the_first_has_all_of_it(
    two_ranks: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        distributed_child.matrix_of(tmp_path, World(), fails_at=3)
    alone, computed = distributed_child.matrix_of(tmp_path, World())
    assert alone == [[number, number**2] for number in range(6) for _ in range(2)]
    assert computed == [3, 2, 5], "finished batches are not computed again"
    first, second = two_ranks[1]
    assert first["matrix"] == [alone, [4, 0, 3, 2, 5]]
    assert second["matrix"] == [None, [1]]
    assert first["matrix again"] == [alone, []]
    assert second["matrix again"] == [None, []]


@pytest.mark.slow
@pytest.mark.parametrize("case", list(distributed_child.CASES))
def test_two_processes_train_as_one_on_disjoint_samples(two_ranks: tuple[Path, list[dict[str, Any]]], case: str, tmp_path: Path) -> None:
    out, facts = two_ranks
    module, alone = distributed_child.run_case(case, tmp_path, World(), score=distributed_child.smooth)
    weights = [load_file(out / f"{case}-{rank}.safetensors") for rank in range(2)]
    for name, tensor in module.state_dict().items():
        assert torch.equal(weights[0][name], weights[1][name])
        torch.testing.assert_close(weights[0][name], tensor, atol=1e-6, rtol=0)
    assert sorted(facts[0][case]["seen"] + facts[1][case]["seen"]) == sorted(alone["seen"])
    batches, _ = distributed_child.CASES[case]
    one_epoch = [set(facts[rank][case]["seen"][: sum(len(range(rank, len(b), 2)) for b in batches(0))]) for rank in range(2)]
    assert not one_epoch[0] & one_epoch[1]
    assert one_epoch[0] | one_epoch[1] == set(range(37))
    for part in facts:
        assert part[case]["losses"] == pytest.approx(alone["losses"], abs=1e-6)
        assert part[case]["chosen"]["step"] == alone["chosen"]["step"]
        assert (part[case]["steps"], part[case]["examples_seen"]) == (alone["steps"], alone["examples_seen"])


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_at_one_step(two_ranks: tuple[Path, list[dict[str, Any]]]) -> None:
    out, facts = two_ranks
    assert "SIGTERM after step 4" in facts[1]["interrupted"]
    assert "a signal to another process after step 4" in facts[0]["interrupted"]
    for rank in range(2):
        assert facts[rank]["resumed"]["resumed_at"] == 4
        assert (out / f"resumed-{rank}.safetensors").read_bytes() == (out / f"plain-{rank}.safetensors").read_bytes()
