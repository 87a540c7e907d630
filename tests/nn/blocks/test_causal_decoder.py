"""Beam search over decoder-only models against the library's `generate`."""

from typing import Any

import numpy as np
import pytest
import torch
from beam_case import Code, assert_same_list, library_search, search
from torch import Tensor
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from recbench.nn.blocks.causal_decoder import CausalDecoder

VOCABULARY = 40
END = 2
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}


def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()


def qwen() -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    return Qwen2ForCausalLM(Qwen2Config(**SHAPE)).eval()


def codes_of(*, with_end: bool) -> list[Code]:
    rng = np.random.default_rng(0)
    triples = np.stack(np.unravel_index(rng.permutation(8 * 8 * 8)[:60], (8, 8, 8)), 1) + np.array([3, 11, 19])
    codes = [tuple(map(int, code)) for code in triples]
    return list({(*code[: rng.integers(1, 4)], END): None for code in codes}) if with_end else codes


def prompt(n_users: int = 4, length: int = 7) -> dict[str, Tensor]:
    """Padded on the left, as `generate` wants it."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(27, VOCABULARY, (n_users, length), generator=generator)
    mask = torch.arange(length) >= torch.tensor([0, 2, length - 1, 4][:n_users])[:, None]
    return {"input_ids": ids * mask, "attention_mask": mask.long()}


def decoder_of(model: Any, read: dict[str, Tensor]) -> CausalDecoder:
    return CausalDecoder(model, read["input_ids"], read["attention_mask"].bool())


@pytest.mark.parametrize("make", [llama, qwen])
@pytest.mark.parametrize("with_end", [False, True])
def test_equals_the_library_s_search(make: Any, with_end: bool) -> None:
    model, read, codes = make(), prompt(), codes_of(with_end=with_end)
    histories = [[0, 1, 2, 3], [], list(range(5, 25)), [11]]
    ranked = search(decoder_of(model, read), codes, histories, 10, length_norm="hf" if with_end else "none")
    for view, excluded in enumerate(([[]] * 4, histories)):
        expected = library_search(model, read, codes, excluded, 10, end=END if with_end else None, power=float(with_end))
        for user in range(4):
            assert_same_list(ranked.items[view, user], ranked.scores[view, user], expected[user])


def test_padding_neighbours_and_chains_change_nothing() -> None:
    model, read, codes = llama(), prompt(), codes_of(with_end=True)
    histories = [[0, 1], [], list(range(len(codes) - 3)), [5]]
    together = search(decoder_of(model, read), codes, histories, 8)
    stepwise = search(decoder_of(model, read), codes, histories, 8, use_chains=False)
    right = {name: torch.zeros_like(value) for name, value in read.items()}
    for user in range(4):
        length = int(read["attention_mask"][user].sum())
        for name in read:
            right[name][user, :length] = read[name][user, -length:]
        alone = search(
            decoder_of(model, {name: value[user : user + 1, :length] for name, value in right.items()}),
            codes,
            histories[user : user + 1],
            8,
        )
        np.testing.assert_array_equal(alone.items[:, 0], together.items[:, user])
    for other in (stepwise, search(decoder_of(model, right), codes, histories, 8)):
        np.testing.assert_array_equal(other.items, together.items)
        np.testing.assert_allclose(other.scores, together.scores, rtol=1e-5, atol=1e-5)


def test_prompts_are_kept_once_per_user() -> None:
    """Numbers: users x (columns of the prompt, and what each beam has read) x layers x 2 x key heads x their width."""

    def kept() -> int:
        return sum(part.numel() for layer in decoder._cache.kept for part in layer)

    model, codes = llama(), codes_of(with_end=False)
    decoder = decoder_of(model, prompt())
    per_column = 4 * 2 * 2 * 2 * 8
    assert kept() == 7 * per_column
    search(decoder, codes, [[]] * 4, 10, use_chains=False, views=("keep",))
    # The prompt's last token once more, then the first step's beams (eight first tokens); what is read last is not kept.
    assert kept() == (7 + 1 + 8) * per_column


def test_logits_of_a_half_width_model_are_not_rounded() -> None:
    """A bf16 number has eight significant bits: rounded logits make equal scores of items that the model tells apart."""
    model, codes = llama().to(torch.bfloat16), codes_of(with_end=False)
    read = prompt()
    decoder = decoder_of(model, read)
    state = torch.randn(50, 32, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    exact = state.double() @ model.lm_head.weight.detach().double().T
    np.testing.assert_allclose(decoder.logits(state).numpy(), exact.numpy(), rtol=0, atol=1e-4)
    ranked = search(decoder, codes, [[]] * 4, 60, views=("keep",))
    for scores in ranked.scores[0]:
        assert len(np.unique(scores)) == 60


def test_a_window_that_is_too_short_is_refused() -> None:
    model = qwen()
    model.config.sliding_window, model.config.use_sliding_window = 8, True
    with pytest.raises(ValueError, match="window over 8"):
        search(decoder_of(model, prompt()), codes_of(with_end=False), [[]] * 4, 10)


def test_a_model_that_caps_its_logits_is_refused() -> None:
    model = Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=8))
    with pytest.raises(ValueError, match="final_logit_softcapping"):
        decoder_of(model, prompt())


def test_a_head_that_is_more_than_a_matrix_is_refused() -> None:
    model = llama()
    model.lm_head = torch.nn.Sequential(model.lm_head)
    with pytest.raises(ValueError, match="come from a Sequential"):
        decoder_of(model, prompt())
