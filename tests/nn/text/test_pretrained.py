"""The loader of pretrained models: what is not what it seems is a sentence, and what is loaded comes from the file."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_models import WIDTH, WORDS, save_model, save_tokenizer
from transformers import (
    AutoModel,
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    T5EncoderModel,
)

from recbench.core import BadConfig, BadData, BadRequest, DataUnavailable
from recbench.nn.text.pretrained import load_encoder, load_model, load_t5, read_config, read_t5_config, refuse_unknown_words

WEIGHTS = "model.safetensors"


def save(kind: str, folder: Path) -> Path:
    """A tiny model of a kind, saved as the transformers library saves real ones; `bart`, `mlm` and `llama` with their heads."""
    if kind in {"bert", "gpt2", "t5"}:
        save_model(kind, folder)
        return folder
    n = save_tokenizer(folder)
    sizes: dict[str, Any] = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    if kind == "t5-encoder":
        model: Any = T5EncoderModel(save_model("t5", folder).config)
    elif kind == "bart":
        halves = {f"{half}_{what}": 2 for half in ("encoder", "decoder") for what in ("layers", "attention_heads", "ffn_dim")}
        model = BartForConditionalGeneration(BartConfig(vocab_size=n, d_model=WIDTH, **halves))
    elif kind == "mlm":
        model = BertForMaskedLM(BertConfig(vocab_size=n, **sizes))
    else:
        model = LlamaForCausalLM(LlamaConfig(vocab_size=n, **sizes))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of tiny models by kind, each made once; tests copy what they change."""
    root = tmp_path_factory.mktemp("zoo")
    return lambda kind: root / kind if (root / kind).exists() else save(kind, root / kind)


