"""Random language models of a few kilobytes, saved as the transformers library saves real ones."""

import json
import string
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2Model,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5ForConditionalGeneration,
)

WORDS = ("title", "brand", "red", "blue", "green", "wool", "silk", "hat", "scarf", "glove", "anchor", "rope", "sail", ":", ";")
CONTROLS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WIDTH = 16


def save_tokenizer(folder: Path, controls: tuple[str, ...] = CONTROLS, *, spells: bool = False) -> int:
    """Writes a tokenizer of whole words, as BERT's lower-case and between two marks; its vocabulary's size comes back.

    With `spells` it has the letters, too, so that it knows every English word.
    """
    folder.mkdir(parents=True, exist_ok=True)
    letters = [f"{mark}{letter}" for mark in ("", "##") for letter in string.ascii_lowercase + string.digits]
    words = [*controls, *WORDS, *(letters if spells else [])]
    tokenizer = Tokenizer(models.WordPiece({word: row for row, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    marks = [(mark, words.index(mark)) for mark in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    return len(words)


def save_model(kind: str, folder: Path, *, spells: bool = False) -> PreTrainedModel:
    """A `bert`, `gpt2`, `roberta` (with 40 rows of positions) or `t5` with random weights."""
    # RoBERTa counts positions from behind its padding, token 1.
    n_words = save_tokenizer(folder, ("[UNK]", "[PAD]", *CONTROLS[2:]) if kind == "roberta" else CONTROLS, spells=spells)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: PreTrainedModel
        if kind == "bert":
            sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64}
            model = BertModel(BertConfig(vocab_size=n_words, hidden_size=WIDTH, initializer_range=0.5, **sizes))
        elif kind == "roberta":
            sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 40}
            model = RobertaModel(RobertaConfig(vocab_size=n_words, hidden_size=WIDTH, pad_token_id=1, **sizes))
        elif kind == "gpt2":
            model = GPT2Model(GPT2Config(vocab_size=n_words, n_embd=WIDTH, n_layer=2, n_head=2, n_positions=64, initializer_range=0.5))
        else:
            sizes = {"d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
            model = T5ForConditionalGeneration(T5Config(vocab_size=n_words, d_model=WIDTH, decoder_start_token_id=0, **sizes))
    model.save_pretrained(folder)
    return model.eval()


def add_modules(folder: Path, pooling: dict[str, object], *, dense_width: int | None = None, extra: str | None = None) -> None:
    """The files in which sentence-transformers says what follows the language model."""
    kinds = ["Transformer", "Pooling", *(["Dense"] if dense_width else []), *([extra] if extra else []), "Normalize"]
    modules = [{"path": "" if n == 0 else f"{n}_{kind}", "type": f"sentence_transformers.models.{kind}"} for n, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    if dense_width:
        place = folder / "2_Dense"
        place.mkdir()
        config = {
            "in_features": WIDTH,
            "out_features": dense_width,
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        }
        (place / "config.json").write_text(json.dumps(config))
        weight = torch.linspace(-1, 1, WIDTH * dense_width).view(dense_width, WIDTH)
        save_file({"linear.weight": weight}, place / "model.safetensors")
