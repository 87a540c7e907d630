"""IDGenRec: phrases as IDs, phrases that begin others, the column in the keys, a pretrained T5 as the start."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import BadConfig, BadData, BadRequest, Catalogue, ItemTable
from recbench.nn.blocks import FIRST_CODE, CodeGenerator, Seq2SeqSettings, T5Decoder, T5DecoderParameters
from recbench.nn.codes import CodeTrie, ItemCodes, batched_beam_search
from recbench.testing import LightContext, interactions, queries, small_split, train
from recbench_models.idgenrec import PLUGIN
from recbench_models.idgenrec.phrases import COLUMN, item_phrases, phrase_codes, words
from recbench_models.idgenrec.recommender import IDGenRec

NESTED = ["red hat", "hat", "red, hat Red", "red"]


def table(phrases: Sequence[str | None]) -> ItemTable:
    ids = np.array([f"i{row}" for row in range(len(phrases))], object)
    return ItemTable(ids, {}, {COLUMN: np.array([*phrases, None], object)[:-1]})


def lists_of(codes: ItemCodes) -> list[list[int]]:
    return [row[row >= 0].tolist() for row in codes.code]


def tiny(**changes: Any) -> Seq2SeqSettings:
    sizes = {"width": 16, "n_encoder_layers": 1, "n_decoder_layers": 1, "n_heads": 2, "head_width": 8, "hidden": 32, "max_history": 5}
    return Seq2SeqSettings.model_validate(sizes | changes)


def test_ids_are_the_words_of_phrases() -> None:
    codes, parts = phrase_codes(table(NESTED), words)
    assert lists_of(codes) == [[0, 1], [1], [0, 1, 2], [0]]
    assert parts == ["red", "hat", "Red"]
    assert codes.shared_tokens
    nameless, parts = phrase_codes(table(["!", "a b", None]), words)
    assert lists_of(nameless) == [[2], [0, 1], [3]]
    assert parts == ["a", "b"]


def test_items_without_a_phrase_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for phrases, said in ((NESTED, []), (["!", "a b", None], ["2 of 3 items have no phrase"])):
        events = interactions([[0, 1]], n_items=len(phrases))
        context = LightContext(events, tmp_path / str(len(phrases)), columns={COLUMN: phrases})
        caplog.clear()
        item_phrases(context, words)
        found = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert [line.split(";")[0] for line in found] == said


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab A.-", max_size=6), min_size=1, max_size=8))
def test_phrases_differ_once_they_are_normalised_or_are_refused(phrases: list[str]) -> None:
    normalised = [phrase.replace(".", " ").replace("-", " ").split() for phrase in phrases]
    named = [tuple(part) for part in normalised if part]
    if len(set(named)) < len(named):
        with pytest.raises(BadData, match="are one once they are cut into tokens"):
            phrase_codes(table(phrases), words)
        return
    codes, parts = phrase_codes(table(phrases), words)
    found = lists_of(codes)
    assert len({tuple(code) for code in found}) == len(phrases)
    for code, written in zip(found, normalised, strict=True):
        assert [parts[token] for token in code if token < len(parts)] == written


@torch.no_grad()
def test_an_end_token_lets_a_phrase_compete_with_one_that_it_begins() -> None:
    codes, _ = phrase_codes(table(["red", "red hat"]), words)
    asked = queries([[0]], known=False)
    ended, unended = set(), set()
    for seed in range(12):
        model = CodeGenerator(tiny(renormalise=True), codes, seed)
        with_end = model.generate(asked, 2)
        ended.add(tuple(with_end.view("keep")[0].tolist()))
        # The two share all of the probability.
        assert np.exp(with_end.scores[with_end.views.index("keep"), 0]).sum() == pytest.approx(1, abs=1e-5)
        network = model.network
        memory = network.encode(torch.tensor([[0]]), None).state_BMD
        decoder = T5Decoder(T5DecoderParameters(network.t5), memory, torch.ones(memory.shape[:2], dtype=torch.bool), 1)
        without = batched_beam_search(
            lambda _, decoder=decoder: decoder,  # type: ignore[misc]
            CodeTrie.from_tokens(codes.token_lists(FIRST_CODE)),
            asked,
            2,
            length_B=np.array([1]),
            n_beams=4,
            renormalise=True,
        )
        unended.add(tuple(without.view("keep")[0].tolist()))
    assert ended == {(0, 1), (1, 0)}
    assert unended == {(0, 1)}


def test_phrases_are_part_of_the_keys(tmp_path: Path) -> None:
    split = small_split(tmp_path, columns=PLUGIN.card.needs_columns)
    column = split.items.model_columns[COLUMN]
    other = replace(split, items=replace(split.items, model_columns={COLUMN: column[::-1]}))
    short = {"training.max_steps": 1}
    first, second, again = (train(PLUGIN, part, tmp_path, overrides=short) for part in (split, other, split))
    stages = [{part.name: part for part in trained.lineage} for trained in (first, second, again)]
    for name in ("idgenrec.ids", "training-idgenrec"):
        assert not stages[1][name].reused
        assert stages[0][name].key == stages[2][name].key != stages[1][name].key


def test_data_without_phrases_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=f"'idgenrec' reads the item column '{COLUMN}', which this data set does not hand to models"):
        train(PLUGIN, small_split(tmp_path), tmp_path)


COLOURS, THINGS = ("red", "blue", "old", "new"), ("hat", "cup", "saw", "fan", "bed")
PHRASES = [*(f"{colour} {thing}" for colour in COLOURS for thing in THINGS), "red", "old"]


def trained(folder: Path, phrases: Sequence[str], lists: Sequence[Sequence[int]], **values: Any) -> IDGenRec:
    short = {"training.max_epochs": 400, "training.validate_every_epochs": 400, "generator.dropout": 0.0}
    model = PLUGIN.build(PLUGIN.resolve("smoke", None, short | values), Catalogue(len(phrases), len(lists)))
    events = interactions([list(row) for row in lists], len(phrases))
    report = model.fit(LightContext(events, folder, columns={COLUMN: phrases}, judge=lambda _: 0.0))
    assert report.artefacts["codes"].is_file()
    assert isinstance(model, IDGenRec)
    return model


@pytest.mark.uncounted
def test_remembers_which_item_follows(tmp_path: Path) -> None:
    lists = np.random.default_rng(0).permutation(len(PHRASES))[:20].reshape(-1, 5).tolist()
    steps = {"training.max_steps": 80, "training.learning_rate": 1e-2, "training.weight_decay": 0.0}
    model = trained(tmp_path, PHRASES, lists, **steps)
    asked = queries([row[:place] for row in lists for place in range(1, 5)])
    targets = np.array([row[place] for row in lists for place in range(1, 5)])
    assert (model.generate(asked, 10).view("keep")[:, 0] == targets).mean() > 0.7  # 1 / 22 is chance


PIECES = ["r", "ed", "blue", "old", "new", "hat", "cup", "saw", "fan", "bed"]
SIZES = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2}
SETTINGS = {"width": 16, "head_width": 8, "hidden": 32, "n_encoder_layers": 1, "n_decoder_layers": 1, "n_heads": 2}


def save_backbone(folder: Path, **changes: Any) -> Path:
    """A tiny T5 with a tokenizer of pieces."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    scored = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), ("\u2581", -3.0), *((piece, -2.0) for piece in PIECES)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(folder)
    ids = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    torch.manual_seed(1)
    T5ForConditionalGeneration(T5Config(vocab_size=len(scored), **{**SIZES, **ids, **changes})).save_pretrained(folder)
    return folder


