"""Stage 2: the encoder-decoder over the codes learns, beside the codes, the vectors they were made of."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.core.ragged import LongArray
from recbench.nn.blocks import SUMMARY, CodeSeq2Seq, Examples
from recbench.nn.training import sampled_softmax
from recbench_models.prorec.config import DistillationSettings

# B rows, C targets of a row, S targets, L tokens of a code, N items, K negatives, D width of the network, V of the teacher, M memory


class Student(nn.Module):
    """From a state of the network to a vector of the teacher's space, and the loss against the teacher.

    Args:
        teacher_NV: (N, V) vectors of all items; they get no gradient.
        width: of the network.
        settings: of the distillation.
        generator: of the first weights; its own.
    """

    teacher_NV: Tensor

    def __init__(self, teacher_NV: Tensor, width: int, settings: DistillationSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("teacher_NV", teacher_NV, persistent=False)
        self.project = nn.Linear(width, teacher_NV.shape[1])
        with torch.no_grad():
            nn.init.normal_(self.project.weight, std=width**-0.5, generator=generator)
            self.project.bias.zero_()

    def forward(self, state_SD: Tensor, target_S: Tensor, drawn_K: Tensor) -> Tensor:
        """Sum of the losses of the targets; `drawn_K` are the items that `infonce` holds them against."""
        student_SV = self.project(functional.normalize(state_SD.float(), dim=1))
        return distillation_loss(
            student_SV, self.teacher_NV, target_S, drawn_K, kind=self.settings.loss, temperature=self.settings.temperature
        )


def distillation_loss(
    student_SV: Tensor, teacher_NV: Tensor, target_S: Tensor, drawn_K: Tensor, *, kind: str, temperature: float
) -> Tensor:
    """Sum over targets.

    `infonce`: `-log softmax` of the cosine with the target's teacher among those of drawn items, which do not count where they are the
    target itself. `cosine`: one minus the cosine. `mse`: squared distance of both at length 1, which is twice that.
    """
    student = functional.normalize(student_SV.float(), dim=1)
    teacher = functional.normalize(teacher_NV.float(), dim=1)
    near_S = (student * teacher[target_S]).sum(1)
    if kind == "cosine":
        return (1 - near_S).sum()
    if kind == "mse":
        return (student - teacher[target_S]).square().sum()
    far_SK = (student @ teacher[drawn_K].T) / temperature
    return sampled_softmax(near_S / temperature, far_SK.masked_fill(target_S[:, None] == drawn_K, -torch.inf))


class DistilledTraining(nn.Module):
    """`module(rows)` gives the sum over targets of a code's loss plus weighted distillation, and the number of targets.

    A code's loss is the sum over its tokens, and the weight is for their mean: the distillation is counted once per token.
    """

    def __init__(self, network: CodeSeq2Seq, examples: Examples, students: list[Student], settings: DistillationSettings) -> None:
        super().__init__()
        self.network, self.students = network, nn.ModuleList(students)
        self._examples, self._settings = examples, settings

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        network, settings = self.network, self._settings
        item_BT, user_B, target_BC, slot_BC = self._examples.tensors(rows, network.item_tokens.device)
        memory = network.encode(item_BT, user_B)
        input_BCL = network.decoder_input(target_BC)
        if settings.position == "after":
            # The last token of the code, which plain training never reads, and the summary token behind it.
            last_BC1 = network.item_tokens[target_BC][..., -1:]
            more_BC2 = torch.cat([last_BC1, torch.full_like(last_BC1, SUMMARY)], -1)
            state_BCLD = network.decode(memory, torch.cat([input_BCL, more_BC2], 2), slot_BC)
            summary_BCD, state_BCLD = state_BCLD[:, :, -1], state_BCLD[:, :, :-2]
        else:
            state_BCLD = network.decode(memory, input_BCL, slot_BC)
            if settings.position == "before":
                alone_BC1 = torch.full_like(input_BCL[..., :1], SUMMARY)
                summary_BCD = network.decode(memory, alone_BC1, slot_BC)[:, :, 0]
            else:
                summary_BCD = network.mean_memory(memory, slot_BC)
        loss, n_targets = network.code_loss(state_BCLD, target_BC)
        is_target_BC = target_BC >= 0
        target_S = target_BC[is_target_BC]
        n_items = len(network.item_tokens) - 2
        drawn_K = (
            torch.randint(n_items, (min(settings.negatives, n_items),)).to(target_S.device) if settings.loss == "infonce" else target_S[:0]
        )
        losses = [student(summary_BCD[is_target_BC], target_S, drawn_K) for student in self.students]
        return loss + settings.weight * network.code_length * torch.stack(losses).mean(), n_targets
