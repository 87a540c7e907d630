"""GRAM with a frozen encoder in the place of MiniLM: a tiny BERT with random weights."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import WORDS, save_model
from transformers import AutoModel

from recbench.core import BadConfig, Catalogue, Histories
from recbench.core.ragged import Ragged
from recbench.nn.blocks import T5Encoder
from recbench.nn.codes import CodeTrie
from recbench.nn.codes.beam import beam_search
from recbench.nn.text import location
from recbench.testing import LightContext, interactions, queries
from recbench_models.gram import PLUGIN, frozen
from recbench_models.gram.config import GRAMConfig
from recbench_models.gram.data import Examples
from recbench_models.gram.item_states import ItemStates
from recbench_models.gram.prompts import item_fields
from recbench_models.gram.recommender import GRAM
from recbench_models.gram.vocabulary import Vocabulary

N_ITEMS = 24
SHAPES, COLOURS = ("hat", "scarf", "glove", "anchor"), ("red", "blue", "green", "wool", "silk", "rope")
TITLES: list[str | None] = [f"{COLOURS[item % 6]} {SHAPES[item // 6]} {item}" for item in range(N_ITEMS)]
HISTORIES = [[(user + step) % N_ITEMS for step in range(2 + user % 4)] for user in range(30)]
TINY: dict[str, Any] = {
    "text": {"fields": ["title"], "optional_fields": [], "encoder": "tfidf-svd", "svd_width": 8},
    "ids": {"n_clusters": 4, "n_levels": 3},
    "backbone": {"width": 16, "head_width": 8, "n_heads": 2, "hidden": 32, "dropout": 0.0},
    "prompts": {"item_max_len": 16, "max_history": 4},
    "training": {"max_steps": 12, "warmup_steps": 4, "learning_rate": 1e-2, "curve_every_steps": 3, "validate_every_epochs": 1000},
    "search": {"n_beams": 24},
}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    save_model("bert", folder, spells=True)
    return folder


@pytest.fixture
def minilm(bert: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model in the place of MiniLM's package."""
    package = ModuleType("bundled_model")
    package.MODEL_DIR = str(bert)  # type: ignore[attr-defined]
    package.__spec__ = ModuleSpec("bundled_model", None)
    monkeypatch.setitem(sys.modules, "bundled_model", package)
    monkeypatch.setattr(location, "MINILM_MODULE", "bundled_model")
    return bert


def settings(**changes: Any) -> GRAMConfig:
    preset = changes.pop("preset", "cpu-minilm")
    found = PLUGIN.resolve(preset, None, {**TINY, **changes})
    assert isinstance(found, GRAMConfig)
    return found


def fitted(folder: Path, **changes: Any) -> GRAM:
    gram = GRAM(settings(**changes))
    gram.fit(LightContext(interactions(HISTORIES, N_ITEMS), folder, {"title": TITLES}, judge=lambda _: 0.0))
    return gram


def test_stored_states_are_those_of_each_prompt_alone(minilm: Path, tmp_path: Path) -> None:
    gram = fitted(tmp_path, **{"backbone.state_type": "float32"})
    reader, prompts = gram._trained.frozen, gram._texts.prompts
    assert reader is not None
    model = AutoModel.from_pretrained(minilm).eval()
    cls, sep = 2, 3
    for item in range(N_ITEMS):
        assert (prompts[item][0], prompts[item][-1]) == (cls, sep)
        with torch.inference_mode():
            alone = model(input_ids=torch.from_numpy(prompts[item].astype(np.int64))[None]).last_hidden_state[0]
        stored = reader.state_SE[prompts.offsets[item] : prompts.offsets[item + 1]]
        np.testing.assert_allclose(stored, alone.numpy(), atol=1e-5)


