"""What the decoder reads, held against the library's own forward pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gram_case import N_ITEMS, batch, logits_of, memory_of, model, texts
from torch.nn import functional

from recbench.core.ragged import Ragged
from recbench.nn.blocks.t5_encoder import T5Encoder
from recbench.testing import queries
from recbench_models.gram import network
from recbench_models.gram.item_states import ItemStates
from recbench_models.gram.network import padded_tokens
from recbench_models.gram.recommender import GRAM
from recbench_models.gram.vocabulary import PAD

HISTORY = [3, 17, 42, 8, 3, 25, 11]
TOLERANCE = {"rtol": 0, "atol": 1e-5}


@torch.no_grad()
def last_logits(gram: GRAM, stretch: list[int], neighbours: list[list[int]] | None = None) -> torch.Tensor:
    """The logits (Y, V) of the stretch's last item after all before it, read in one batch with other stretches."""
    read = batch(gram, [stretch, *(neighbours or [])])
    row = int(np.flatnonzero(read.target_BC == stretch[-1])[0])
    label_BCY = gram._trained.label_IY[torch.from_numpy(read.target_BC).clamp(min=0)]
    state_BCYD = gram._trained.decode(gram._trained.memory(read), label_BCY)
    b, c = np.unravel_index(row, read.target_BC.shape)
    return state_BCYD[b, c] @ gram._trained.t5.lm_head.weight.T


