"""Vectors of the whole catalogue, computed once and memory-mapped."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from recbench.core import FitContext
from recbench.core.ragged import LongArray, flat_index
from recbench.nn.compute import computed_matrix
from recbench.nn.training import gathered
from recbench_models.hllm.config import OWN, HLLMConfig
from recbench_models.hllm.item_tower import ItemTower

VECTORS_FILE = "vectors.npy"
_LEAST_DEVIATION = 1e-6
_OF_TOWER = {"tower", "weights", "pooling", "position", "width", "depth", "heads"}


def item_vectors(context: FitContext, tower: ItemTower, config: HLLMConfig) -> Path:
    """The file with the vectors of all items and of the empty text, (n_items + 1, D) float32, from the cache or computed now.

    With `item.standardise` they are centred and divided by the standard deviation of each component over the items.
    """
    settings, inputs = _identity(tower, config)
    settings["standardise"] = config.item.standardise

    def build(folder: Path) -> None:
        def read(rows: LongArray) -> NDArray[np.float32]:
            vectors: NDArray[np.float32] = tower.vectors(rows).cpu().numpy()
            return vectors

        title, shape = "item vectors (tokens)", (len(tower.tokens), tower.width)
        with torch.no_grad():
            vectors = computed_matrix(context.together(), shape, _batches(tower), read, work=tower.tokens.lengths, title=title)
        if vectors is not None:
            np.save(folder / VECTORS_FILE, standardised(vectors) if config.item.standardise else vectors)

    return context.common_stage("item-vectors", build, config=settings, inputs=inputs, together=True) / VECTORS_FILE


def standardised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors whose components have the mean 0 and the deviation 1 over all rows but the last, which is the empty text."""
    items = vectors[:-1].astype(np.float64)
    result: NDArray[np.float32] = ((vectors - items.mean(0)) / np.maximum(items.std(0), _LEAST_DEVIATION)).astype(np.float32)
    return result


def store_lower_states(context: FitContext, tower: ItemTower, config: HLLMConfig) -> None:
    """Compute what the trained layers read of every token, once, and let the tower run on it."""
    settings, inputs = _identity(tower, config)
    settings["trained_layers"] = tower.n_trained

    def build(folder: Path) -> None:
        tokens = tower.tokens
        with torch.no_grad():
            states = computed_matrix(
                context.together(),
                (len(tokens.item), tower.width),
                _batches(tower),
                tower.lower_states,
                work=tokens.lengths,
                title="lower layers (tokens)",
                rows_of=lambda rows: flat_index(tokens.offsets, rows)[0],
            )
        if states is not None:
            np.save(folder / VECTORS_FILE, states)

    folder = context.common_stage("lower-states", build, config=settings, inputs=inputs, together=True)
    tower.use_stored(np.load(folder / VECTORS_FILE, mmap_mode="r"))


def _batches(tower: ItemTower) -> list[LongArray]:
    """All items in batches, the longest first: what does not fit into memory fails at once."""
    return tower.batches(np.arange(len(tower.tokens), dtype=np.int64))[::-1]


def _identity(tower: ItemTower, config: HLLMConfig) -> tuple[dict[str, Any], list[str | Path]]:
    """Everything that the vectors are a function of: the tokens, the tower, and what training has made of it."""
    settings: dict[str, Any] = config.item.model_dump(mode="json", include=_OF_TOWER) | {"max_tokens": config.text.max_tokens}
    settings["tokens"] = hashlib.sha256(tower.tokens.item.tobytes() + tower.tokens.offsets.tobytes()).hexdigest()
    random = config.item.tower == OWN or config.item.weights == "random" or config.checkpoint is not None
    settings["weights"] = _digest(dict(tower.named_parameters()) if random else tower.trained_weights())
    inputs: list[str | Path] = []
    if config.item.tower != OWN:
        located = config.item.located()
        settings["tower"] = located.name
        inputs = [located.folder] if located.is_known_by_content else []
    return settings, inputs


def _digest(weights: dict[str, torch.Tensor]) -> str:
    return hashlib.sha256(save({name: gathered(tensor.detach()).cpu().contiguous() for name, tensor in weights.items()})).hexdigest()
