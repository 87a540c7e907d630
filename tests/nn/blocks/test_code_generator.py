"""The generator over codes of unequal length, some a prefix of others, some of several items."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbench.core import Queries, StageFailed
from recbench.nn.blocks.seq2seq.generator import CodeGenerator
from recbench.nn.blocks.seq2seq.model import EMPTY_HISTORY, NEVER_SEEN, PAD, PADDED_SLOT, START
from recbench.nn.blocks.seq2seq.settings import Seq2SeqSettings
from recbench.nn.codes.catalogue import ItemCodes
from recbench.testing import queries

N_ITEMS, N_VALUES, N_LEVELS = 60, 5, 3
HISTORIES = [[3, 4, 5], [7], [], list(range(20)), [9, 9, 11]]


def settings_of(**changes: Any) -> Seq2SeqSettings:
    sizes = {"width": 16, "n_encoder_layers": 1, "n_decoder_layers": 1, "n_heads": 2, "head_width": 8, "hidden": 32, "max_history": 5}
    return Seq2SeqSettings.model_validate(sizes | changes)


def colliding_codes(*, shared_tokens: bool = False) -> ItemCodes:
    """60 codes of 1 to 3 levels: fewer different ones than items, and some that are prefixes of others."""
    rng = np.random.default_rng(0)
    code = rng.integers(0, N_VALUES, (N_ITEMS, N_LEVELS)).astype(np.int32)
    code[np.arange(N_LEVELS) >= rng.integers(1, N_LEVELS + 1, N_ITEMS)[:, None]] = -1
    assert len(np.unique(code, axis=0)) < N_ITEMS
    return ItemCodes(code, (N_VALUES,) * N_LEVELS, shared_tokens=shared_tokens)


def generator_of(seed: int = 1, **changes: Any) -> CodeGenerator:
    made = CodeGenerator(settings_of(**changes), colliding_codes(), seed, may_collide=True)
    if made.settings.item_places:
        torch.nn.init.normal_(made.network.places.weight, generator=torch.Generator().manual_seed(seed))
    return made


@torch.no_grad()
def log_likelihoods(generator: CodeGenerator, history: list[int]) -> np.ndarray:
    """The score of every item after a history, (n_items,), by teacher forcing."""
    network = generator.network
    newest = history[-generator.settings.max_history :] or [EMPTY_HISTORY]
    user = torch.zeros(1, dtype=torch.int64) if generator.settings.user_tokens else None
    item_1I = torch.arange(len(generator.codes))[None]
    memory = network.encode(torch.tensor([newest]), user)
    state_1ILD = network.decode(memory, network.decoder_input(item_1I), torch.full_like(item_1I, len(newest) - 1))
    code_1IL = network.written_tokens[item_1I]
    log_1IL = torch.log_softmax(state_1ILD @ network.t5.shared.weight.T, -1).gather(3, code_1IL[..., None]).squeeze(3)
    scores: np.ndarray = log_1IL.masked_fill(code_1IL == PAD, 0.0).sum(2)[0].numpy()
    return scores


@pytest.mark.parametrize(
    ("attention", "item_places", "user_tokens"), [("full", True, 1), ("causal", True, 0), ("causal", False, 1), ("full", False, 0)]
)
def test_a_beam_as_wide_as_the_catalogue_gives_the_order_of_exhaustive_scores(attention: str, item_places: bool, user_tokens: int) -> None:
    generator = generator_of(n_beams=N_ITEMS, encoder_attention=attention, item_places=item_places, user_tokens=user_tokens)
    asked: Queries = queries(HISTORIES)
    rankings = generator.generate(asked, N_ITEMS)
    for row, history in enumerate(HISTORIES):
        exhaustive = log_likelihoods(generator, history)
        # The end token makes the items' codes exclude each other.
        assert np.exp(exhaustive[np.unique(generator.codes.code, axis=0, return_index=True)[1]]).sum() < 1
        best = np.lexsort((np.arange(N_ITEMS), -exhaustive.round(5)))
        for view, items, scores in zip(rankings.views, rankings.items[:, row], rankings.scores[:, row], strict=True):
            expected = [item for item in best if view == "keep" or item not in history]
            assert items[items >= 0].tolist() == expected
            np.testing.assert_allclose(scores[: len(expected)], exhaustive[expected], atol=2e-5)


@pytest.mark.parametrize("follows", [0, 1])
def test_a_code_and_one_that_goes_on_from_it_can_both_be_learnt(follows: int) -> None:
    """Without an end token item 0 would always stand before item 1, whose code begins with its code."""
    generator = CodeGenerator(settings_of(dropout=0.0), ItemCodes(np.array([[0, -1], [0, 1], [1, -1]], np.int32), (2, 2)), 1)
    optimizer = torch.optim.Adam(generator.network.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        generator.network.loss(torch.tensor([[2]]), None, torch.tensor([[follows]]), torch.tensor([[0]]))[0].backward()
        optimizer.step()
    assert generator.generate(queries([[2]]), 3).view("keep")[0, 0] == follows


def test_one_causal_pass_serves_every_prefix() -> None:
    network = generator_of(encoder_attention="causal", item_places=True).network
    items, targets = [1, 2, 3, 4, 5], [2, 3, 4, 5, 6]

    def loss_of(history: list[int], target: list[int], slot: list[int]) -> float:
        padded = torch.tensor([history + [PADDED_SLOT] * (7 - len(history))])
        with torch.no_grad():
            loss, n_targets = network.loss(padded, None, torch.tensor([[*target, PADDED_SLOT]]), torch.tensor([[*slot, 0]]))
        assert n_targets == len(target)
        return float(loss)

    alone = [loss_of(items[: n + 1], [targets[n]], [n]) for n in range(5)]
    assert loss_of(items, targets, list(range(5))) == pytest.approx(sum(alone), abs=1e-4)


def test_codes_of_a_history_stand_side_by_side() -> None:
    network = CodeGenerator(settings_of(user_tokens=1), ItemCodes(np.array([[0, -1], [0, 1], [1, -1]], np.int32), (2, 2)), 1).network
    token, slot = network.memory_tokens(torch.tensor([[0, 1, PADDED_SLOT], [2, 0, 1], [EMPTY_HISTORY, -1, -1]]), torch.zeros(3).long())
    user, end = network.first_user_token, network.end
    assert (user, end) == (8, 7)
    assert token.tolist() == [[user, 3, 3, 6, PAD], [user, 4, 3, 3, 6], [user, START, START, PAD, PAD]]
    assert slot.tolist() == [[-1, 0, 1, 1, NEVER_SEEN], [-1, 0, 1, 2, 2], [-1, 0, 0, NEVER_SEEN, NEVER_SEEN]]
    assert network.written_tokens.tolist() == [[3, 7, PAD], [3, 6, 7], [4, 7, PAD], [START, START, 7], [PAD, PAD, PAD]]


@pytest.mark.parametrize("attention", ["full", "causal"])
def test_padding_and_company_change_nothing(attention: str) -> None:
    generator = generator_of(encoder_attention=attention, item_places=True)
    together = generator.generate(queries(HISTORIES), 10).scores
    for row, history in enumerate(HISTORIES):
        np.testing.assert_allclose(generator.generate(queries([history]), 10).scores[:, 0], together[:, row], atol=1e-5)


def test_places_begin_as_if_there_were_none_and_then_tell_items_apart() -> None:
    asked = queries([[3, 4, 5]])
    without, with_places = (CodeGenerator(settings_of(item_places=has), colliding_codes(), 1, may_collide=True) for has in (False, True))
    np.testing.assert_array_equal(without.generate(asked, 5).scores, with_places.generate(asked, 5).scores)
    with torch.no_grad():
        with_places.network.places.weight[2] += 1.0
    assert np.abs(without.generate(asked, 5).scores - with_places.generate(asked, 5).scores).max() > 1e-3


def test_codes_that_collide_are_refused_unless_they_may_and_are_read_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="have the same code"):
        CodeGenerator(settings_of(), colliding_codes(), 1)
    made = generator_of(item_places=True)
    made.save(tmp_path)
    expected, found = (one.generate(queries(HISTORIES), 10) for one in (made, CodeGenerator.load(tmp_path)))
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_an_empty_code_is_refused() -> None:
    with pytest.raises(StageFailed, match="Item 1 of 2 has an empty code"):
        CodeGenerator(settings_of(), ItemCodes(np.array([[0], [-1]], np.int32), (1,)), 1)