def rewritten(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    """The folder with its tensors changed in place."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    return folder


def body(folder: Path) -> Any:
    return load_model(folder, AutoModel.from_pretrained, "item_tower", config=read_config(folder, "item_tower"))


@pytest.mark.parametrize("kind", ["bert", "mlm", "gpt2", "llama", "t5", "t5-encoder"])
def test_every_tensor_of_an_encoder_comes_from_the_file(zoo: Callable[[str], Path], kind: str) -> None:
    model, tokenizer = load_encoder(zoo(kind))
    saved = load_file(zoo(kind) / WEIGHTS)
    for name, tensor in model.state_dict().items():
        if not name.startswith("pooler.") and name != "encoder.embed_tokens.weight":
            (match,) = [value for key, value in saved.items() if key == name or key.endswith(f".{name}")][:1]
            torch.testing.assert_close(tensor, match, rtol=0, atol=0)
    assert not model.config.is_encoder_decoder
    assert tokenizer("red hat", add_special_tokens=False)["input_ids"] == [5 + WORDS.index("red"), 5 + WORDS.index("hat")]


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("bart", BadConfig, r"backbone in .*bart is a bart \(model_type in config\.json\), not a t5\. Name the folder of a T5\."),
        ("gpt2", BadConfig, r"backbone in .*gpt2 is a gpt2 "),
        ("bert", BadConfig, r"backbone in .*bert is a bert "),
        ("t5-encoder", BadConfig, r"lacks 28 of the \d+ tensors of a T5ForConditionalGeneration .*'decoder\..*saved as T5EncoderModel"),
    ],
)
def test_what_is_no_t5_is_refused_as_one(zoo: Callable[[str], Path], kind: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_t5(zoo(kind))


@pytest.mark.parametrize("other", ["bart", "gpt2", "bert"])
def test_weights_of_another_architecture_are_refused(zoo: Callable[[str], Path], tmp_path: Path, other: str) -> None:
    folder = shutil.copytree(zoo("t5"), tmp_path / "t5")
    shutil.copy(zoo(other) / WEIGHTS, folder / WEIGHTS)
    with pytest.raises(BadConfig, match=r"lacks \d+ of the \d+ tensors of a T5ForConditionalGeneration"):
        load_t5(folder)
    with pytest.raises(BadConfig, match=r"text encoder in .*t5 lacks \d+ of the \d+ tensors of a T5EncoderModel"):
        load_encoder(folder)


def test_a_t5_is_loaded_whole_in_float32_from_either_format(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    expected = load_t5(zoo("t5")).state_dict()
    folder = shutil.copytree(zoo("t5"), tmp_path / "t5")
    torch.save({name: tensor.clone().half() for name, tensor in load_file(folder / WEIGHTS).items()}, folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    for name, tensor in load_t5(folder).state_dict().items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, expected[name].half().float(), rtol=0, atol=0)


def test_an_encoder_decoder_that_cannot_be_halved_is_refused(zoo: Callable[[str], Path]) -> None:
    with pytest.raises(BadConfig, match="is a bart, an encoder-decoder model whose encoder cannot be loaded alone"):
        load_encoder(zoo("bart"))


@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_no_tensor_may_lack(zoo: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["mlm", "gpt2", "llama", "t5"]))
    folder = shutil.copytree(zoo(kind), tmp_path_factory.mktemp("lacking") / kind)
    names = sorted(load_file(folder / WEIGHTS))
    if kind != "t5":
        names = [name for name in names if not name.startswith(("cls.", "lm_head."))]
    gone = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True))
    rewritten(folder, lambda tensors: [tensors.pop(name) for name in gone])
    with pytest.raises(BadConfig, match=r"lacks \d+ of the \d+ tensors") as caught:
        load_t5(folder) if kind == "t5" else body(folder)
    # A tensor that several layers share counts once for each of them.
    n_lacking = int(str(caught.value).partition(" lacks ")[2].split()[0])
    assert n_lacking == len(gone) if "shared.weight" not in gone else n_lacking > len(gone)


def test_what_is_left_over_is_refused_unless_it_is_a_head(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    assert type(body(zoo("llama"))).__name__ == "LlamaModel"
    assert type(body(zoo("mlm"))).__name__ == "BertModel"
    deeper = shutil.copytree(zoo("llama"), tmp_path / "deeper")
    config = json.loads((deeper / "config.json").read_text())
    (deeper / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    with pytest.raises(BadConfig, match=r"holds 9 tensors for which a LlamaModel .* has no place, 'model\.layers\.1\."):
        body(deeper)
    other = rewritten(shutil.copytree(zoo("llama"), tmp_path / "other"), lambda tensors: tensors.update(lora_a=torch.ones(2)))
    with pytest.raises(BadConfig, match=r"holds 1 tensors .*'lora_a'"):
        body(other)


def test_shapes_and_values_are_looked_at(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    wide = shutil.copytree(zoo("llama"), tmp_path / "wide")
    rewritten(wide, lambda tensors: tensors.update({"model.norm.weight": torch.ones(7)}))
    with pytest.raises(
        BadData, match=r"another shape than config\.json says, 'norm\.weight' for one: \(7,\) in the file, \(16,\) by config"
    ):
        body(wide)
    broken = shutil.copytree(zoo("llama"), tmp_path / "broken")
    rewritten(broken, lambda tensors: tensors["model.norm.weight"].fill_(float("nan")))
    with pytest.raises(BadData, match=r"'norm\.weight' holds values that are no finite numbers; 1 do"):
        body(broken)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("config.json", b'{"model_type": "bert"', BadData, "not valid JSON"),
        ("config.json", b"[1]", BadData, "holds a list, not an object"),
        ("config.json", b"{}", BadConfig, r"model_type in config\.json is None, no architecture of transformers \d"),
        (
            "config.json",
            b'{"model_type": "ours", "auto_map": {"AutoConfig": "x.Y"}}',
            BadConfig,
            "is 'ours', no architecture .* never executed",
        ),
        ("config.json", b'{"model_type": "bert", "num_hidden_layers": "x"}', BadConfig, "cannot be read"),
        ("config.json", None, BadData, "cannot be read: No such file"),
        ("adapter_config.json", b"{}", BadConfig, "is an adapter"),
        ("tokenizer.json", b"{", BadData, "its tokenizer"),
        (WEIGHTS, b"", BadData, "its weights"),
        (WEIGHTS, None, DataUnavailable, r"neither model\.safetensors nor pytorch_model\.bin"),
    ],
)
def test_damaged_and_missing_files_are_sentences(
    zoo: Callable[[str], Path], tmp_path: Path, name: str, content: bytes | None, error: type[Exception], message: str
) -> None:
    folder = shutil.copytree(zoo("bert"), tmp_path / "bert")
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(error, match=message) as raised:
        load_encoder(folder)
    assert "\n" not in str(raised.value)


def test_a_folder_without_tokenizer_is_refused(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    for kind in ("bert", "t5", "llama"):
        folder = shutil.copytree(zoo(kind), tmp_path / kind)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink()
            with pytest.raises(BadRequest, match=r"has no tokenizer: there is no |cannot be read \(its tokenizer\)"):
                load_encoder(folder)
        with pytest.raises(DataUnavailable, match=r"has no tokenizer: there is no .*tokenizer\.json"):
            load_encoder(folder)


def test_a_tokenizer_of_another_model_is_refused(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(zoo("bert"), tmp_path / "bert")
    save_tokenizer(folder, ("[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"))
    with pytest.raises(BadConfig, match="a tokenizer that pads with token 1 and a model that pads with 0"):
        load_encoder(folder)
    save_tokenizer(folder, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "more"))
    with pytest.raises(BadConfig, match="a tokenizer of 21 tokens and a model of 20 rows"):
        load_encoder(folder)


def test_a_tokenizer_must_know_half_of_the_words(zoo: Callable[[str], Path]) -> None:
    _, tokenizer = load_encoder(zoo("bert"))
    refuse_unknown_words(tokenizer, ["red hat", "Anchor zebra kiwi"], zoo("bert"), "text encoder")
    refuse_unknown_words(tokenizer, ["!", ""], zoo("bert"), "text encoder")
    with pytest.raises(BadConfig, match="does not know 3 of 5 words of the items' texts, 'zebra' for one"):
        refuse_unknown_words(tokenizer, ["red hat", "zebra kiwi lime"], zoo("bert"), "text encoder")


class _Thief:
    """A pickle of it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_pickled_weights_are_read_as_tensors_and_nothing_else(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(zoo("llama"), tmp_path / "llama")
    (folder / WEIGHTS).unlink()
    torch.save({"model.norm.weight": _Thief(tmp_path / "stolen")}, folder / "pytorch_model.bin")
    with pytest.raises(BadData, match="its weights"):
        body(folder)
    assert not (tmp_path / "stolen").exists()


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_a_damaged_file_is_a_sentence_or_gives_the_same_model(
    zoo: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Cut at any place, or one byte changed before the values of the tensors, of which no checksum is kept."""
    kind = data.draw(st.sampled_from(["bert", "t5", "llama"]))
    folder = shutil.copytree(zoo(kind), tmp_path_factory.mktemp("damaged") / kind)
    name = data.draw(st.sampled_from([WEIGHTS, "config.json", "tokenizer.json"]))
    path = folder / name
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        end = 8 + int.from_bytes(content[:8], "little") if name == WEIGHTS else len(content)
        content[data.draw(st.integers(0, end - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    expected, _ = load_encoder(zoo(kind))
    try:
        found, _ = load_encoder(folder)
    except BadRequest as error:
        if str(folder) not in str(error):
            raise
        return
    if name != WEIGHTS:
        return
    for key, tensor in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[key], tensor, rtol=0, atol=0)


def test_weights_in_the_hub_s_cache_are_held_against_their_sum(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(zoo("llama"), tmp_path / "snapshot")
    content = (folder / WEIGHTS).read_bytes()
    blob = tmp_path / hashlib.sha256(content).hexdigest()
    (folder / WEIGHTS).rename(blob)
    (folder / WEIGHTS).symlink_to(blob)
    assert type(body(folder)).__name__ == "LlamaModel"
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BadData, match=r"model\.safetensors is not what the hub gave, by its SHA-256\. Delete"):
        body(folder)


def test_only_the_configuration_of_a_t5_is_read_for_its_rows(zoo: Callable[[str], Path]) -> None:
    assert read_t5_config(zoo("t5")).vocab_size == 5 + len(WORDS)
    with pytest.raises(BadConfig, match="not a t5"):
        read_t5_config(zoo("bart"))


def test_nothing_else_reads_pretrained_files() -> None:
    """Whatever is read past the loader would not be held against its architecture."""
    import recbench
    import recbench_models.gram

    roots = (Path(recbench.__file__).parent, Path(recbench_models.gram.__file__).parents[1])
    reading = {path.name for root in roots for path in root.rglob("*.py") if ".from_pretrained(" in path.read_text(encoding="utf-8")}
    assert reading == {"pretrained.py"}
