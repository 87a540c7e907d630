"""One of several processes that train together: `distributed_child.py OUT`, with torchrun's variables in the environment."""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from training_case import FakeContext, TinyModel, batches_of, restless

from recbench.core import Interrupted, World
from recbench.nn.compute import computed_matrix
from recbench.nn.compute.distributed import broadcast, connected, gather_rows, sum_over_ranks, world_from_environment
from recbench.nn.training.batch import Batch
from recbench.nn.training.loop import train
from recbench.nn.training.settings import TrainingSettings

SETTINGS = TrainingSettings(learning_rate=0.05, max_epochs=4, clip_norm=0.5, patience=3, schedule="cosine", warmup_steps=2)


def uneven(epoch: int) -> list[Batch]:
    """Batches of odd sizes, some of a single row: one of two ranks then has none."""
    order = np.random.default_rng(epoch).permutation(37)
    return list(np.split(order, [1, 8, 9, 20, 27, 36]))


CASES: dict[str, tuple[Callable[[int], list[Any]], TrainingSettings]] = {
    "plain": (batches_of(8), SETTINGS),
    "uneven": (uneven, SETTINGS),
    "parts": (uneven, SETTINGS.model_copy(update={"accumulate": 3})),
}


def run_case(name: str, folder: Path, world: World, *, score: Any = restless, at_call: Any = None) -> tuple[TinyModel, dict[str, Any]]:
    """The trained model of a case and what its report says."""
    batches, settings = CASES[name]
    module = TinyModel(dropout=0.0, at_call=at_call)
    if world.rank == 1:
        # Ranks that start from other weights must not stay apart.
        module.item.weight.data.add_(1.0)
    context = FakeContext(folder / name, score=score, world=world)
    report = train(context, module, batches=batches, settings=settings, ranker=module)
    return module, {
        "steps": report.steps,
        "examples_seen": report.examples_seen,
        "losses": [point.loss for point in report.curve],
        "chosen": dict(report.chosen),
        "resumed_at": report.resumed_at,
        "seen": module.seen,
    }


def smooth(ranker: Any) -> float:
    """A metric that does not turn over with the last bits of the weights."""
    return float(ranker.item.weight.detach().double().abs().sum())


def gathered_rows(world: World) -> dict[str, Any]:
    """Rows of both ranks, one of which gives none or some, and the gradients that come back."""
    found = {}
    for counts in ((2, 3), (0, 2)):
        own = torch.arange(2.0 * counts[world.rank]).view(-1, 2).add(10.0 * world.rank).requires_grad_()
        rows = gather_rows(own, world)
        (rows * (1.0 + world.rank)).sum().backward()
        found[f"{counts[0]}+{counts[1]}"] = [rows.tolist(), own.grad.tolist()]
    return found


def matrix_of(folder: Path, world: World, fails_at: int = -1) -> tuple[list[list[float]] | None, list[int]]:
    """A matrix of two columns that is computed in batches of unequal size, and which numbers this process computed."""
    batches = [np.array([4, 0]), np.array([1]), np.array([3, 2, 5])]
    computed: list[int] = []

    def compute(numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        if fails_at in numbers:
            raise RuntimeError("stopped")
        computed.extend(numbers.tolist())
        return np.stack([numbers, numbers**2], 1).repeat(2, 0).astype(np.float32)

    def rows_of(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        return (2 * numbers[:, None] + np.arange(2)).ravel()

    context = FakeContext(folder, world=world)
    found = computed_matrix(context, (12, 2), batches, compute, work=np.arange(6), title="squares", rows_of=rows_of)
    return None if found is None else found.tolist(), computed


def main(out: Path) -> None:
    world, local_rank = world_from_environment()
    facts: dict[str, Any] = {"local_rank": local_rank}
    with connected(world, "cpu") as group:
        facts["group"] = [group.rank, group.size]
        facts["broadcast"] = group.broadcast({"text": "only from the first", "rank": world.rank})
        facts["broadcast_nothing"] = broadcast(None, world)
        facts["sum"] = sum_over_ranks(np.array([[1.0, world.rank]]), world).tolist()
        group.barrier()
        facts["gathered"] = gathered_rows(world)
        facts["matrix"] = matrix_of(out / "matrix", world)
        facts["matrix again"] = matrix_of(out / "matrix", world)
        for name in CASES:
            module, facts[name] = run_case(name, out, world, score=smooth)
            save_file(module.state_dict(), out / f"{name}-{world.rank}.safetensors")
        # A signal that reaches rank 1 alone stops both, at the same step.
        stop = {4: lambda: signal.raise_signal(signal.SIGTERM)} if world.rank == 1 else None
        try:
            run_case("plain", out / "cut", world, score=smooth, at_call=stop)
        except Interrupted as error:
            facts["interrupted"] = str(error)
        module, facts["resumed"] = run_case("plain", out / "cut", world, score=smooth)
        save_file(module.state_dict(), out / f"resumed-{world.rank}.safetensors")
    (out / f"facts-{world.rank}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
