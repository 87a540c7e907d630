"""A causal language model of the transformers library as a beam search wants it: the prompt's keys and values once per user.

To the model a user is one sequence: the prompt, then whatever the beams have read, each beam's tokens hidden from the other beams by the
attention mask and placed by `position_ids` as if they followed the prompt directly. So beams are further queries to one set of keys and
values, nothing is copied per beam or put in another order, and the model's own forward does the arithmetic, all but the logits: those are
computed in float32, because logits of a half-width type tie where the states do not. This asks of a model that it takes a mask (batch, 1,
queries, keys) and positions, that its positions are absolute or rotary, and that its logits are its output embedding times its last state:
Llama, Mistral, Qwen 2 and 3 and what is built like them.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache

# U users, u users of a call, W beams, R tokens a beam reads in one call, M columns of the prompts, S columns read so far, D width,
# V vocabulary


class _UserCache(DynamicCache):  # type: ignore[misc]
    """Keys and values per layer as two tensors, (u, heads, S, d) each, that can be read without being changed."""

    def __init__(self, layers: list[tuple[Tensor, Tensor]] | None = None) -> None:
        super().__init__()
        self.kept = layers or []
        self.is_frozen = False

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """All keys and values up to the new ones."""
        if layer_idx < len(self.kept):
            key, value = self.kept[layer_idx]
            key_states, value_states = torch.cat([key, key_states], 2), torch.cat([value, value_states], 2)
        if not self.is_frozen:
            self.kept[layer_idx : layer_idx + 1] = [(key_states, value_states)]
        return key_states, value_states

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        """Columns read before this call."""
        return self.kept[0][0].shape[2] if self.kept else 0

    def take(self, users: Tensor) -> "_UserCache":
        """That of some users."""
        return _UserCache([(key[users], value[users]) for key, value in self.kept])


class CausalDecoder:
    """A `StepDecoder` (see `recbench.nn.codes.beam`) over a causal language model of the transformers library.

    Args:
        model: such as `LlamaForCausalLM`, in eval mode.
        prompts: (U, M) int64 tokens, padded on either side.
        mask: (U, M) bool, where `prompts` is real; at least one token of each user is.

    Raises:
        ValueError: the model does something for its logits that is not done here.
    """

    def __init__(self, model: Any, prompts: Tensor, mask: Tensor) -> None:
        config = model.config
        for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
            if getattr(config, name, None) not in (None, 1, 1.0):
                raise ValueError(
                    f"{type(model).__name__} scales or caps its logits ({name}={getattr(config, name)}), which this decoder does not do. "
                    "Use a model of the Llama, Mistral or Qwen families."
                )
        head = model.get_output_embeddings()
        if type(head) is not nn.Linear:
            raise ValueError(
                f"The logits of {type(model).__name__} come from a {type(head).__name__}, where this decoder knows what a Linear does. "
                "Merge adapters into the model and leave its head unquantised."
            )
        self._model, self._dtype = model.base_model, head.weight.dtype
        # What newer versions call `cache` was `past_key_values`, and is a deprecated name there.
        self._cache_name = "cache" if "cache" in inspect.signature(self._model.forward).parameters else "past_key_values"
        self._head_VD = head.weight.detach().float()
        self._bias_V = None if head.bias is None else head.bias.detach().float()
        self.vocabulary: int = len(self._head_VD)
        window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
        self._window: int | None = window
        self._n_users = len(prompts)
        mask = mask.bool()
        column_M = torch.arange(prompts.shape[1], device=prompts.device)
        last_U = torch.where(mask, column_M, -1).amax(1)
        self._start = prompts[torch.arange(len(prompts), device=prompts.device), last_U]
        self._position = mask.sum(1) - 1
        """(u,), where the tokens of the next call stand in their sequences."""
        # The last token is left to the first step: its state predicts the first token of a code.
        self._prefix = mask & (column_M < last_U[:, None])
        self._columns: list[Tensor] = []
        """For each token read by the beams of the call before the column (u, W) it stands in."""
        self._cache = _UserCache()
        if prompts.shape[1] > 1:
            with torch.inference_mode():
                self._model(
                    input_ids=prompts,
                    attention_mask=mask.long(),
                    position_ids=(mask.cumsum(1) - 1).clamp(min=0),
                    **{self._cache_name: self._cache},
                    use_cache=True,
                )
        else:
            self._prefix = self._prefix[:, :0]

    def start_tokens(self) -> Tensor:
        """The last token (U,) of each prompt."""
        return self._start

    def logits(self, state_ND: Tensor) -> Tensor:
        """The logits (N, V) float32."""
        return functional.linear(state_ND.float(), self._head_VD, self._bias_V)

    def advance(
        self,
        token_uWR: Tensor,
        parent_uW: Tensor | None,
        users: Tensor | None,
        *,
        node_uWR: Tensor,  # noqa: ARG002
        is_last: bool,
    ) -> Tensor:
        """See `StepDecoder`."""
        n_users, width, n_tokens = token_uWR.shape
        device = token_uWR.device
        cache, prefix, position, columns = self._cache, self._prefix, self._position, self._columns
        if users is not None:
            cache, prefix, position = cache.take(users), prefix[users], position[users]
            columns = [column[users] for column in columns]
        if parent_uW is not None:
            columns = [column.gather(1, parent_uW) for column in columns]
        n_before = cache.get_seq_length()
        if self._window is not None and n_before + n_tokens > self._window:
            raise ValueError(
                f"Prompts and codes reach over {n_before + n_tokens} tokens, the model's window over {self._window}. Shorten the prompts."
            )
        own_uWR = n_before + torch.arange(width * n_tokens, device=device).view(1, width, n_tokens).expand(n_users, -1, -1)

        sees = torch.zeros(n_users, width, n_tokens, n_before + width * n_tokens, dtype=torch.bool, device=device)
        sees[..., : prefix.shape[1]] = prefix[:, None, None]
        for column in columns:
            sees.scatter_(3, column[:, :, None, None].expand(-1, -1, n_tokens, 1), True)
        for r in range(n_tokens):
            sees[:, :, r:].scatter_(3, own_uWR[:, :, r, None, None].expand(-1, -1, n_tokens - r, 1), True)
        mask = torch.zeros_like(sees, dtype=self._dtype).masked_fill_(~sees, torch.finfo(self._dtype).min)

        place_uR = position[:, None] + torch.arange(n_tokens, device=device)
        cache.is_frozen = is_last
        state = self._model(
            input_ids=token_uWR.flatten(1),
            attention_mask=mask.flatten(1, 2)[:, None],
            position_ids=place_uR[:, None].expand(-1, width, -1).flatten(1),
            **{self._cache_name: cache},
            use_cache=True,
        ).last_hidden_state
        cache.is_frozen = False
        if not is_last:
            self._cache, self._prefix, self._position = cache, prefix, position + 1
            self._columns = [*columns, own_uWR[:, :, 0]]
        state_uWRD: Tensor = state.view(n_users, width, n_tokens, -1)
        return state_uWRD