def test_kept_states_are_those_that_training_reads(minilm: Path, tmp_path: Path) -> None:
    network = fitted(tmp_path)._trained
    assert network.frozen is not None
    items = np.array([5, 0, 17], np.int32)
    states = ItemStates(T5Encoder(network.t5), network.prompts, network.places.weight.shape[1], torch.device("cpu"), network.frozen)
    states.ensure(items)
    memory, is_real = states.memory(Histories.from_lists([[5, 0, 17]]), None, torch.zeros_like(network.places.weight))
    with torch.inference_mode():
        torch.testing.assert_close(memory[0][is_real[0]], network.frozen(items[::-1]), rtol=0, atol=1e-6)


def test_training_moves_everything_but_the_frozen_states(minilm: Path, tmp_path: Path) -> None:
    before = fitted(tmp_path / "before", **{"training.max_steps": 1})
    gram = fitted(tmp_path / "after")
    reader = gram._trained.frozen
    assert reader is not None
    assert before._trained.frozen is not None
    np.testing.assert_array_equal(reader.state_SE, before._trained.frozen.state_SE)
    assert not any("bert" in name or "state_SE" in name for name, _ in gram._trained.named_parameters())
    examples = Examples(gram.config, interactions(HISTORIES, N_ITEMS), gram._user_prompts)
    loss, _ = gram._trained.loss(examples.batch(np.arange(6)))
    loss.backward()
    for parameter in (reader.map.weight, reader.norm.weight, gram._trained.t5.shared.weight):
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0


def test_it_learns_what_follows(minilm: Path, tmp_path: Path) -> None:
    gram = fitted(tmp_path, **{"training.max_steps": 100, "training.max_epochs": 100_000})
    asked = queries([[item, (item + 1) % N_ITEMS] for item in range(N_ITEMS)])
    target = (np.arange(N_ITEMS) + 2) % N_ITEMS
    assert (gram.generate(asked, 3).view("unseen") == target[:, None]).any(1).mean() > 0.7  # chance is 3 / 22


@pytest.mark.parametrize("preset", ["cpu-minilm", "cpu-minilm-random"])
def test_half_precision_states_change_scores_little(preset: str, minilm: Path, tmp_path: Path) -> None:
    asked = queries([*HISTORIES, []])
    half, single = (
        fitted(tmp_path / kind, preset=preset, **{"training.max_steps": 1, "backbone.state_type": kind}).generate(asked, 10)
        for kind in ("float16", "float32")
    )
    assert np.abs(half.scores - single.scores).max() < 1e-2
    assert (half.items == single.items).mean() > 0.9


