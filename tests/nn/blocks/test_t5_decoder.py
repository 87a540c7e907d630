"""The T5 decoder and the search over it against the library's own forward and `generate`."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from beam_case import Code, assert_same_list, library_search, ragged, search
from numpy.typing import NDArray
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration

from recbench.nn.blocks.t5_decoder import T5Decoder
from recbench.nn.blocks.t5_parameters import PrefixStates, T5DecoderParameters
from recbench.nn.codes.trie import CodeTrie

N_LAYERS, N_HEADS, D_KV, VOCABULARY = 2, 3, 8, 40
END = 2


def model_of(seed: int = 0, **options: Any) -> T5ForConditionalGeneration:
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=VOCABULARY, d_model=32, d_kv=D_KV, d_ff=48, num_layers=N_LAYERS, num_heads=N_HEADS, initializer_factor=1.5, **options
    )
    model = T5ForConditionalGeneration(config).eval()
    for name, parameter in model.named_parameters():
        if "layer_norm" in name:
            parameter.data.uniform_(0.5, 1.5)
    return model


@pytest.fixture(scope="module")
def model() -> T5ForConditionalGeneration:
    return model_of()


@pytest.fixture(scope="module")
def codes() -> list[Code]:
    """60 codes of three tokens, several under most prefixes."""
    rng = np.random.default_rng(0)
    triples = np.stack(np.unravel_index(rng.permutation(8 * 8 * 8)[:60], (8, 8, 8)), 1) + np.array([3, 11, 19])
    return [tuple(map(int, code)) for code in triples]


@pytest.fixture(scope="module")
def unequal(codes: list[Code]) -> list[Code]:
    """Codes of one to four tokens and an end token; some are prefixes of others but for it."""
    rng = np.random.default_rng(1)
    lists = {(*code[: rng.integers(1, 4)], *([30] if rng.random() < 0.3 else []), END): None for code in codes}
    return list(lists)


def prompt(n_users: int = 4, length: int = 9, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY, (n_users, length), generator=generator)
    mask = torch.arange(length) < torch.randint(1, length + 1, (n_users, 1), generator=generator)
    return {"input_ids": ids * mask, "attention_mask": mask.long()}


@torch.no_grad()
def decoder_of(model: T5ForConditionalGeneration, read: dict[str, Tensor]) -> T5Decoder:
    memory = model.encoder(**read).last_hidden_state
    return T5Decoder(model, memory, read["attention_mask"].bool(), start_token=1)


@torch.no_grad()
def teacher_forced(model: T5ForConditionalGeneration, read: dict[str, Tensor], codes: list[Code]) -> NDArray[np.float32]:
    """The sum of log-probabilities of each code for each user, by the library's forward, (U, I)."""
    scores = []
    tokens = torch.tensor([(1, *code) for code in codes])
    for ids, mask in zip(read["input_ids"], read["attention_mask"], strict=True):
        many = {"input_ids": ids.expand(len(codes), -1), "attention_mask": mask.expand(len(codes), -1)}
        log = model(**many, decoder_input_ids=tokens[:, :-1]).logits.log_softmax(-1)
        scores.append(log.gather(2, tokens[:, 1:, None]).sum((1, 2)).numpy())
    return np.stack(scores)


