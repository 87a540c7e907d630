"""Checkpoints that the authors of HLLM released: both towers, the [ITEM] vector and the temperature in one file (bytedance/HLLM)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recbench.core import BadConfig, BadData
from recbench.nn.text import sentences
from recbench_models.hllm.item_tower import ItemTower
from recbench_models.hllm.user_side import UserSide

_SLOT, _SCALE = "item_emb_tokens", "logit_scale"
_UNUSED = ("lm_head.", "pooler.", "cls.")
_BUFFER = ".rotary_emb.inv_freq"


def begin_with_released(path: Path, tower: ItemTower, user: UserSide) -> None:
    """Put a released checkpoint's weights into both towers, the learnt vector behind the texts and the temperature.

    The prediction heads of the language models, which HLLM never reads, stay in the file, and so does the user tower's table of words.

    Args:
        path: of the file, which is read as tensors and nothing else.
        tower: of the architecture that the checkpoint's item tower has.
        user: likewise.

    Raises:
        BadData: the file is damaged or holds values that are no finite numbers.
        BadConfig: it is no checkpoint of HLLM, or not of these architectures and this pooling.
    """
    what = f"The checkpoint {path}"
    with sentences(what, "its tensors"):
        read: Any = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(read, dict) or not all(isinstance(tensor, Tensor) for tensor in read.values()):
        raise BadData(f"{what} holds a {type(read).__name__}, not tensors by their names. Name the file pytorch_model.bin of a release.")
    damaged = [name for name, tensor in read.items() if not torch.isfinite(tensor).all()]
    if damaged:
        raise BadData(f"{what}: the tensor {damaged[0]!r} holds values that are no finite numbers. Get the file again.")
    parts = {name: _part(read, name) for name in ("item_llm", "user_llm")}
    known = {_SLOT, _SCALE}
    other = sorted(name for name in read if name not in known and name.partition(".")[0] not in parts)
    if other or not all(parts.values()) or _SCALE not in read:
        raise BadConfig(
            f"{what} is none of HLLM: it needs tensors item_llm.*, user_llm.* and {_SCALE}, and holds "
            f"{next(iter(other or read), 'none')!r}. Name the file pytorch_model.bin of a release."
        )
    _fill(tower.body, parts["item_llm"], f"{what}, item_llm", "item.tower")
    table = _table(parts["user_llm"])
    _fill(user.tower.body, {n: t for n, t in parts["user_llm"].items() if n != table}, f"{what}, user_llm", "user.tower")
    if (_SLOT in read) != (tower.slot is not None):
        pooling = "token" if _SLOT in read else "mean"
        raise BadConfig(f"{what} was trained with item.pooling={pooling}. Set it so.")
    with torch.no_grad():
        if tower.slot is not None:
            tower.slot.copy_(_of_size(read[_SLOT], tower.slot, what, _SLOT))
        if user.temperature.log_scale.requires_grad:
            user.temperature.log_scale.copy_(_of_size(read[_SCALE], user.temperature.log_scale, what, _SCALE))


def _part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one language model's body, by the names that the transformers library gives them."""
    own = {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
    return {key.removeprefix("model."): tensor for key, tensor in own.items() if not key.startswith(_UNUSED) and not key.endswith(_BUFFER)}


def _table(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of a table of words, which the user tower is without."""
    return next((name for name in tensors if name.endswith(("embed_tokens.weight", "word_embeddings.weight", "wte.weight"))), None)


def _fill(body: nn.Module, tensors: Mapping[str, Tensor], what: str, setting: str) -> None:
    """Copy tensors into a body that has exactly these."""
    expected = body.state_dict()
    for kind, names in (("lacks", expected.keys() - tensors.keys()), ("holds besides", tensors.keys() - expected.keys())):
        if names:
            raise BadConfig(
                f"{what}, {kind} {len(names)} tensors of the {setting}, a {type(body).__name__}: {min(names)!r} for one. "
                f"Name the model that the checkpoint was made from with --set {setting}=..."
            )
    body.load_state_dict({name: _of_size(tensors[name], expected[name], what, name) for name in expected})


def _of_size(tensor: Tensor, place: Tensor, what: str, name: str) -> Tensor:
    """The tensor in the shape of its place, where only ones are between the two."""
    if [n for n in tensor.shape if n > 1] != [n for n in place.shape if n > 1]:
        raise BadConfig(
            f"{what}: {name!r} has the shape {tuple(tensor.shape)} and its place {tuple(place.shape)}. "
            "Name the towers that the checkpoint was made from with --set item.tower=... --set user.tower=..."
        )
    return tensor.reshape(place.shape).to(place.dtype)
