"""A checkpoint in the layout of HLLM's authors: what it holds arrives, what does not fit is a sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hllm_case as case
import pytest
import torch
from torch import Tensor

from recbench.core import BadConfig, BadData, BadRequest, DataUnavailable
from recbench_models.hllm.config import HLLMConfig
from recbench_models.hllm.item_tower import ItemTower
from recbench_models.hllm.released import begin_with_released
from recbench_models.hllm.user_side import UserSide

Tensors = dict[str, Tensor]


def released(change: Callable[[Tensors], object] = lambda _: None) -> Tensors:
    """Both towers with their language models' heads, the [ITEM] vector and the scale, by the names of the released files."""
    tensors: Tensors = {}
    for name, seed in (("item_llm", 7), ("user_llm", 8)):
        tensors |= {f"{name}.model.{key}": tensor.clone() for key, tensor in case.body(seed=seed).state_dict().items()}
        tensors[f"{name}.lm_head.weight"] = torch.ones(case.N_WORDS, case.WIDTH)
        tensors[f"{name}.model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    tensors |= {"item_emb_tokens": torch.full((1, 1, case.WIDTH), 0.25), "logit_scale": torch.tensor(3.0)}
    change(tensors)
    return tensors


def write(folder: Path, tensors: object) -> Path:
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder / "pytorch_model.bin"


def towers(**changes: Any) -> tuple[ItemTower, UserSide]:
    settings = case.config(**changes)
    from recbench_models.hllm.bodies import without_words

    return case.tower(**changes), UserSide(settings, case.WIDTH, without_words(case.body(seed=5)))


def test_towers_slot_and_scale_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    tower, user = towers()
    begin_with_released(write(tmp_path, released()), tower, user)
    for body, seed in ((tower.body, 7), (user.tower.body, 8)):
        expected = case.body(seed=seed).state_dict()
        for name, tensor in body.state_dict().items():
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)
    assert tower.slot is not None
    assert tower.slot.tolist() == [0.25] * case.WIDTH
    assert user.temperature.log_scale.item() == 3.0


def test_a_fixed_temperature_stays(tmp_path: Path) -> None:
    tower, user = towers(temperature=0.05)
    before = user.temperature.log_scale.item()
    begin_with_released(write(tmp_path, released()), tower, user)
    assert user.temperature.log_scale.item() == before


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda t: t.pop("item_llm.model.norm.weight"),
            BadConfig,
            r"item_llm, lacks 1 tensors of the item.tower, a LlamaModel: 'norm\.weight'",
        ),
        (lambda t: t.update({"user_llm.model.layers.9.x": torch.ones(1)}), BadConfig, r"user_llm, holds besides 1 .*'layers\.9\.x'"),
        (
            lambda t: t.update({"user_llm.model.norm.weight": torch.ones(3)}),
            BadConfig,
            r"'norm\.weight' has the shape \(3,\) and its place \(32,\)",
        ),
        (lambda t: t.pop("item_emb_tokens"), BadConfig, "was trained with item.pooling=mean"),
        (lambda t: t.pop("logit_scale"), BadConfig, "is none of HLLM"),
        (lambda t: t.update({"table": torch.ones(1)}), BadConfig, "is none of HLLM: .* holds 'table'"),
        (lambda t: [t.pop(name) for name in list(t) if name.startswith("user_llm")], BadConfig, "is none of HLLM"),
        (lambda t: t["logit_scale"].fill_(float("inf")), BadData, "'logit_scale' holds values that are no finite numbers"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: Callable[[Tensors], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        begin_with_released(write(tmp_path, released(change)), *towers())


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_damaged_file_is_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = write(tmp_path, released())
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    with pytest.raises(BadData, match=r"pytorch_model\.bin cannot be read"):
        begin_with_released(path, *towers())
    with pytest.raises(BadData, match="holds a list, not tensors"):
        begin_with_released(write(tmp_path, [1, 2]), *towers())


def test_the_settings_name_file_or_folder(tmp_path: Path) -> None:
    path = write(tmp_path, {"logit_scale": torch.ones(())})
    named = {"item.tower": "minilm", "user.tower": "./llm"}
    for given in (path, tmp_path):
        assert case.config(checkpoint=str(given), **named).located_checkpoint() == path
    with pytest.raises(DataUnavailable, match=r"there is no file .*nowhere"):
        case.config(checkpoint=str(tmp_path / "nowhere"), **named).located_checkpoint()
    with pytest.raises(BadConfig, match=r"name them as item\.tower and user\.tower"):
        case.config(checkpoint=str(path))
    with pytest.raises(BadConfig, match=r"leave item\.weights and user\.weights at pretrained"):
        case.config(checkpoint=str(path), item={"weights": "random"}, **named)


def test_a_released_checkpoint_given_as_a_tower_says_how_it_is_read(tmp_path: Path) -> None:
    write(tmp_path, {"logit_scale": torch.ones(())})
    settings: HLLMConfig = case.config(item={"tower": str(tmp_path)})
    with pytest.raises(BadRequest, match=r"holds no config\.json.*A released checkpoint of HLLM is read with --set checkpoint=PATH"):
        settings.item.located()
