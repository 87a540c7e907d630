"""Equal trainings give equal weights, on several threads too."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training_case import FakeContext

from recbench.core.seeds import generator
from recbench.nn.training.determinism import repeatable
from recbench.nn.training.loop import train
from recbench.nn.training.settings import TrainingSettings

N_ROWS, WIDTH, N_PICKED = 50, 64, 4_000


class Picking(nn.Module):
    """Rows of a table, each picked many times in a batch: the sums in which the order of threads could show."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.linspace(-1, 1, N_ROWS * WIDTH).reshape(N_ROWS, WIDTH))

    def forward(self, rows: np.ndarray[Any, Any]) -> tuple[Tensor, int]:
        picked = self.table[torch.from_numpy(rows)]
        return (picked * torch.randn_like(picked)).square().sum(), len(rows)


def trained(folder: Path) -> Tensor:
    def batches(epoch: int) -> list[np.ndarray[Any, Any]]:
        return [generator(0, "rows", epoch, batch).integers(0, N_ROWS, N_PICKED) for batch in range(5)]

    module = Picking()
    settings = TrainingSettings(learning_rate=0.1, max_epochs=4)
    train(FakeContext(folder), module, batches=batches, settings=settings)
    return module.table.detach()


@pytest.fixture
def _four_threads() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_four_threads")
def test_equal_trainings_on_several_threads_give_equal_weights(tmp_path: Path) -> None:
    first = trained(tmp_path / "0")
    for number in range(1, 6):
        assert torch.equal(trained(tmp_path / str(number)), first)


@pytest.mark.parametrize("kind", ["cpu", "meta"])
def test_the_process_is_as_it_was_afterwards(kind: str) -> None:
    before = torch.get_deterministic_debug_mode(), torch.utils.deterministic.fill_uninitialized_memory
    with repeatable(torch.device(kind)):
        assert torch.are_deterministic_algorithms_enabled() == (kind == "cpu")
    assert (torch.get_deterministic_debug_mode(), torch.utils.deterministic.fill_uninitialized_memory) == before
