"""Pretrained models of the transformers library, read from a folder and asked what they are."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from recbench.core.errors import BadRequest


def load_pretrained(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer of a folder; of an encoder-decoder model the encoder."""
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer

    with quiet():
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            kind = AutoModelForTextEncoding if config.is_encoder_decoder else AutoModel
            model = kind.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, ImportError) as error:
            first = str(error).strip().split("\n")[0]
            raise BadRequest(
                f"The text encoder in {folder} cannot be read: {first} Complete the folder or choose another encoder."
            ) from error
    return model, tokenizer


@contextmanager
def quiet() -> Iterator[None]:
    """No bar of the transformers library inside ours."""
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def n_positions(model: nn.Module) -> float:
    """How many tokens a model has places for: those of its table of absolute positions; without one, infinitely many."""
    least = getattr(model.config, "max_position_embeddings", 0)
    places = [math.inf]
    for name, table in model.named_modules():
        own = name.rpartition(".")[2]
        if not isinstance(table, nn.Embedding) or not ("pos" in own or own == "wpe") or "rel" in own or table.num_embeddings < least:
            continue
        # RoBERTa and its kind count from behind the row that stands for padding, BART and OPT from `offset`.
        first = 0 if table.padding_idx is None else table.padding_idx + 1
        places.append(table.num_embeddings - max(first, getattr(table, "offset", 0)))
    return min(places)


def is_decoder_only(model: Any) -> bool:
    """Whether a token sees only what stands before it: the kind that can write but not fill gaps."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    kind = type(model.config)
    return not model.config.is_encoder_decoder and kind in MODEL_FOR_CAUSAL_LM_MAPPING and kind not in MODEL_FOR_MASKED_LM_MAPPING
