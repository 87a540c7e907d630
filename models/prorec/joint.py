"""Stage 1: the next-item task and the alignment in one training, and the vectors that come out of it."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from recbench.core import FitContext, Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.core.seeds import derived_seed
from recbench.nn.ranking import full_catalogue_topk
from recbench.nn.training import length_bucketed, torch_seeded, train
from recbench_models.prorec.alignment import Adapter, alignment_loss
from recbench_models.prorec.collaborative import Causal, collaborative_encoder, sequences_as_tensors
from recbench_models.prorec.config import PRORecConfig

# B sequences, T places, M distinct items of a batch, N items, D width, S width of the text vectors

_FILE = "vectors.safetensors"
_READ_AT_A_TIME = 1024
_OF_STAGE = {"collaborative", "joint", "adapter"}


@dataclass(frozen=True, eq=False)
class JointVectors:
    """Result of stage 1 for all items.

    Attributes:
        collab: (N, D) float32.
        adapted: (N, D) the text vectors in the same space; by an adapter as it began where nothing was aligned.
    """

    collab: NDArray[np.float32]
    adapted: NDArray[np.float32]


class JointTraining(nn.Module):
    """`module(rows)` gives the sum over targets of next-item loss plus weighted alignment, and the number of targets.

    The alignment is a mean over the distinct items of the batch; it is counted once per target, so that after the loop's division by the
    number of targets the two stand in the proportion that `align.weight` says.
    """

    text_NS: Tensor

    def __init__(self, context: FitContext, config: PRORecConfig, text: NDArray[np.float32], align_weight: float) -> None:
        super().__init__()
        self.config, self.align_weight = config, align_weight
        self.n_items = len(text)
        with torch_seeded(context.seed, "prorec", "collaborative encoder"):
            self.encoder = collaborative_encoder(self.n_items, config.collaborative)
        own = torch.Generator().manual_seed(derived_seed(context.seed, "prorec", "adapter"))
        self.adapter = Adapter(text.shape[1], config.collaborative.width, config.adapter, own)
        if not align_weight and config.joint.sequence_input == "collab":
            # Nobody reads it: it must not decay, and nothing of it may reach the encoder.
            self.adapter.requires_grad_(False)
        self.register_buffer("text_NS", torch.from_numpy(np.array(text)), persistent=False)
        self.windows = self.encoder.windows(context.train)
        self.last = {"next item": 0.0, "alignment": 0.0}
        """Means of the losses of the last batch, for the log."""

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Input of the encoder for each item, (N + 1, D), and the adapted text vectors (N, D)."""
        table = self.encoder.item_embedding.weight
        adapted = self.adapter(self.text_NS, table[:-1])
        if self.config.joint.sequence_input == "integrated":
            return torch.cat([table[:-1] + adapted, table[-1:]]), adapted
        return table, adapted

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        table = self.encoder.item_embedding.weight
        item_BT, length_B, target_BT = sequences_as_tensors(self.windows, rows, self.n_items, table.device)
        n_targets = int((target_BT >= 0).sum())
        read = self.vectors()[0] if self.config.joint.sequence_input == "integrated" else table
        loss = self.encoder.loss(read, item_BT, length_B, target_BT)
        self.last["next item"] = float(loss.detach()) / max(n_targets, 1)
        if self.align_weight:
            aligned = self._alignment(torch.cat([item_BT.flatten(), target_BT.flatten()]))
            self.last["alignment"] = float(aligned.detach())
            loss = loss + self.align_weight * n_targets * aligned
        return loss, n_targets

    def _alignment(self, item_X: Tensor) -> Tensor:
        """Alignment loss of the distinct items among these; 0 where there is but one."""
        config = self.config
        item_M = torch.unique(item_X[(item_X >= 0) & (item_X < self.n_items)])
        if len(item_M) > config.align.max_items:
            item_M = item_M[torch.randperm(len(item_M))[: config.align.max_items].to(item_M.device)]
        collab_MD = self.encoder.item_embedding(item_M)
        adapted_MD = self.adapter(self.text_NS[item_M], collab_MD)
        if config.align.detach_collab:
            collab_MD = collab_MD.detach()
        return alignment_loss(collab_MD, adapted_MD, temperature=config.align.temperature, symmetric=config.align.symmetric)

    def generate(self, queries: Queries, k: int) -> Rankings:
        """Lists by the causal encoder, for validation."""
        assert isinstance(self.encoder, Causal)
        self.eval()
        newest = queries.histories.tail(self.encoder.history)
        with torch.inference_mode():
            read = self.vectors()[0]
            state_QD = torch.zeros(len(queries), read.shape[1], device=read.device)
            for rows in newest.length_buckets(_READ_AT_A_TIME * 16):
                rows = rows[newest.lengths[rows] > 0]
                if len(rows) == 0:
                    continue
                part = newest.take(rows)
                item_BT = torch.from_numpy(part.padded(self.n_items)).long().to(read.device)
                length_B = torch.from_numpy(part.lengths).to(read.device)
                last = torch.arange(len(rows), device=read.device), length_B - 1
                state_QD[torch.from_numpy(rows).to(read.device)] = self.encoder.states(read, item_BT, length_B)[last]
            return full_catalogue_topk(state_QD, read[:-1], queries, k)


def joint_vectors(
    context: FitContext, config: PRORecConfig, text: NDArray[np.float32], text_folder: Path, *, align_weight: float, trainings_left: int = 0
) -> JointVectors:
    """The vectors of stage 1, trained now or found.

    Args:
        context: of the run.
        config: of the model.
        text: (N, S) vectors of the items' texts.
        text_folder: the stage that holds them.
        align_weight: weight of the alignment; 0: none.
        trainings_left: auxiliary trainings of the model that follow.
    """
    # Trainings without alignment are the same, however they would align.
    aligned = {"align"} if align_weight else set()
    settings = config.model_dump(mode="json", include=_OF_STAGE | aligned) | {"clip_norm": config.training.clip_norm}

    def build(folder: Path) -> None:
        alone = context.alone()
        module = JointTraining(alone, config, text, align_weight)
        windows = module.windows

        def batches(epoch: int) -> list[LongArray]:
            generator = alone.generator("joint batches", epoch)
            return length_bucketed(windows.n_targets, windows.length, size=config.joint.batch_size, unit="targets", generator=generator)

        report = train(
            alone,
            module,
            batches=batches,
            settings=config.joint.training(config.training),
            ranker=module if isinstance(module.encoder, Causal) else None,
            examples_possible=int(windows.n_targets.sum()),
            name="joint" if align_weight else "collaborative",
        )
        _tell(alone.log, module, report.steps, report.stopped_by)
        module.eval()
        with torch.no_grad():
            table, adapted = module.encoder.item_embedding.weight[:-1], module.vectors()[1]
        arrays = {"collab": table, "adapted": adapted}
        save_file({name: part.detach().float().cpu().numpy().copy() for name, part in arrays.items()}, folder / _FILE)

    name = "joint" if align_weight else "collaborative"
    folder = context.stage(name, build, config=settings, inputs=[text_folder], trains=True, trainings_left=trainings_left)
    arrays = load_file(folder / _FILE)
    return JointVectors(arrays["collab"], arrays["adapted"])


def _tell(log: logging.Logger, module: JointTraining, steps: int, why: str) -> None:
    losses = ", ".join(f"{name} {value:.4f}" for name, value in module.last.items())
    log.info(
        "stage 1 with align.weight=%g ended after %d steps (%s); losses of the last batch: %s", module.align_weight, steps, why, losses
    )
