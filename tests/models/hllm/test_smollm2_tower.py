"""SmolLM2 as a frozen item tower: a tiny Llama in its place in the cache."""

from pathlib import Path
from typing import Any

import hllm_case as case
import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from recbench.core import BadConfig, Catalogue, DataUnavailable
from recbench.core.digests import file_sha256
from recbench.core.home import converted_below
from recbench.nn.text.converted import ORIGIN_FILE, SMOLLM2_NAME, Origin
from recbench.testing import LightContext, interactions, queries
from recbench_models.hllm import PLUGIN
from recbench_models.hllm.catalogue import standardised
from recbench_models.hllm.config import HLLMConfig
from recbench_models.hllm.item_text import item_lines
from recbench_models.hllm.recommender import HLLM

N_ITEMS = 12
WORDS = ("red", "blue", "wool", "silk", "hat", "rope", "scarf")
TITLES: list[str | None] = [f"{WORDS[item % 4]} {WORDS[4 + item % 3]}" for item in range(N_ITEMS)]
SHA256 = "ab" * 32
TINY: dict[str, Any] = {
    "text": {"fields": ["title"], "optional_fields": []},
    "user": {"width": 16, "heads": 2, "key_heads": 1, "hidden": 32, "depth": 1},
    "sequences": {"max_length": 4, "batch_size": 16},
    "negatives.count": 8,
    "training": {"max_steps": 6, "warmup_steps": 2, "max_epochs": 100, "validate_every_epochs": 100},
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a tiny model in the place of SmolLM2."""
    folder = converted_below(tmp_path / "home") / SMOLLM2_NAME
    case.body().save_pretrained(folder)
    plain = Tokenizer(models.WordLevel({word: row for row, word in enumerate(["<unk>", *WORDS])}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>").save_pretrained(folder)
    files = {file.name: file_sha256(file) for file in folder.iterdir()}
    (folder / ORIGIN_FILE).write_text(Origin(source="tiny.gguf", source_sha256=SHA256, files=files, transformers="0").model_dump_json())
    monkeypatch.setenv("RECBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def settings(preset: str = "cpu-smollm2", **changes: Any) -> HLLMConfig:
    found = PLUGIN.resolve(preset, None, {**TINY, **changes})
    assert isinstance(found, HLLMConfig)
    return found


def fitted(config: HLLMConfig, folder: Path) -> HLLM:
    lists = [[(user + step) % N_ITEMS for step in range(4)] for user in range(N_ITEMS)]
    hllm = HLLM(config, Catalogue(N_ITEMS, len(lists)))
    hllm.fit(LightContext(interactions(lists, N_ITEMS), folder, {"title": TITLES}, judge=lambda _: 0.0))
    return hllm


def test_records_name_the_release_that_was_converted(home: Path) -> None:
    revision = f"{SMOLLM2_NAME}@{SHA256[:12]}"
    assert settings().named_revisions() == {"item.tower": revision}
    assert settings().named_files() == ()
    both = settings(**{"user.tower": "smollm2"})
    assert both.named_revisions() == {"item.tower": revision, "user.tower": revision}


def test_without_the_conversion_the_command_is_said_before_any_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECBENCH_HOME", str(tmp_path))
    with pytest.raises(DataUnavailable, match=r"item\.tower='smollm2' is not in the cache .* recbench cache add smollm2"):
        settings().named_revisions()


def test_vectors_are_centred_and_standardised_over_the_items(home: Path, tmp_path: Path) -> None:
    found = fitted(settings(), tmp_path / "std").item_vectors()
    raw = fitted(settings(**{"item.standardise": False}), tmp_path / "raw").item_vectors()
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(0), 1, atol=1e-4)
    np.testing.assert_allclose(found, (raw - raw.mean(0)) / raw.std(0), atol=1e-3)


def test_a_component_that_never_changes_is_zero_and_not_divided_by() -> None:
    vectors = np.array([[1.0, 5.0], [3.0, 5.0], [9.0, 5.0]], np.float32)
    np.testing.assert_allclose(standardised(vectors), [[-1.0, 0.0], [1.0, 0.0], [7.0, 0.0]], atol=1e-6)


def test_the_twin_has_other_vectors_and_the_same_sizes(home: Path, tmp_path: Path) -> None:
    pretrained, random = (fitted(settings(preset), tmp_path / preset) for preset in ("cpu-smollm2", "cpu-smollm2-random"))
    assert pretrained.item_vectors().shape == random.item_vectors().shape
    assert np.abs(pretrained.item_vectors() - random.item_vectors()).mean() > 0.1
    shared = {"item": {"tower", "weights"}}
    first, second = (settings(preset).model_dump(exclude=shared) for preset in ("cpu-smollm2", "cpu-smollm2-random"))
    assert first == second
    first, second = (settings(preset).model_dump(exclude=shared) for preset in ("cpu-smollm2", "cpu-minilm"))
    assert first == second


def test_what_was_saved_answers_without_the_language_model(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hllm = fitted(settings(), tmp_path / "cache")
    (tmp_path / "model").mkdir()
    hllm.save(tmp_path / "model")
    monkeypatch.setenv("RECBENCH_HOME", str(tmp_path / "elsewhere"))
    read = HLLM(settings(), Catalogue(N_ITEMS, N_ITEMS))
    read.load(tmp_path / "model")
    asked = queries([[1, 2, 3], [], [5]])
    np.testing.assert_array_equal(hllm.generate(asked, 5).items, read.generate(asked, 5).items)


def test_fields_may_stand_without_their_names(tmp_path: Path) -> None:
    columns = {"title": TITLES, "brand": ["acme", *([None] * (N_ITEMS - 1))]}
    items = LightContext(interactions([[0]], N_ITEMS), tmp_path, columns).items
    text = settings(**{"text.fields": ["title", "brand"], "text.optional_fields": ["brand"]}).text
    assert item_lines(items, text)[:2] == ["red hat acme", "blue rope"]


def test_standardised_vectors_are_not_trained() -> None:
    with pytest.raises(BadConfig, match="standardise=true would change the vectors"):
        settings(**{"item.layers": 1})
