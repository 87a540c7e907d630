"""Folders of language models as towers: what is no tower is a sentence, and weights are those of the file, in float32."""

import json
from pathlib import Path
from typing import Any

import hllm_case as case
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from recbench.core import BadConfig, Catalogue, DataUnavailable
from recbench.testing import LightContext, interactions
from recbench_models.hllm.bodies import body_from, item_body
from recbench_models.hllm.item_text import item_tokens
from recbench_models.hllm.recommender import HLLM

TITLES = ["red hat", "blue hat", "red rope", "blue rope"]


def save_tokenizer(folder: Path, words: list[str]) -> None:
    plain = Tokenizer(models.WordLevel({word: row for row, word in enumerate(["<unk>", *words])}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>").save_pretrained(folder)


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    case.body().save_pretrained(tmp_path / "llm")
    save_tokenizer(tmp_path / "llm", ["title", ":", "red", "blue", "hat", "rope"])
    return tmp_path / "llm"


def fields(**changes: Any) -> dict[str, Any]:
    return {"text.fields": ["title"], "text.prompt": "", "text.max_tokens": 6, "sequences.max_length": 3, **changes}


def test_an_encoder_decoder_is_no_tower(tmp_path: Path) -> None:
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    T5ForConditionalGeneration(T5Config(vocab_size=30, **sizes)).save_pretrained(tmp_path)
    for weights in ("pretrained", "random"):
        with pytest.raises(BadConfig, match=r"item.tower: .* holds a t5, an encoder-decoder model; a tower is one of the two"):
            item_body(case.config(item={"tower": str(tmp_path), "weights": weights}))


def test_bodies_compute_in_float32_whatever_their_files_say(llama: Path) -> None:
    described = json.loads((llama / "config.json").read_text())
    for key in ("dtype", "torch_dtype"):
        described.pop(key, None)
    (llama / "config.json").write_text(json.dumps(described | {"dtype": "bfloat16"}))
    for weights in ("pretrained", "random"):
        body = item_body(case.config(item={"tower": str(llama), "weights": weights}))
        again = body_from(body.config.to_dict())
        assert {parameter.dtype for part in (body, again) for parameter in part.parameters()} == {torch.float32}


def test_a_tower_without_tokenizer_or_with_another_s_is_refused(llama: Path, tmp_path: Path) -> None:
    context = LightContext(interactions([[0, 1]], 4), tmp_path, {"title": TITLES})
    save_tokenizer(llama, ["garden", "kitchen"])
    with pytest.raises(BadConfig, match=r"tokenizer of the item\.tower in .*llm does not know 5 of 5 words"):
        item_tokens(context, case.config(item={"tower": str(llama)}, **fields()))
    for file in llama.glob("token*"):
        file.unlink()
    with pytest.raises(DataUnavailable, match=r"item.tower in .*llm has no tokenizer: there is no tokenizer\.json"):
        item_tokens(context, case.config(item={"tower": str(llama)}, **fields()))


def test_a_fit_begins_with_a_released_checkpoint(llama: Path, tmp_path: Path) -> None:
    tensors: dict[str, torch.Tensor] = {"item_emb_tokens": torch.full((1, 1, case.WIDTH), 0.5), "logit_scale": torch.tensor(2.0)}
    for name, seed in (("item_llm", 7), ("user_llm", 8)):
        tensors |= {f"{name}.model.{key}": tensor.clone() for key, tensor in case.body(seed=seed).state_dict().items()}
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    named = {"item.tower": str(llama), "user.tower": str(llama), "checkpoint": str(tmp_path), "joint.steps": None}
    settings = case.config(**fields(**named, training={"max_steps": 1, "learning_rate": 1e-9}, item={"learning_rate": 1e-9}))
    assert tmp_path / "pytorch_model.bin" in settings.named_files()
    context = LightContext(interactions([[0, 1, 2], [2, 3, 1]], 4), tmp_path / "work", {"title": TITLES}, judge=lambda ranker: 0.0)
    recommender = HLLM(settings, Catalogue(4, 2))
    recommender.fit(context)
    user = recommender._trained
    expected = case.body(seed=8).state_dict()
    for name, tensor in user.tower.body.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6)
    assert user.temperature.log_scale.item() == pytest.approx(2.0, abs=1e-6)
    # Not the vectors of the folder's own weights.
    other = HLLM(settings.model_copy(update={"checkpoint": None}), Catalogue(4, 2))
    other.fit(LightContext(context.train, tmp_path / "other", {"title": TITLES}, judge=lambda ranker: 0.0))
    assert np.abs(recommender.item_vectors() - other.item_vectors()).max() > 0.1
