"""A training in a process of its own: `training_child.py CHECKPOINTS WEIGHTS [SECONDS_PER_STEP]`."""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file
from torch import Tensor
from training_case import FakeContext, TinyModel, batches_of, restless

from recbench.core import Interrupted
from recbench.nn.training.loop import train
from recbench.nn.training.settings import TrainingSettings

SETTINGS = TrainingSettings(learning_rate=0.05, max_epochs=8, schedule="linear", checkpoint_every_s=0.0)


class Slow(TinyModel):
    """Leaves the test time to kill it."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, rows: np.ndarray[Any, Any]) -> tuple[Tensor, int]:
        time.sleep(self.seconds)
        return super().forward(rows)


def main(checkpoints: Path, weights: Path, seconds: float) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    module = Slow(seconds)
    try:
        report = train(FakeContext(checkpoints, score=restless), module, batches=batches_of(8), settings=SETTINGS, ranker=module)
    except Interrupted as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    save_file(module.state_dict(), weights)
    facts = {"calls": module.calls, "steps": report.steps, "resumed_at": report.resumed_at}
    weights.with_suffix(".json").write_text(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.0))
