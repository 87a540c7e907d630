"""The one loader of pretrained models and tokenizers: what a folder lacks, or holds for another architecture, is a sentence."""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from recbench.core.digests import file_sha256
from recbench.core.errors import BadConfig, BadData, BadRequest, DataUnavailable, RecbenchError

_POOLER = "pooler."
_HEADS = (
    "classifier",
    "cls",
    "discriminator_predictions",
    "embed_out",
    "final_logits_bias",
    "generator_lm_head",
    "generator_predictions",
    "lm_head",
    "logits_proj",
    "pooler",
    "pre_classifier",
    "predictions",
    "qa_outputs",
    "score",
    "seq_relationship",
    "sop_classifier",
    "vocab_layer_norm",
    "vocab_projector",
    "vocab_transform",
)
"""Modules on top of a language model's body, by the first part of their tensors' names; a body leaves them in the file."""
_BUFFERS = (".position_ids", ".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
"""Ends of the names of tensors that older releases of the transformers library saved although they follow from the configuration."""
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab*", "*.model", "*.tiktoken")
"""One of these lies beside every tokenizer that was saved."""
_SAMPLE_WORDS = 1_000
_WORD = re.compile(r"\w+")
_SHA256 = re.compile("[0-9a-f]{64}")


def read_config(folder: Path, role: str) -> Any:
    """The configuration of the transformers library that a folder's config.json describes.

    Args:
        folder: of the model.
        role: what the model is for; errors begin with it.

    Raises:
        BadData: config.json is missing or damaged.
        BadConfig: it describes an adapter, or an architecture that this version of the library does not have.
    """
    from transformers import CONFIG_MAPPING, AutoConfig, __version__

    if (folder / "adapter_config.json").is_file():
        raise BadConfig(
            f"The {role} in {folder} is an adapter (adapter_config.json), no whole model. Merge it into its model, save that and name it."
        )
    described = read_json(folder / "config.json", role)
    kind = described.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise BadConfig(
            f"The {role} in {folder}: model_type in config.json is {kind!r}, no architecture of transformers {__version__}. Code of a "
            "model's own repository is never executed here. Name a model that the library has."
        )
    with quiet(), sentences(f"The {role} in {folder}", "config.json", error=BadConfig):
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def load_model(folder: Path, load: Callable[..., Any], role: str, *, config: Any, may_be_left: Sequence[str] = _HEADS) -> Any:
    """A model in float32 whose every tensor comes from the folder's files; a pooler, which nothing here reads, may be new.

    Args:
        folder: with `model.safetensors`, or `pytorch_model.bin`, which is read as tensors and nothing else; large ones in shards.
        load: `from_pretrained` of the class that is wanted.
        role: what the model is for; errors begin with it.
        config: from `read_config`.
        may_be_left: first parts of the names of tensors that the file may hold beside those of the model.

    Raises:
        BadData: the weights are damaged, cut off, of another shape or not finite, or not those that the hub gave.
        BadConfig: the file lacks tensors of the model, or holds others: it was saved by another architecture.
        DataUnavailable: there are no weights.
    """
    what = f"The {role} in {folder}"
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        raise DataUnavailable(
            f"{what} has neither model.safetensors nor pytorch_model.bin. Complete the folder with the weights or name another one."
        )
    _refuse_altered(folder, what)
    with quiet(), sentences(what, "its weights"):
        model, found = load(
            folder,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            weights_only=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # they are an error below, with their names
            output_loading_info=True,
        )
    _refuse_differences(model, found, may_be_left, what)
    damaged = [name for name, tensor in model.named_parameters() if not torch.isfinite(tensor).all()]
    if damaged:
        raise BadData(f"{what}: the tensor {damaged[0]!r} holds values that are no finite numbers; {len(damaged)} do. Get its files again.")
    return model


def _refuse_differences(model: Any, found: Mapping[str, Any], may_be_left: Sequence[str], what: str) -> None:
    """Hold what the library says of the names and shapes in a file against what may differ."""
    config = model.config
    kind = f"{type(model).__name__} (model_type {config.model_type})"
    saved_as = f"config.json says that it was saved as {', '.join(config.architectures)}. " if config.architectures else ""
    missing = sorted(name for name in found["missing_keys"] if not name.startswith(_POOLER))
    if missing:
        raise BadConfig(
            f"{what} lacks {len(missing)} of the {len(model.state_dict())} tensors of a {kind}, {missing[0]!r} for one. "
            f"{saved_as}Name a folder that this architecture was saved in, whole."
        )
    if found["mismatched_keys"]:
        name, in_file, in_model = sorted(found["mismatched_keys"])[0]
        raise BadData(
            f"{what}: {len(found['mismatched_keys'])} tensors have another shape than config.json says, {name!r} for one: "
            f"{tuple(in_file)} in the file, {tuple(in_model)} by config.json. Get both files of one model."
        )
    left = sorted(name for name in found["unexpected_keys"] if not name.endswith(_BUFFERS) and name.partition(".")[0] not in may_be_left)
    if left:
        raise BadConfig(
            f"{what} holds {len(left)} tensors for which a {kind} of this config.json has no place, {left[0]!r} for one. "
            f"{saved_as}Get config.json and weights of one model."
        )
    if found["error_msgs"]:
        raise BadData(f"{what} cannot be read: {_first_line(found['error_msgs'][0])} Get its files again.")


def load_encoder(folder: Path, role: str = "text encoder") -> tuple[Any, Any]:
    """Model and tokenizer of a folder, to make vectors of texts; of an encoder-decoder model the encoder.

    Raises:
        BadRequest: in one sentence, whatever is missing, damaged or of another kind.
    """
    from transformers import MODEL_FOR_TEXT_ENCODING_MAPPING, AutoModel, AutoModelForTextEncoding

    config = read_config(folder, role)
    load: Callable[..., Any] = AutoModel.from_pretrained
    if is_encoder_decoder(config):
        if type(config) not in MODEL_FOR_TEXT_ENCODING_MAPPING:
            raise BadConfig(
                f"The {role} in {folder} is a {config.model_type}, an encoder-decoder model whose encoder cannot be loaded alone. "
                "Choose an encoder, a decoder, or a model of the T5 family."
            )
        load = AutoModelForTextEncoding.from_pretrained
    tokenizer = tokenizer_of(folder, role, config)
    return load_model(folder, load, role, config=config, may_be_left=(*_HEADS, "decoder")), tokenizer


def read_t5_config(folder: Path, role: str = "backbone") -> Any:
    """The configuration of a T5.

    Raises:
        BadRequest: config.json is missing or damaged, or describes another architecture.
    """
    config = read_config(folder, role)
    if config.model_type != "t5":
        raise BadConfig(f"The {role} in {folder} is a {config.model_type} (model_type in config.json), not a t5. Name the folder of a T5.")
    return config


def load_t5(folder: Path, role: str = "backbone") -> Any:
    """The T5 of a folder with encoder, decoder and head.

    Raises:
        BadRequest: in one sentence, whatever is missing, damaged or of another kind.
    """
    from transformers import T5ForConditionalGeneration

    config = read_t5_config(folder, role)
    # A release may call a T5 no encoder-decoder because its encoder alone was saved; the tensors say what is there.
    config.is_encoder_decoder = True
    return load_model(folder, T5ForConditionalGeneration.from_pretrained, role, config=config, may_be_left=())


def tokenizer_of(folder: Path, role: str, config: Any) -> Any:
    """The tokenizer of a folder, which fits the model's configuration; raises as `read_tokenizer` does."""
    of_text = config.get_text_config()
    # A decoder never sees its padding, which stands on the right; an encoder may count positions by it.
    pad = None if _is_causal(config) else getattr(of_text, "pad_token_id", None)
    return read_tokenizer(folder, role, n_rows=getattr(of_text, "vocab_size", None), pad=pad)


def read_tokenizer(folder: Path, role: str, *, n_rows: int | None, pad: int | None = None) -> Any:
    """The tokenizer of a folder.

    Args:
        folder: of the model.
        role: what the model is for; errors begin with it.
        n_rows: of the model's table of token vectors; None where the model does not say.
        pad: the token that the model pads with; None where that makes no difference.

    Raises:
        DataUnavailable: the folder holds no tokenizer; the library would make one that knows no word.
        BadData: the tokenizer's files are damaged.
        BadConfig: it has tokens for which the model has no row, or pads with another token than the model.
    """
    from transformers import AutoTokenizer

    what = f"The {role} in {folder}"
    if not any(file for pattern in _TOKENIZER_FILES for file in folder.glob(pattern)):
        raise DataUnavailable(
            f"{what} has no tokenizer: there is no {', '.join(_TOKENIZER_FILES)}. Complete the folder with the tokenizer's files."
        )
    with quiet(), sentences(what, "its tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        last = max(tokenizer.get_vocab().values(), default=-1)
    files = sorted(set(tokenizer.vocab_files_names.values()))
    if files and not any((folder / name).is_file() for name in files):
        raise DataUnavailable(
            f"{what} has no tokenizer: there is no {' and no '.join(files)}. Complete the folder with the tokenizer's files."
        )
    if n_rows is not None and last >= n_rows:
        raise BadConfig(f"{what} has a tokenizer of {last + 1} tokens and a model of {n_rows} rows. Get both of one model.")
    if None not in (pad, tokenizer.pad_token_id) and tokenizer.pad_token_id != pad:
        raise BadConfig(
            f"{what} has a tokenizer that pads with token {tokenizer.pad_token_id} and a model that pads with {pad}. Get both of one model."
        )
    return tokenizer


def refuse_unknown_words(tokenizer: Any, texts: Iterable[str], folder: Path, role: str) -> None:
    """Look at the first distinct words of some texts.

    Raises:
        BadConfig: the tokenizer has no tokens for more than half of them, so that most items would read alike.
    """
    unknown = tokenizer.unk_token_id
    words = list(islice(dict.fromkeys(word for text in islice(texts, _SAMPLE_WORDS) for word in _WORD.findall(text)), _SAMPLE_WORDS))
    if unknown is None or not words:
        return
    lost = [word for word, tokens in zip(words, tokenizer(words, add_special_tokens=False)["input_ids"], strict=True) if unknown in tokens]
    if 2 * len(lost) > len(words):
        raise BadConfig(
            f"The tokenizer of the {role} in {folder} does not know {len(lost)} of {len(words)} words of the items' texts, {lost[0]!r} for "
            "one. Complete the folder with the tokenizer of this model, or choose a model for the language of the texts."
        )


def read_gguf(file: Path, role: str) -> tuple[Any, Any]:
    """Tokenizer and causal language model of a GGUF file, its rounded weights as float32; needs the packages `gguf` and `accelerate`.

    Raises:
        BadData: the file is damaged.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # The library draws bars of its own on stderr, beside ours.
    with quiet(), sentences(f"The {role} in {file}", "GGUF"), redirect_stderr(StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        return tokenizer, AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)


def read_json(path: Path, role: str) -> dict[str, Any]:
    """The object in one of a model's JSON files.

    Raises:
        BadData: there is no such file, or it holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadData(f"The {role}: {path} cannot be read: {error.strerror}. Name a folder that a whole model was saved in.") from None
    except ValueError as error:
        raise BadData(f"The {role}: {path} is not valid JSON: {error}. Get the file again.") from None
    if not isinstance(value, dict):
        raise BadData(f"The {role}: {path} holds a {type(value).__name__}, not an object. Get the file again.")
    return value


@contextmanager
def sentences(what: str, part: str, *, error: type[BadRequest] = BadData) -> Iterator[None]:
    """Turn whatever a library raises while it reads files into one sentence.

    Args:
        what: whose files they are, such as `The backbone in /a/folder`.
        part: which of them are read.
        error: class of the sentence.
    """
    try:
        yield
    except (RecbenchError, MemoryError, torch.OutOfMemoryError):
        raise
    # Damaged files raise nearly anything: the readers of safetensors, pickles, JSON and SentencePiece have no common error.
    except Exception as raised:
        raise error(f"{what} cannot be read ({part}): {_first_line(raised)} Get its files again or choose another one.") from raised


@contextmanager
def quiet() -> Iterator[None]:
    """No bars and reports of the transformers library among ours: what it would report is an error here."""
    from transformers.utils import logging

    was_on, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
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
    return _is_causal(model.config)


def is_encoder_decoder(config: Any) -> bool:
    """Whether an architecture has both halves; a configuration that was saved with the encoder alone says no of itself."""
    return bool(config.is_encoder_decoder or type(config)().is_encoder_decoder)


def _is_causal(config: Any) -> bool:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    kind = type(config)
    return not is_encoder_decoder(config) and kind in MODEL_FOR_CAUSAL_LM_MAPPING and kind not in MODEL_FOR_MASKED_LM_MAPPING


def _refuse_altered(folder: Path, what: str) -> None:
    """In the cache of the hub a file of weights is a link to one that is called by its SHA-256, so a changed byte can be told."""
    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]):
        stored = file.resolve()
        if not _SHA256.fullmatch(stored.name):
            continue
        if file_sha256(stored) != stored.name:
            raise BadData(f"{what}: {file.name} is not what the hub gave, by its SHA-256. Delete {stored}; it is fetched again.")


def _first_line(raised: object) -> str:
    """The first line of an error, as a sentence; the error's name where it says nothing."""
    line = str(raised).strip().split("\n")[0].rstrip(".: ") or type(raised).__name__
    return f"{line}."
