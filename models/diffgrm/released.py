"""Search as the source's code has it: over all codes that could be written, whether an item has them or not."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recbench.core import Histories, Rankings, View
from recbench_models.diffgrm.network import DiffGRMNetwork, Memory
from recbench_models.diffgrm.partial_codes import Excluded, PartialCodes
from recbench_models.diffgrm.search import CodeLists, is_repeated

# U users, W beams of a user, M digits, K values of a digit, F codes found


def released_search(
    network: DiffGRMNetwork, memory: Memory, codes: PartialCodes, histories: Histories, k: int, *, views: Sequence[View], n_beams: int
) -> Rankings:
    """The items of the likeliest codes of each user; lists may be short.

    Any digit may come next. The same digits in another order are a beam of their own, and the last digit takes its likeliest value alone.
    At the end codes of no item are dropped, and repeats; `unseen` drops the history's items then, and not before. Arguments are those of
    `catalogue_search`. The counters say how many codes were written, belong to no item, and are repeats.
    """
    score_UW, value_UWM = _written(network, memory, n_beams)
    code_UW = _numbers(codes, value_UWM, network.size)
    score_UW, order_UW = torch.sort(score_UW, dim=1, descending=True, stable=True)
    code_UW = code_UW.gather(1, order_UW)
    is_repeated_UW = is_repeated(code_UW)
    is_code_UW = code_UW >= 0
    user_F, place_F = torch.nonzero(is_code_UW & ~is_repeated_UW, as_tuple=True)
    excluded = Excluded(codes, histories) if "unseen" in views else None
    lists = CodeLists(codes, views, len(histories), k, excluded)
    for v in range(len(views)):
        lists.add(v, user_F, code_UW[user_F, place_F], score_UW[user_F, place_F])
    return lists.rankings(sequences=code_UW.numel(), invalid=int((~is_code_UW).sum()), duplicates=int((is_code_UW & is_repeated_UW).sum()))


def _written(network: DiffGRMNetwork, memory: Memory, n_beams: int) -> tuple[Tensor, Tensor]:
    """Scores (U, W) and digits (U, W, M) of the codes that the beams end with."""
    n_users, n_digits, size = len(memory.state_BPD), network.n_digits, network.size
    device = memory.state_BPD.device
    score_UW = torch.zeros(n_users, 1, device=device)
    value_UWM = torch.zeros(n_users, 1, n_digits, dtype=torch.int64, device=device)
    is_masked_UWM = torch.ones_like(value_UWM, dtype=torch.bool)
    for n_shown in range(1, n_digits + 1):
        state_UWMD = network.decode(memory, value_UWM, is_masked_UWM)
        log_UWMK = network.log_probabilities(state_UWMD.flatten(0, 1)).view(n_users, -1, n_digits, size)
        log_UWMK = log_UWMK.masked_fill(~is_masked_UWM[..., None], -torch.inf)
        if n_shown == n_digits:
            # One digit is left, and its likeliest value is taken.
            best_UW, choice_UW = log_UWMK.flatten(2).max(dim=2)
            score_UW, parent_UW = score_UW + best_UW, torch.arange(score_UW.shape[1], device=device).expand(n_users, -1)
        else:
            total_UQ = (score_UW[:, :, None, None] + log_UWMK).flatten(1)
            n_possible = score_UW.shape[1] * (n_digits - n_shown + 1) * size
            score_UW, place_UW = torch.topk(total_UQ, min(n_beams, n_possible), dim=1)
            parent_UW, choice_UW = place_UW // (n_digits * size), place_UW % (n_digits * size)
        digit_UW1, chosen_UW1 = (choice_UW // size)[:, :, None], (choice_UW % size)[:, :, None]
        at_UWM = parent_UW[:, :, None].expand(-1, -1, n_digits)
        value_UWM = value_UWM.gather(1, at_UWM).scatter(2, digit_UW1, chosen_UW1)
        is_masked_UWM = is_masked_UWM.gather(1, at_UWM).scatter(2, digit_UW1, torch.zeros_like(digit_UW1, dtype=torch.bool))
    return score_UW, value_UWM


def _numbers(codes: PartialCodes, value_UWM: Tensor, size: int) -> Tensor:
    """The number of each code, from 0 on, or -1 where no item has it, (U, W)."""
    base_M = size ** torch.arange(codes.n_digits, device=value_UWM.device)
    key_C, code_C = torch.sort((codes.value[codes.first_code :] * base_M).sum(1))
    key_UW = (value_UWM * base_M).sum(2)
    place_UW = torch.searchsorted(key_C, key_UW).clamp(max=len(key_C) - 1)
    return torch.where(key_C[place_UW] == key_UW, code_C[place_UW], -1)
