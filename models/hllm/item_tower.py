"""The item tower: tokens of items in, one vector each out (arXiv:2409.12740, section 3.1)."""

import copy
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recbench.core import BadRequest, Histories
from recbench.core.ragged import LongArray, Ragged, flat_index
from recbench.nn.text import is_decoder_only, n_positions
from recbench.nn.training import gathered
from recbench_models.hllm.bodies import freeze, layers_of, recompute_layers
from recbench_models.hllm.config import HLLMConfig

# M items, m items of one batch, T tokens, D width

_STORE_TOLERANCE = 1e-3
"""Vectors from stored states may differ this much from those of the whole tower; a tower that does something else between differs more."""


class ItemTower(nn.Module):
    """`tower(items)` gives the vectors of catalogue rows; the row behind the last item is the empty text.

    Items are read in batches of like length, or packed one behind the other into one row with an attention mask that keeps them apart:
    the vectors are the same. A vector is not normalised.

    Args:
        body: of a language model, without head.
        tokens: of every item, and of the empty text.
        config: of the model.
    """

    def __init__(self, body: Any, tokens: Ragged, config: HLLMConfig) -> None:
        super().__init__()
        self.body = body
        self.tokens = tokens
        self.config = config
        self.width = int(body.config.hidden_size)
        self.is_decoder = is_decoder_only(body)
        self.slot = nn.Parameter(torch.randn(self.width) * 0.02) if config.item.pooling == "token" else None
        self.lower: NDArray[np.float32] | None = None
        """(number of tokens, D) what the first trained layer reads, where that is stored."""
        self._takes_positions = "position_ids" in inspect.signature(body.forward).parameters
        n_read = int(tokens.lengths.max(initial=1)) + (self.slot is not None)
        n_needed = config.text.max_tokens + 1 if config.item.position == "right" else n_read
        if n_needed > n_positions(body):
            raise BadRequest(
                f"The item tower has {n_positions(body)} positions and needs {n_needed}. Lower text.max_tokens={config.text.max_tokens}."
            )
        self.n_layers = n_layers = int(body.config.num_hidden_layers)
        if config.item.layers != "all":
            self.n_trained = 0 if config.item.layers == "none" else int(config.item.layers)
            if self.n_trained > n_layers:
                raise BadRequest(f"item.layers={self.n_trained} are to be trained and the item tower has {n_layers} layers. Lower it.")
            parent, name = layers_of(body)
            top = {id(p) for layer in getattr(parent, name)[n_layers - self.n_trained :] for p in layer.parameters()}
            last_norm = getattr(body, "norm", None) if self.n_trained else None
            top |= {id(p) for p in last_norm.parameters()} if isinstance(last_norm, nn.Module) else set()
            freeze(p for p in body.parameters() if id(p) not in top)
        else:
            self.n_trained = n_layers
        if config.checkpointing == "layers":
            recompute_layers(body)

    @property
    def can_store(self) -> bool:
        """Whether what the trained layers read stays the same in training: they are not all, and no learnt vector comes in below them."""
        return 0 < self.n_trained < self.n_layers and self.slot is None

    def forward(self, item_M: LongArray) -> Tensor:
        """The vectors of items, (M, D) float32; an item that is asked for twice is read twice."""
        if len(item_M) == 0:
            return torch.zeros(0, self.width, device=self.device)
        batches = self.batches(item_M)
        parts = [self.vectors(item_M[rows]) for rows in batches]
        place_M = torch.from_numpy(np.argsort(np.concatenate(batches))).to(self.device)
        return torch.cat(parts)[place_M]

    @property
    def device(self) -> torch.device:
        """Device on which the tower computes."""
        device: torch.device = next(self.body.parameters()).device
        return device

    def batches(self, item_M: LongArray) -> list[LongArray]:
        """Which of these items are read together: numbers of places in `item_M`, items of like length together, longest last."""
        length_M = self.tokens.lengths[item_M] + (self.slot is not None)
        if self.config.item.batching == "packed":
            order = np.argsort(length_M, kind="stable")
            return [order[cut] for cut in _filled(length_M[order], self.config.item.batch_tokens)]
        offsets = np.concatenate([[0], np.cumsum(length_M)]).astype(np.int64)
        return Histories(np.zeros(offsets[-1], np.int32), offsets).length_buckets(self.config.item.batch_tokens)

    def vectors(self, item_m: LongArray) -> Tensor:
        """The vectors (m, D) float32 of items that are read together."""
        read = self._packed if self.config.item.batching == "packed" else self._padded
        if self.config.checkpointing == "batches" and torch.is_grad_enabled():
            result: Tensor = checkpoint(read, item_m, use_reentrant=False)
            return result
        return read(item_m)

    def _padded(self, item_m: LongArray) -> Tensor:
        """A rectangle of items, filled up on the right; where no token of a causal model looks and no position moves."""
        inputs, length_m = self._inputs(item_m)
        has_slot = self.slot is not None
        n_columns = int(length_m.max()) + has_slot
        read_m = torch.from_numpy(length_m + has_slot).to(self.device)
        column_T = torch.arange(n_columns, device=self.device)
        is_real_mT = column_T < read_m[:, None]
        input_mTD = inputs.new_zeros(len(item_m), n_columns, inputs.shape[1])
        input_mTD[is_real_mT] = self._with_slots(inputs, length_m)
        position_mT = column_T + self._first_position(read_m)[:, None]
        hidden_mTD = self._run(input_mTD, is_real_mT.long(), position_mT * is_real_mT)
        if has_slot:
            return hidden_mTD[torch.arange(len(item_m), device=self.device), read_m - 1]
        return (hidden_mTD * is_real_mT[..., None]).sum(1) / read_m[:, None]

    def _packed(self, item_m: LongArray) -> Tensor:
        """All items one behind the other in one row. Attention goes from a token to tokens of its own item alone."""
        inputs, length_m = self._inputs(item_m)
        read_m = length_m + (self.slot is not None)
        owner_T = torch.from_numpy(np.repeat(np.arange(len(item_m)), read_m)).to(self.device)
        end_m = torch.from_numpy(np.cumsum(read_m)).to(self.device)
        read = torch.from_numpy(read_m).to(self.device)
        place_T = torch.arange(len(owner_T), device=self.device)
        position_T = place_T - (end_m - read)[owner_T] + self._first_position(read)[owner_T]
        mask: Tensor | None = None
        # Flash attention sees from the positions where items begin.
        if getattr(self.body.config, "_attn_implementation", None) != "flash_attention_2":
            sees_TT = owner_T[:, None] == owner_T
            if self.is_decoder:
                sees_TT &= place_T[:, None] >= place_T
            mask = torch.zeros(sees_TT.shape, device=self.device).masked_fill_(~sees_TT, torch.finfo(torch.float32).min)[None, None]
        hidden_TD = self._run(self._with_slots(inputs, length_m)[None], mask, position_T[None])[0]
        if self.slot is not None:
            return hidden_TD[end_m - 1]
        return hidden_TD.new_zeros(len(item_m), hidden_TD.shape[1]).index_add(0, owner_T, hidden_TD) / read[:, None]

    def _inputs(self, item_m: LongArray) -> tuple[Tensor, LongArray]:
        """Input of the first layer that runs, for each token, (sum of lengths, D), and the lengths (m,)."""
        index, offsets = flat_index(self.tokens.offsets, item_m)
        if self.lower is not None:
            return torch.from_numpy(self.lower[index]).to(self.device), np.diff(offsets)
        token = torch.from_numpy(self.tokens.item[index]).long().to(self.device)
        return self.body.get_input_embeddings()(token), np.diff(offsets)

    def _with_slots(self, inputs: Tensor, length_m: LongArray) -> Tensor:
        """The same with the learnt vector behind each item's tokens."""
        if self.slot is None:
            return inputs
        out = inputs.new_empty(len(inputs) + len(length_m), inputs.shape[1])
        is_slot = torch.zeros(len(out), dtype=torch.bool, device=inputs.device)
        is_slot[torch.from_numpy(np.cumsum(length_m + 1) - 1).to(inputs.device)] = True
        out[~is_slot] = inputs
        out[is_slot] = self.slot.to(inputs.dtype)
        return out

    def _first_position(self, read_m: Tensor) -> Tensor:
        """The position of each item's first token, (m,): so that the last one stands at `text.max_tokens` or the first one at 0."""
        if self.config.item.position == "left":
            return torch.zeros_like(read_m)
        return self.config.text.max_tokens + (self.slot is not None) - read_m

    def _run(self, inputs: Tensor, mask: Tensor | None, positions: Tensor) -> Tensor:
        """The last states of the body."""
        given: dict[str, Any] = {"position_ids": positions} if self._takes_positions else {}
        states: Tensor = self.body(inputs_embeds=inputs, attention_mask=mask, **given).last_hidden_state
        return states.float()

    @torch.no_grad()
    def lower_states(self, item_m: LongArray) -> NDArray[np.float32]:
        """Input of the first trained layer for each token of some items, one item after the other, (n_tokens, D) float32."""
        inputs, length_m = self._inputs(item_m)
        length = torch.from_numpy(length_m).to(self.device)
        column_T = torch.arange(int(length_m.max()), device=self.device)
        is_real_mT = column_T < length[:, None]
        input_mTD = inputs.new_zeros(*is_real_mT.shape, inputs.shape[1])
        input_mTD[is_real_mT] = inputs
        position_mT = (column_T + self._first_position(length)[:, None]) * is_real_mT
        given: dict[str, Any] = {"position_ids": position_mT} if self._takes_positions else {}
        result = self.body(inputs_embeds=input_mTD, attention_mask=is_real_mT.long(), output_hidden_states=True, **given)
        states = result.hidden_states[self.n_layers - self.n_trained]
        lower: NDArray[np.float32] = states[is_real_mT].float().cpu().numpy()
        return lower

    def use_stored(self, lower: NDArray[np.float32]) -> None:
        """From now on the trained layers alone run, on stored states; the layers below are dropped.

        Raises:
            BadRequest: this body does something between embeddings and layers that cannot be left out.
        """
        some = np.unique(np.linspace(0, len(self.tokens) - 1, 4).astype(np.int64))
        with torch.no_grad():
            expected = self.vectors(some)
            self._keep_top()
            self.lower = lower
            found = self.vectors(some)
        if not torch.allclose(found, expected, rtol=0, atol=_STORE_TOLERANCE):
            raise BadRequest(
                f"The layers of {type(self.body).__name__} do not follow each other in a way that is known here, so what the lower ones "
                "give cannot be stored. Set item.layers=all."
            )

    def _keep_top(self) -> None:
        body = self.body
        parent, name = layers_of(body)
        setattr(parent, name, nn.ModuleList(list(getattr(parent, name))[-self.n_trained :]))
        body.config = copy.deepcopy(body.config)
        body.config.num_hidden_layers = self.n_trained
        if hasattr(body, "embeddings"):
            body.embeddings = _Given()
        else:
            body.set_input_embeddings(None)

    def trained_weights(self) -> dict[str, Tensor]:
        """Weights that training changed, by the names that the whole body has."""
        weights = {name: gathered(p.detach()).cpu().contiguous() for name, p in self.named_parameters() if p.requires_grad}
        if self.lower is None:
            return weights
        parent, name = layers_of(self.body)
        path = next(path for path, module in self.body.named_modules() if module is parent)
        prefix = ".".join(part for part in ("body", path, name) if part) + "."
        whole = {}
        for key, tensor in weights.items():
            number, _, rest = key.removeprefix(prefix).partition(".")
            whole[f"{prefix}{int(number) + self.n_layers - self.n_trained}.{rest}" if key.startswith(prefix) else key] = tensor
        return whole


class _Given(nn.Module):
    """Stands in for a module that makes the first layer's input, which is there already."""

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> Tensor:
        """The input itself."""
        return inputs_embeds


def _filled(length: LongArray, size: int) -> Iterator[slice]:
    """Neighbours, so many that their lengths sum up to at most `size`; never none."""
    total = np.concatenate([[0], np.cumsum(length)])
    start = 0
    while start < len(length):
        end = max(start + 1, int(np.searchsorted(total, total[start] + size, side="right")) - 1)
        yield slice(start, end)
        start = end


def distinct(*groups: NDArray[np.int64]) -> tuple[LongArray, Sequence[LongArray]]:
    """The distinct items of some arrays, ascending, and each array with the places of its items among them."""
    flat = np.concatenate([group.reshape(-1) for group in groups])
    items, place = np.unique(flat, return_inverse=True)
    cuts = np.cumsum([group.size for group in groups])[:-1]
    parts = np.split(place.reshape(-1), cuts)
    return items, [part.reshape(group.shape) for part, group in zip(parts, groups, strict=True)]
