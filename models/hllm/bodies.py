"""Language models without heads: the bodies of both towers."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModel, LlamaConfig, LlamaModel

from recbench.core import BadConfig, BadRequest
from recbench.nn.compute import replace_linear
from recbench.nn.text import is_decoder_only, is_encoder_decoder, load_model, read_config, sentences
from recbench_models.hllm.config import OWN, HLLMConfig, TowerSettings

_DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "attention_dropout",
    "dropout",
    "resid_pdrop",
    "embd_pdrop",
    "attn_pdrop",
)
_MIN_POSITIONS = 512


def item_body(config: HLLMConfig) -> Any:
    """The body that reads tokens; random weights come from torch's default generator."""
    if config.item.tower != OWN:
        return _body_of(config.item, is_pretrained=config.item.weights == "pretrained" and config.checkpoint is None)
    return _llama(
        config.text.max_tokens,
        vocab_size=config.item.vocabulary_size,
        hidden_size=config.item.width,
        num_hidden_layers=config.item.depth,
        num_attention_heads=config.item.heads,
        num_key_value_heads=config.item.heads,
        intermediate_size=4 * config.item.width,
    )


def user_body(config: HLLMConfig, item_width: int) -> Any:
    """The body that reads item vectors, without a table of words; random weights come from torch's default generator."""
    if config.user.tower != OWN:
        body = _body_of(config.user, is_pretrained=config.user.weights == "pretrained" and config.checkpoint is None)
        if not is_decoder_only(body):
            raise BadRequest(
                f"user.tower={config.user.tower!r} is a {body.config.model_type}, whose places see what comes after them: it would read "
                "the items it is to predict. Name a decoder, or user.tower=scratch."
            )
    else:
        width = config.user.width or item_width
        if width % (2 * config.user.heads):
            raise BadRequest(
                f"The user tower would be {width} wide, which is not a multiple of twice user.heads={config.user.heads}. "
                "Set user.width or user.heads."
            )
        body = _llama(
            config.sequences.max_length,
            vocab_size=1,
            hidden_size=width,
            num_hidden_layers=config.user.depth,
            num_attention_heads=config.user.heads,
            num_key_value_heads=config.user.key_heads,
            intermediate_size=config.user.hidden,
            rms_norm_eps=1e-5,
        )
    return without_words(body)


def _llama(longest: int, **sizes: Any) -> Any:
    """A Llama with random weights that reads `longest` places and one more."""
    no_tokens = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    return _prepared(
        LlamaModel(LlamaConfig(max_position_embeddings=max(_MIN_POSITIONS, longest + 1), use_cache=False, **no_tokens, **sizes))
    )


def body_from(values: dict[str, Any]) -> Any:
    """A body with random weights and no table of words, of the architecture that a saved configuration describes."""
    return without_words(_prepared(AutoModel.from_config(AutoConfig.for_model(**values)).float()))


def without_words(body: Any) -> Any:
    """The same body with its table of word vectors thrown away."""
    body.set_input_embeddings(None)
    return body


def layers_of(body: nn.Module) -> tuple[nn.Module, str]:
    """Place of the list of a body's layers: the module that has it, and its name there.

    Raises:
        BadRequest: there is no such list, or more than one.
    """
    n_layers = getattr(body.config, "num_hidden_layers", None)
    found = [
        (parent, name)
        for parent in body.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == n_layers
    ]
    if len(found) != 1:
        raise BadRequest(
            f"{type(body).__name__} has {len(found)} lists of {n_layers} layers where one is looked for, so that its layers cannot be told "
            "apart. Set item.layers=all and checkpointing to none or batches."
        )
    return found[0]


def layer_list(body: Any) -> list[nn.Module]:
    """The layers of a body, the lowest first."""
    parent, name = layers_of(body)
    return list(getattr(parent, name))


def recompute_layers(body: Any) -> None:
    """Keep of every layer what it reads and gives, and compute what is inside again for the gradient."""
    for layer in layer_list(body):
        layer.forward = partial(_recomputed, layer.forward)


def _recomputed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return checkpoint(forward, *args, use_reentrant=False, **kwargs) if torch.is_grad_enabled() else forward(*args, **kwargs)


def _body_of(settings: TowerSettings, *, is_pretrained: bool) -> Any:
    """The body that the settings name, with the weights of its folder or with random ones.

    Raises:
        BadRequest: the folder lacks something, is damaged, or holds a model of another kind.
    """
    folder, setting = settings.located().folder, settings.SETTING
    described = read_config(folder, setting)
    if is_encoder_decoder(described):
        raise BadConfig(
            f"{setting}: {folder} holds a {described.model_type}, an encoder-decoder model; a tower is one of the two. "
            "Name a decoder or an encoder."
        )
    for name in _DROPOUTS:
        if isinstance(getattr(described, name, None), float):
            setattr(described, name, 0.0)
    described.use_cache = False
    if is_pretrained:
        return _prepared(load_model(folder, AutoModel.from_pretrained, setting, config=described))
    with sentences(f"The {setting} in {folder}", "config.json"):
        # In float32 whatever config.json says of the saved weights: nothing here trains rounded ones.
        return _prepared(AutoModel.from_config(described).float())


def _prepared(body: Any) -> Any:
    """Without dropout, which would give one item two vectors in one batch, without a pooler, and with fast products."""
    if getattr(body, "pooler", None) is not None:
        body.pooler = None
    for module in body.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    replace_linear(body)
    return body


def freeze(parameters: Iterable[nn.Parameter]) -> None:
    """These get no gradient."""
    for parameter in parameters:
        parameter.requires_grad_(False)