@pytest.mark.parametrize(
    "options", [{}, {"feed_forward_proj": "gated-gelu"}, {"feed_forward_proj": "gelu"}, {"tie_word_embeddings": False}]
)
def test_logits_are_those_of_the_model(options: dict[str, Any]) -> None:
    """Six tokens, beams that part and change places, users who leave, and the last three tokens in one pass."""
    model, read = model_of(3, **options), prompt(5)
    rng = np.random.default_rng(0)
    decoder = decoder_of(model, read)
    sequences = decoder.start_tokens()[:, None, None]
    parent, users, kept = None, None, torch.arange(5)
    with torch.inference_mode():
        for step in range(4):
            n_tokens = 3 if step == 3 else 1
            n_users, width = sequences.shape[:2]
            state = decoder.advance(sequences[:, :, -n_tokens:], parent, users, is_last=step == 3)
            logits = decoder.logits(state.flatten(0, 2)).view(n_users, width, n_tokens, -1)
            for user in range(n_users):
                many = {name: value[kept[user]].expand(width, -1) for name, value in read.items()}
                expected = model(**many, decoder_input_ids=sequences[user]).logits[:, -n_tokens:]
                torch.testing.assert_close(logits[user], expected, rtol=1e-5, atol=1e-5)
            users = torch.tensor([0, 1, 3, 4]) if step == 1 else torch.tensor([0, 2]) if step == 2 else None
            if users is not None:
                sequences, kept = sequences[users], kept[users]
            width = [4, 3, 6, 0][step]
            parent = torch.from_numpy(rng.integers(0, sequences.shape[1], size=(len(sequences), width)))
            before = sequences.gather(1, parent[:, :, None].expand(-1, -1, sequences.shape[2]))
            new = torch.from_numpy(rng.integers(3, VOCABULARY, size=(len(sequences), width, 3 if step == 2 else 1)))
            sequences = torch.cat([before, new], 2)


def test_the_last_call_leaves_the_others_where_they_were(model: T5ForConditionalGeneration) -> None:
    decoder, untouched = decoder_of(model, prompt()), decoder_of(model, prompt())
    token = torch.full((4, 2, 1), 5)
    with torch.inference_mode():
        for one in (decoder, untouched):
            one.advance(one.start_tokens()[:, None, None], None, None, is_last=False)
        decoder.advance(torch.full((2, 1, 3), 7), torch.zeros(2, 1, dtype=torch.int64), torch.tensor([1, 3]), is_last=True)
        parent = torch.zeros(4, 2, dtype=torch.int64)
        after, expected = (one.advance(token, parent, None, is_last=False) for one in (decoder, untouched))
    torch.testing.assert_close(after, expected, rtol=0, atol=0)


