"""Text vectors from a pretrained language model, read with the transformers library."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from recbench.core.errors import BadData, BadRequest, DataUnavailable
from recbench.core.plugin import FitContext
from recbench.core.ragged import LongArray
from recbench.nn.compute.matrix_file import computed_matrix
from recbench.nn.compute.projection import replace_linear
from recbench.nn.text.pretrained import is_decoder_only, load_encoder, n_positions, read_json, refuse_unknown_words, sentences

Pooling = Literal["mean", "cls", "last"]

_BATCH_TOKENS = {"cpu": 4_096, "cuda": 65_536}
"""Tokens of one batch, padding included; a batch of short texts holds more of them. Other devices take as many as the CPU."""
_TEXTS_PER_TOKENIZER_CALL = 10_000

# B texts of a batch, T tokens, D width


@dataclass(frozen=True)
class _Recipe:
    """Pooling of the vectors of a text's tokens."""

    pooling: Pooling
    dense: tuple[nn.Module, ...] = ()


def encode(
    context: FitContext, folder: Path, texts: list[str], *, pooling: Literal["auto"] | Pooling, max_tokens: int, title: str
) -> tuple[NDArray[np.float32] | None, dict[str, Any]]:
    """Vectors of texts, (n_texts, d) float32, in a file among the context's checkpoints, and facts about how they were made.

    Texts of like length share a batch. Finished batches outlive a kill: the next call goes on after them. Under torchrun the ranks share
    the batches, and rank 0 alone is given the vectors.

    Args:
        context: see `computed_matrix`; says device and precision, too.
        folder: a model and a tokenizer that the transformers library saved.
        texts: none of them empty.
        pooling: see `TextSettings.pooling`.
        max_tokens: of one text.
        title: for the progress bar.
    """
    device = torch.device(context.device)
    dtype = torch.bfloat16 if context.precision == "bf16" else torch.float32
    model, tokenizer = load_encoder(folder)
    refuse_unknown_words(tokenizer, texts, folder, "text encoder")
    model = model.to(device=device, dtype=dtype).eval()
    replace_linear(model)
    recipe = _recipe(folder, model, pooling)
    dense = nn.Sequential(*recipe.dense).to(device)
    limit = min(max_tokens, tokenizer.model_max_length, n_positions(model))
    token_lists, n_cut = _tokens(tokenizer, texts, limit)
    length_N = np.array([len(tokens) for tokens in token_lists], np.int64)
    # Longest first: what does not fit into memory fails at once, and the time left is not promised too short.
    order = np.argsort(-length_N, kind="stable")
    batches = [order[rows] for rows in _batches(length_N[order], _BATCH_TOKENS.get(device.type, _BATCH_TOKENS["cpu"]))]

    def vectors_of(index: LongArray) -> NDArray[np.float32]:
        part = [token_lists[row] for row in index]
        vectors: NDArray[np.float32] = _vectors(model, dense, recipe.pooling, part, tokenizer.pad_token_id or 0).cpu().numpy()
        return vectors

    with torch.inference_mode():
        width = int(_vectors(model, dense, recipe.pooling, token_lists[:1], 0).shape[1])
        vectors = computed_matrix(context, (len(texts), width), batches, vectors_of, work=length_N, title=f"{title} (tokens)")
    context.log.info("%s: %d texts of %.1f tokens on average, %d of them cut at %d", title, len(texts), length_N.mean(), n_cut, limit)
    facts = {"width": width, "pooling": recipe.pooling, "dense_layers": len(recipe.dense), "mean_tokens": float(length_N.mean())}
    return vectors, {**facts, "n_cut": n_cut, "max_tokens": limit, "model_type": model.config.model_type}


def _recipe(folder: Path, model: Any, pooling: Literal["auto"] | Pooling) -> _Recipe:
    """Pooling to use: what was asked for, or what the model's files say, or what suits its kind."""
    if pooling != "auto":
        return _Recipe(pooling)
    modules = folder / "modules.json"
    if not modules.is_file():
        return _Recipe("last" if is_decoder_only(model) else "mean")
    found: Pooling | None = None
    dense, width = [], int(model.config.hidden_size)
    for kind, place in _modules_of(modules):
        if kind == "Pooling":
            found = _pooling_of(read_json(place / "config.json", "text encoder"), place)
        elif kind == "Dense":
            layer, n_in, n_out = _dense_of(place)
            if n_in != width:
                raise BadData(f"The text encoder: {place} reads vectors of width {n_in}, and gets {width}. Get the files of one model.")
            dense.append(layer)
            width = n_out
        elif kind not in {"Transformer", "Normalize"}:
            raise BadRequest(
                f"{modules} names a module {kind!r}, which is unknown here. Set text.pooling to mean, cls or last to leave the file aside."
            )
    return _Recipe(found or "mean", tuple(dense))