def library_logits(gram: GRAM, stretch: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return logits_of(gram, memory_of(gram, stretch[:-1]), gram._trained.label_IY[stretch[-1:]])[0]


def test_one_text_without_a_place_vector_is_the_plain_encoder_decoder() -> None:
    gram = model(prompts={"items": False})
    with torch.no_grad():
        gram._trained.places.weight.zero_()
    stretch = [3, 17, 42]
    prompt = gram._user_prompts(queries([stretch[:-1]]).histories)
    label = gram._trained.label_IY[stretch[-1:]]
    start = torch.cat([label.new_full((1, 1), PAD), label[:, :-1]], 1)
    with torch.no_grad():
        plain = gram._trained.t5(input_ids=torch.from_numpy(padded_tokens(prompt)), decoder_input_ids=start).logits[0]
    torch.testing.assert_close(last_logits(gram, stretch), plain, **TOLERANCE)


@pytest.mark.parametrize("folded_up_to", [0.0, 1e9])
@pytest.mark.parametrize("parts", [{}, {"prompts.user": False}, {"prompts.items": False}, {"prompts.slot_vectors": False}])
def test_factored_keys_and_values_are_plain_cross_attention(
    parts: dict[str, bool], folded_up_to: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_FOLDED_UP_TO", folded_up_to)
    gram = model(**parts)
    for n in (2, 4, len(HISTORY)):
        torch.testing.assert_close(last_logits(gram, HISTORY[:n]), library_logits(gram, HISTORY[:n]), **TOLERANCE)


def test_keys_and_values_folded_into_queries_have_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    gram = model()
    read = batch(gram, [HISTORY, HISTORY[2:5], [5, 9]])
    gradients = []
    for folded_up_to in (0.0, 1e9):
        monkeypatch.setattr(network, "_FOLDED_UP_TO", folded_up_to)
        loss, _ = gram._trained.loss(read)
        gradients.append(torch.autograd.grad(loss, list(gram._trained.parameters())))
    for plain, folded in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, folded, rtol=1e-4, atol=1e-5)


def test_what_shares_a_batch_and_masked_memory_change_nothing() -> None:
    gram = model()
    alone = last_logits(gram, HISTORY)
    others = [[1, 2], list(range(30, 50)), [5, 6, 7]]
    torch.testing.assert_close(last_logits(gram, HISTORY, others), alone, **TOLERANCE)
    memory = memory_of(gram, HISTORY[:-1])
    wider = torch.cat([memory, torch.randn(1, 9, memory.shape[2])], 1)
    mask = torch.arange(wider.shape[1])[None] < memory.shape[1]
    with torch.no_grad():
        masked = logits_of(gram, wider, gram._trained.label_IY[HISTORY[-1:]], mask)[0]
    torch.testing.assert_close(alone, masked, **TOLERANCE)


def test_only_place_vectors_tell_the_order_of_item_prompts() -> None:
    history, target = [3, 17, 42, 8], 25
    order = [2, 0, 3, 1]
    permuted = [history[place] for place in order]
    without = model(prompts={"user": False, "slot_vectors": False})
    torch.testing.assert_close(last_logits(without, [*permuted, target]), last_logits(without, [*history, target]), **TOLERANCE)
    gram = model(prompts={"user": False})
    before = last_logits(gram, [*history, target])
    assert (last_logits(gram, [*permuted, target]) - before).abs().max() > 1e-2
    # The newest item has place 1: item `order[-1 - n]` of the history now stands in place n + 1.
    weight = gram._trained.places.weight
    moved = weight.detach().clone()
    for place in range(len(history)):
        moved[place + 1] = weight[len(history) - order[len(history) - 1 - place]]
    with torch.no_grad():
        weight.copy_(moved)
    torch.testing.assert_close(last_logits(gram, [*permuted, target]), before, **TOLERANCE)


def test_texts_are_encoded_each_on_its_own() -> None:
    gram = model()
    prompts = gram._texts.prompts
    with torch.no_grad():
        state_SD, start_N = gram._trained.encode(prompts)
        for item in range(N_ITEMS):
            alone, _ = gram._trained.encode(prompts.take([item]))
            torch.testing.assert_close(state_SD[start_N[item] : start_N[item] + len(prompts[item])], alone, **TOLERANCE)
        changed = Ragged(np.where(np.arange(len(prompts.item)) == prompts.offsets[7], 80, prompts.item).astype(np.int32), prompts.offsets)
        other_SD, _ = gram._trained.encode(changed)
    is_changed = (other_SD != state_SD).any(1)
    rows = torch.zeros(len(state_SD), dtype=torch.bool)
    rows[start_N[7] : start_N[7] + len(prompts[7])] = True
    assert torch.equal(is_changed, rows)


def test_kept_item_states_are_those_of_a_direct_encoding() -> None:
    gram = model()
    network = gram._trained
    states = ItemStates(T5Encoder(network.t5), gram._texts.prompts, network.places.weight.shape[1], torch.device("cpu"))
    histories = queries([[], [7], HISTORY, [1, 2, 3]]).histories
    read = histories.tail(gram.config.prompts.max_history)
    states.ensure(read.item)
    assert np.flatnonzero(states._is_there).tolist() == sorted(set(read.item.tolist()))
    with torch.no_grad():
        memory_UMD, is_real_UM = states.memory(read, gram._user_prompts(read), network.places.weight)
        for row in range(len(histories)):
            direct = memory_of(gram, histories[row].tolist())[0]
            assert is_real_UM[row].sum() == len(direct)
            torch.testing.assert_close(memory_UMD[row, is_real_UM[row]], direct, **TOLERANCE)


def test_states_are_dropped_with_the_weights_they_were_made_of() -> None:
    gram = model()
    asked = queries([HISTORY, [1, 2]])
    before = gram.generate(asked, 10)
    gram._trained.train()
    with torch.no_grad():
        gram._trained.t5.shared.weight.mul_(1.3)
    gram._trained.eval()
    after = gram.generate(asked, 10)
    assert (after.scores != before.scores).any()
    fresh = model()
    with torch.no_grad():
        fresh._trained.t5.shared.weight.mul_(1.3)
    np.testing.assert_array_equal(after.scores, fresh.generate(asked, 10).scores)


def test_the_loss_is_the_mean_over_tokens_of_the_library_logits() -> None:
    gram = model()
    # The ID of 20 has a number behind its words and is a token longer.
    read = batch(gram, [[3, 17, 20], [5, 8]])
    with torch.no_grad():
        loss, n_targets = gram._trained.loss(read)
    parts = []
    for history, target in (([3], 17), ([3, 17], 20), ([5], 8)):
        label = gram._trained.label_IY[target]
        label = label[label != PAD]
        with torch.no_grad():
            parts.append(functional.cross_entropy(logits_of(gram, memory_of(gram, history), label[None])[0], label, reduction="none"))
    assert [len(part) for part in parts] == [4, 5, 4]
    assert n_targets == 3
    torch.testing.assert_close(loss / n_targets, torch.cat(parts).mean(), rtol=1e-5, atol=1e-5)


def test_more_prompts_of_the_same_user_do_not_leak_into_earlier_targets() -> None:
    gram = model()
    longer = replace(batch(gram, [HISTORY]))
    label_BCY = gram._trained.label_IY[torch.from_numpy(longer.target_BC)]
    with torch.no_grad():
        state = gram._trained.decode(gram._trained.memory(longer), label_BCY) @ gram._trained.t5.lm_head.weight.T
    for place in range(1, len(HISTORY)):
        torch.testing.assert_close(state[0, place - 1], library_logits(gram, HISTORY[: place + 1]), **TOLERANCE)


def test_other_texts_give_other_logits() -> None:
    parts = texts()
    other = replace(parts, prompts=texts(seed=1).prompts)
    assert (last_logits(model(parts), HISTORY) - last_logits(model(other), HISTORY)).abs().max() > 1e-3