def test_as_many_beams_as_items_give_the_order_of_all_scores(model: T5ForConditionalGeneration, codes: list[Code]) -> None:
    read, histories = prompt(), [[0, 7, 7], [], list(range(60)), [59]]
    scores = teacher_forced(model, read, codes)
    for use_chains in (True, False):
        ranked = search(decoder_of(model, read), codes, histories, 60, use_chains=use_chains)
        for user, history in enumerate(histories):
            order = np.argsort(-scores[user], kind="stable").tolist()
            unseen = [item for item in order if item not in history]
            assert ranked.view("keep")[user].tolist() == order
            assert ranked.view("unseen")[user].tolist() == unseen + [-1] * (60 - len(unseen))
            np.testing.assert_allclose(ranked.scores[0, user], scores[user][order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_beams", [2, 7, 20])
def test_equals_the_library_s_search(model: T5ForConditionalGeneration, codes: list[Code], n_beams: int) -> None:
    read, histories = prompt(), [[0, 1, 2, 3], [], list(range(5, 30)), [41] * 3]
    ranked = search(decoder_of(model, read), codes, histories, n_beams)
    for view, excluded in enumerate(([[]] * 4, histories)):
        expected = library_search(model, read, codes, excluded, n_beams, end=None, power=0.0)
        for user in range(4):
            assert_same_list(ranked.items[view, user], ranked.scores[view, user], expected[user])


@pytest.mark.parametrize("n_beams", [2, 6, 20])
def test_equals_the_library_s_search_over_unequal_codes(model: T5ForConditionalGeneration, unequal: list[Code], n_beams: int) -> None:
    """Length norm `hf` is the library's length penalty of 1 where codes carry their end token."""
    read, histories = prompt(seed=1), [[0, 1, 2, 3], [], list(range(5, 30)), [11] * 3]
    assert {len(code) for code in unequal} == {2, 3, 4, 5}
    ranked = search(decoder_of(model, read), unequal, histories, n_beams, length_norm="hf")
    chains = search(decoder_of(model, read), unequal, histories, n_beams, length_norm="hf", use_chains=False)
    np.testing.assert_array_equal(ranked.items, chains.items)
    np.testing.assert_allclose(ranked.scores, chains.scores, rtol=1e-5, atol=1e-5)
    for view, excluded in enumerate(([[]] * 4, histories)):
        expected = library_search(model, read, unequal, excluded, n_beams, end=END, power=1.0)
        for user in range(4):
            assert_same_list(ranked.items[view, user], ranked.scores[view, user], expected[user])


def test_each_view_of_a_joint_pass_is_that_view_alone(model: T5ForConditionalGeneration, unequal: list[Code]) -> None:
    read, rng = prompt(6), np.random.default_rng(2)
    histories = [rng.integers(0, len(unequal), size=n).tolist() for n in (0, 1, 5, 20, 40, 200)]
    for renormalise in (False, True):
        both = search(decoder_of(model, read), unequal, histories, 5, renormalise=renormalise)
        for view in ("keep", "unseen"):
            alone = search(decoder_of(model, read), unequal, histories, 5, views=(view,), renormalise=renormalise)
            np.testing.assert_array_equal(both.view(view), alone.view(view))
            np.testing.assert_allclose(both.scores[both.views.index(view)], alone.scores[0], rtol=1e-5, atol=1e-5)


def test_neighbours_and_padding_change_nothing(
    model: T5ForConditionalGeneration, codes: list[Code], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = prompt(5)
    together = search(decoder_of(model, read), codes, [[3]] * 5, 10)
    for user in range(5):
        length = int(read["attention_mask"][user].sum())
        alone = search(decoder_of(model, {name: value[user : user + 1, :length] for name, value in read.items()}), codes, [[3]], 10)
        np.testing.assert_array_equal(alone.items[:, 0], together.items[:, user])
        np.testing.assert_allclose(alone.scores[:, 0], together.scores[:, user], rtol=1e-5, atol=1e-5)
    padded = {name: torch.nn.functional.pad(value, (0, 30)) for name, value in read.items()}
    np.testing.assert_array_equal(search(decoder_of(model, padded), codes, [[3]] * 5, 10).items, together.items)
    monkeypatch.setattr("recbench.nn.blocks.t5_decoder._CHUNK_ROWS", {"cpu": 20})
    np.testing.assert_array_equal(search(decoder_of(model, read), codes, [[3]] * 5, 10).items, together.items)


def test_autocast_around_the_search_and_users_without_memory(model: T5ForConditionalGeneration, codes: list[Code]) -> None:
    read = prompt()
    expected = search(decoder_of(model, read), codes, [[]] * 4, 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        decoder = T5Decoder(model, torch.zeros(4, 9, 32), torch.zeros(4, 9).bool(), start_token=1)
        assert np.isfinite(search(decoder, codes, [[]] * 4, 10).scores).all()
    memory = model.encoder(**read).last_hidden_state
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = search(T5Decoder(model, memory, read["attention_mask"].bool(), start_token=1), codes, [[]] * 4, 10)
    np.testing.assert_array_equal(inside.items, expected.items)
    np.testing.assert_allclose(inside.scores, expected.scores, rtol=1e-5, atol=1e-5)


def test_memory_is_kept_once_per_user(model: T5ForConditionalGeneration, codes: list[Code]) -> None:
    decoder = decoder_of(model, prompt(4, 9))
    # Rounded up to whole registers.
    expected = [(4, N_HEADS, 16, D_KV)] * 2 * N_LAYERS
    assert [tuple(part.shape) for layer in decoder._memory for part in layer] == expected
    search(decoder, codes, [[1]] * 4, 30)
    assert [tuple(part.shape) for layer in decoder._memory for part in layer] == expected


def test_wider_beams_find_a_better_best_item(model: T5ForConditionalGeneration, codes: list[Code]) -> None:
    """On average, since a wider beam may lose a single user's item (see test_beam); and no width beats the best of all items."""
    read = prompt(12)
    best = [search(decoder_of(model, read), codes, [[]] * 12, n, k=1, views=("keep",)).scores[0, :, 0] for n in (1, 2, 4, 8, 60)]
    for narrow, wide in pairwise(best):
        assert narrow.mean() <= wide.mean() + 1e-5
        assert (narrow <= best[-1] + 1e-5).all()
    assert best[0].mean() < best[-1].mean()
    np.testing.assert_allclose(best[-1], teacher_forced(model, read, codes).max(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_reads", [0, 1, 20, 1_000])
@pytest.mark.parametrize("renormalise", [False, True])
def test_a_table_of_prefixes_changes_no_list(
    model: T5ForConditionalGeneration, codes: list[Code], unequal: list[Code], n_reads: int, renormalise: bool
) -> None:
    """Whole, down to a level, and empty; with chains and without; codes of equal and unequal length."""
    read, histories = prompt(5), [[0, 1, 2, 3], [], list(range(5, 30)), [11] * 3, [7]]
    memory, mask = model.encoder(**read).last_hidden_state.detach(), read["attention_mask"].bool()
    parameters = T5DecoderParameters(model)
    for catalogue in (codes, unequal):
        trie = CodeTrie.from_tokens(ragged(catalogue))
        prefixes = PrefixStates.of(parameters, trie, 1, n_reads)
        n_on_level = [1, *((trie.path[:, level].unique() >= 0).sum() for level in range(trie.depth))]
        n_fit = next((depth for depth in range(trie.depth) if n_on_level[depth] > n_reads), trie.depth)
        assert prefixes.depth == (n_fit if n_fit > 1 else 0)
        assert len(prefixes.state_ZD) == len(prefixes.query_ZX) == sum(n_on_level[: prefixes.depth])
        for use_chains in (True, False):
            plain, looked_up = (
                search(
                    T5Decoder(parameters, memory, mask, 1, table), catalogue, histories, 9, renormalise=renormalise, use_chains=use_chains
                )
                for table in (None, prefixes)
            )
            np.testing.assert_array_equal(looked_up.items, plain.items)
            np.testing.assert_allclose(looked_up.scores, plain.scores, rtol=1e-5, atol=1e-5)


def test_what_is_looked_up_is_not_computed(model: T5ForConditionalGeneration, codes: list[Code], monkeypatch: pytest.MonkeyPatch) -> None:
    parameters, read = T5DecoderParameters(model), prompt()
    memory, mask = model.encoder(**read).last_hidden_state.detach(), read["attention_mask"].bool()
    prefixes = PrefixStates.of(parameters, CodeTrie.from_tokens(ragged(codes)), 1, 1_000)
    expected = search(T5Decoder(parameters, memory, mask, 1), codes, [[]] * 4, 10)
    monkeypatch.delattr(T5DecoderParameters, "after_first_attention")
    found = search(T5Decoder(parameters, memory, mask, 1, prefixes), codes, [[]] * 4, 10)
    np.testing.assert_array_equal(found.items, expected.items)


def test_a_table_takes_no_more_memory_than_it_may(
    model: T5ForConditionalGeneration, codes: list[Code], monkeypatch: pytest.MonkeyPatch
) -> None:
    trie, parameters = CodeTrie.from_tokens(ragged(codes)), T5DecoderParameters(model)
    n_first = 1 + len(trie.path[:, 0].unique())
    monkeypatch.setattr("recbench.nn.blocks.t5_parameters._MAX_PREFIX_BYTES", n_first * 4 * (32 + N_HEADS * D_KV))
    prefixes = PrefixStates.of(parameters, trie, 1, 1_000)
    assert (prefixes.depth, len(prefixes.state_ZD)) == (2, n_first)