def test_saved_and_read_again_it_gives_the_same_lists(minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gram = fitted(tmp_path / "cache")
    (tmp_path / "model").mkdir()
    gram.save(tmp_path / "model")
    monkeypatch.setattr(location, "MINILM_MODULE", "no_such_package")
    read = GRAM(gram.config)
    read.load(tmp_path / "model")
    asked = queries([[3, 4, 5], [7], [], list(range(20))])
    before, after = gram.generate(asked, 20), read.generate(asked, 20)
    np.testing.assert_array_equal(before.items, after.items)
    np.testing.assert_array_equal(before.scores, after.scores)
    for size in (1, 3):
        parts = [gram.generate(asked.take(list(range(start, min(start + size, 4)))), 20) for start in range(0, 4, size)]
        np.testing.assert_array_equal(np.concatenate([part.items for part in parts], 1), before.items)


class Fixed:
    """A decoder whose logits are given: of each token, whatever was read before."""

    start_token = 0

    def __init__(self, logit_V: torch.Tensor) -> None:
        self._logit_V, self.vocabulary = logit_V, len(logit_V)

    def start_tokens(self) -> torch.Tensor:
        return torch.zeros(1, dtype=torch.long)

    def logits(self, state_ND: torch.Tensor) -> torch.Tensor:
        return self._logit_V.expand(len(state_ND), -1)

    def advance(self, token_uWR: torch.Tensor, parent_uW: Any, users: Any, *, node_uWR: Any = None, is_last: bool) -> torch.Tensor:
        return torch.zeros(*token_uWR.shape, 1)


def test_a_head_over_the_words_of_ids_is_the_whole_one_without_the_others() -> None:
    whole_V = torch.randn(50, generator=torch.Generator().manual_seed(0))
    words = np.array([0, 1, 7, 12, 30, 41])
    ids = np.array([[7, 12, 1], [7, 30, 1], [12, 41, 1], [41, 7, 1]])
    masked_V = torch.full_like(whole_V, -torch.inf)
    masked_V[torch.from_numpy(words)] = whole_V[torch.from_numpy(words)]
    found = []
    for logit_V, tokens in ((masked_V, ids), (whole_V[torch.from_numpy(words)], np.searchsorted(words, ids))):
        trie = CodeTrie.from_tokens(Ragged.from_lists(tokens.tolist()))
        found.append(beam_search(Fixed(logit_V), trie, Histories.from_lists([[0]]), 4, views=("keep",), n_beams=4))
    np.testing.assert_array_equal(found[0].items, found[1].items)
    np.testing.assert_allclose(found[0].scores, found[1].scores, atol=1e-6)


def test_numbers_for_which_the_encoder_has_no_word_tell_items_apart(minilm: Path, tmp_path: Path) -> None:
    alike: list[str | None] = ["red hat", "blue scarf"] * (N_ITEMS // 2)
    gram = GRAM(settings(**{"training.max_steps": 1}))
    gram.fit(LightContext(interactions(HISTORIES, N_ITEMS), tmp_path, {"title": alike}, judge=lambda _: 0.0))
    # The tiny vocabulary has digits, so the numbers 10 and 11 are no words.
    assert len(gram._trained.label_IY.unique()) == 2 + 12 + 2 + 2  # pad and end, numbers, and a name of either of two kinds of item
    lists = gram.generate(queries([[0, 1]]), N_ITEMS).view("keep")[0]
    assert sorted(lists.tolist()) == list(range(N_ITEMS))


def test_ids_are_whole_words_of_the_encoder(bert: Path) -> None:
    vocabulary = Vocabulary.of_word_pieces(bert, [title for title in TITLES if title])
    tokens = vocabulary.encode(["red hats"])[0].tolist()
    assert [vocabulary.piece(token) for token in tokens][:1] == ["red"]
    names = {vocabulary.piece(int(token)) for token in np.flatnonzero(vocabulary.may_name)}
    assert names == {word for word in WORDS if len(word) > 1}


def test_shuffled_texts_are_the_texts_of_others(tmp_path: Path) -> None:
    items = LightContext(interactions(HISTORIES, N_ITEMS), tmp_path, {"title": TITLES}).items
    own, others = (item_fields(items, settings(**{"text.shuffle_seed": seed}).text) for seed in (None, 0))
    assert own != others
    assert sorted(own) == sorted(others)


def test_the_random_twin_differs_in_the_encoder_alone(minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "_RANDOM_SEED", 1)  # the tiny model itself was drawn with 0
    twins = ("cpu-minilm", "cpu-minilm-random")
    pretrained, random = (fitted(tmp_path / preset, preset=preset, **{"training.max_steps": 1}) for preset in twins)
    np.testing.assert_array_equal(pretrained._texts.ids.item, random._texts.ids.item)
    np.testing.assert_array_equal(pretrained._texts.prompts.item, random._texts.prompts.item)
    assert pretrained._trained.frozen is not None
    assert random._trained.frozen is not None
    assert np.abs(pretrained._trained.frozen.state_SE - random._trained.frozen.state_SE).mean() > 0.1


@pytest.mark.parametrize("change", [{"prompts.items": False}, {"prompts.user_end": " ?"}, {"ids.file": "ids.txt"}])
def test_what_a_frozen_encoder_cannot_do_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadConfig, match="reads item prompts with MiniLM"):
        PLUGIN.build(settings(**change), Catalogue(N_ITEMS, 1))