def on_backbone(folder: Path) -> dict[str, Any]:
    return {"backbone.name": str(folder), "training.max_steps": 1} | {f"generator.{name}": value for name, value in SETTINGS.items()}


@torch.no_grad()
def test_a_backbone_reads_phrases_as_it_did_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer, T5ForConditionalGeneration

    folder = save_backbone(tmp_path / "t5")
    monkeypatch.setattr(CodeGenerator, "fit", lambda *_: _Report())
    model = PLUGIN.build(PLUGIN.resolve("smoke", None, on_backbone(folder)), Catalogue(len(PHRASES), 1))
    model.fit(LightContext(interactions([[0, 1]], len(PHRASES)), tmp_path, columns={COLUMN: PHRASES}))
    assert isinstance(model, IDGenRec)
    network = model.generator.network
    t5, tokenizer = T5ForConditionalGeneration.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    for item, phrase in enumerate(PHRASES):
        pieces = torch.tensor([tokenizer(phrase, add_special_tokens=False)["input_ids"]])
        state_BMD = network.encode(torch.tensor([[item]]), None).state_BMD
        np.testing.assert_allclose(state_BMD, t5.encoder(pieces).last_hidden_state, atol=1e-5)
        # The likelihood of the whole phrase with its end, among the tokens that both have.
        written = torch.cat([pieces, torch.tensor([[1]])], 1)
        logits = t5(input_ids=pieces, labels=written).logits[0]
        target = torch.tensor([[item]])
        ours = network.decode(network.encode(target, None), network.decoder_input(target), torch.zeros(1, 1))
        tokens = network.written_tokens[item]
        tokens = tokens[tokens != 0]
        found = ours[0, 0, : len(tokens)] @ network.t5.shared.weight[tokens].T
        np.testing.assert_allclose(found, logits[:, written[0]], atol=1e-4)


class _Report:
    artefacts: dict[str, Path] = {}  # noqa: RUF012 (never written to)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_ff": 64}, r"generator.hidden=32 and the backbone in .* has 64. Write --set generator.hidden=64"),
        ({"feed_forward_proj": "gated-gelu"}, "other layers than the generator"),
    ],
)
def test_a_backbone_of_another_shape_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        trained(tmp_path, PHRASES, [[0, 1, 2]], **on_backbone(save_backbone(tmp_path / "t5", **changes)))


def test_a_backbone_that_is_not_there_names_the_ways_out(tmp_path: Path) -> None:
    config = PLUGIN.resolve("paper", None, {"backbone.name": str(tmp_path)})
    with pytest.raises(BadRequest, match="--preset paper-scratch or cpu, which need no backbone"):
        config.parts["backbone"].named_files()
    with pytest.raises(BadConfig, match="name='t5-small' is none of scratch"):
        PLUGIN.resolve("paper", None, {"backbone.name": "t5-small"})


def test_rows_say_what_the_ids_are_and_presets_have_the_sizes_of_t5_small() -> None:
    assert PLUGIN.row_name("cpu", PLUGIN.resolve("cpu")) == "idgenrec:cpu (ids: phase 0, frozen)"
    for preset, backbone in {"paper": "hf:google-t5/t5-small", "paper-scratch": "scratch"}.items():
        config = PLUGIN.resolve(preset)
        assert config.backbone.name == backbone
        sizes, training = config.generator, config.training
        assert (sizes.width, sizes.n_heads, sizes.head_width, sizes.hidden) == (512, 8, 64, 2048)
        assert (sizes.n_encoder_layers, sizes.n_decoder_layers, sizes.max_history, sizes.batch_targets) == (6, 6, 20, 64)
        assert (training.learning_rate, training.schedule, training.clip_norm, training.max_epochs) == (1e-3, "linear", 1, 30)