def _modules_of(path: Path) -> list[tuple[str, Path]]:
    """Kind and folder of each module that the file of sentence-transformers names.

    Raises:
        BadData: the file is damaged, or names a folder outside its own.
    """
    with sentences("The text encoder", str(path)):
        modules = [(str(module["type"]).rpartition(".")[2], path.parent / str(module["path"])) for module in json.loads(path.read_bytes())]
    for _, place in modules:
        if not place.resolve().is_relative_to(path.parent.resolve()):
            raise BadData(f"{path} names the folder {place}, which lies outside of the model's own. Get the file again.")
    return modules


def _pooling_of(config: dict[str, Any], place: Path) -> Pooling:
    """The one way of pooling that a sentence-transformers file switches on."""
    names: dict[str, Pooling] = {"mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls", "lasttoken": "last"}
    chosen = [key.removeprefix("pooling_mode_") for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    if isinstance(config.get("pooling_mode"), str):
        chosen.append(config["pooling_mode"])
    if len(chosen) != 1 or chosen[0] not in names:
        raise BadRequest(f"{place / 'config.json'} pools by {chosen}; mean, cls and last are known here. Set text.pooling to one of them.")
    return names[chosen[0]]


def _dense_of(place: Path) -> tuple[nn.Module, int, int]:
    """A dense layer of sentence-transformers with its activation, and how wide its vectors are before and after it."""
    config = read_json(place / "config.json", "text encoder")
    activation = str(config.get("activation_function", "Identity")).rpartition(".")[2]
    if activation not in {"Identity", "Tanh"}:
        raise BadRequest(
            f"{place / 'config.json'} asks for the activation {activation!r}; Identity and Tanh are known here. Set text.pooling."
        )
    weights, pickled = place / "model.safetensors", place / "pytorch_model.bin"
    if not weights.is_file() and not pickled.is_file():
        raise DataUnavailable(f"{place} holds neither {weights.name} nor {pickled.name}. Complete the folder or set text_pooling.")
    with sentences(f"The text encoder's dense layer in {place}", "its weights"):
        # `weights_only` reads tensors and refuses everything else that a pickle may hold.
        tensors = load_file(weights) if weights.is_file() else torch.load(pickled, map_location="cpu", weights_only=True)
        layer = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
        layer.load_state_dict({name.removeprefix("linear."): tensor for name, tensor in tensors.items()})
    module = nn.Sequential(layer, nn.Tanh()) if activation == "Tanh" else layer
    return module, layer.in_features, layer.out_features


def _tokens(tokenizer: Any, texts: list[str], limit: int) -> tuple[list[list[int]], int]:
    """Tokens of each text, and how many texts were cut."""
    lists: list[list[int]] = []
    n_cut = 0
    for start in range(0, len(texts), _TEXTS_PER_TOKENIZER_CALL):
        part = texts[start : start + _TEXTS_PER_TOKENIZER_CALL]
        lists += tokenizer(part, truncation=True, max_length=limit, return_attention_mask=False)["input_ids"]
        # Asked only of texts that may have been cut: tokenising all of them twice takes as long as encoding short ones.
        full = [text for text, tokens in zip(part, lists[start:], strict=True) if len(tokens) == limit]
        n_cut += sum(len(tokens) > limit for tokens in tokenizer(full, verbose=False)["input_ids"]) if full else 0
    return lists, n_cut


def _batches(length_N: NDArray[np.int64], max_tokens: int) -> Iterator[slice]:
    """Neighbours in a list of falling lengths, so many that the padded batch holds at most `max_tokens`; never none."""
    start = 0
    while start < len(length_N):
        end = min(len(length_N), start + max(1, max_tokens // max(int(length_N[start]), 1)))
        yield slice(start, end)
        start = end


def _vectors(model: Any, dense: nn.Module, pooling: Pooling, token_lists: list[list[int]], pad: int) -> Tensor:
    """Vectors of a batch of texts, (B, d) float32."""
    device = model.device
    length_B = torch.tensor([len(tokens) for tokens in token_lists], device=device)
    # Padding stands on the right: there no token of a causal model sees it and no position moves.
    token_BT = nn.utils.rnn.pad_sequence([torch.tensor(tokens) for tokens in token_lists], batch_first=True, padding_value=pad).to(device)
    mask_BT = torch.arange(token_BT.shape[1], device=device) < length_B[:, None]
    hidden_BTD = model(input_ids=token_BT, attention_mask=mask_BT.long()).last_hidden_state.float()
    if pooling == "cls":
        pooled_BD = hidden_BTD[:, 0]
    elif pooling == "last":
        pooled_BD = hidden_BTD[torch.arange(len(length_B), device=device), length_B - 1]
    else:
        pooled_BD = (hidden_BTD * mask_BT[..., None]).sum(1) / length_B[:, None]
    result: Tensor = dense(pooled_BD)
    return result
