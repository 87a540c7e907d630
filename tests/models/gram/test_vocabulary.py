"""GRAM's vocabularies: what a text becomes, which tokens are reserved, which may name an item."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from recbench.core.errors import BadData, BadRequest
from recbench_models.gram.vocabulary import EOS, PAD, UNKNOWN, Vocabulary

TEXTS = ("title: red hat, wool; price: 12.99", "title: blue rope | anchor 7", "title: red rope")
MARKS = ("; title: ", "item: ", ", ")
PIECES = ("▁red", "▁hat", "▁h", "at", "▁", "▁;", ";", ",", "▁item", ":", "▁title", "▁0", "1", "z")
N_BACKBONE_ROWS = 24


def own(texts: tuple[str, ...] = TEXTS, **changes: object) -> Vocabulary:
    return Vocabulary.own(texts, **{"n_pieces": 200, "marks": MARKS, "n_numbers": 4} | changes)  # type: ignore[arg-type]


def pieces(vocabulary: Vocabulary, text: str) -> list[str]:
    return [vocabulary.piece(token) for token in vocabulary.encode([text])[0].tolist()]


def save_backbone(folder: Path, control: tuple[str, ...] = ("<pad>", "</s>", "<unk>"), **names: str) -> Path:
    """A tokenizer made as T5's is: unigram, an end token behind every text; it also cuts and pads unless told otherwise."""
    tokenizer = Tokenizer(models.Unigram([*((piece, 0.0) for piece in control), *((piece, -1.0) for piece in PIECES)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", control.index("</s>"))])
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=3)
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", **names}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, additional_special_tokens=["<extra_id_0>"], **names).save_pretrained(folder)
    return folder


@pytest.fixture
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return Vocabulary.of_backbone(save_backbone(tmp_path_factory.mktemp("backbone")), N_BACKBONE_ROWS)


def test_reserved_tokens_come_first_and_pieces_follow() -> None:
    vocabulary = own(extra_pieces=("▁comet", "▁red", "▁comet"))
    assert (PAD, EOS, UNKNOWN) == (0, 1, 2)
    assert [vocabulary.number(n) for n in range(4)] == [3, 4, 5, 6]
    assert [vocabulary.mark(text) for text in MARKS] == [(7,), (8,), (9,)]
    assert vocabulary.token("▁comet") == 10
    assert vocabulary.token("▁red") > 10
    assert [vocabulary.piece(token) for token in (0, 1, 2, 4, 8, 10)] == ["<pad>", "</s>", "<unk>", "1", "item: ", "▁comet"]
    assert len({vocabulary.piece(token) for token in range(11, vocabulary.size)}) == vocabulary.size - 11


def test_every_piece_is_found_under_its_own_name() -> None:
    vocabulary = own(extra_pieces=("▁comet",))
    assert [vocabulary.token(vocabulary.piece(token)) for token in range(10, vocabulary.size)] == list(range(10, vocabulary.size))
    assert vocabulary.token("<pad>") is vocabulary.token("item: ") is vocabulary.token("▁nowhere") is None


def test_words_carry_their_mark_and_punctuation_stands_alone() -> None:
    assert pieces(own(), "red  hat, wool\tred|red")[:6] == ["▁red", "▁hat", ",", "▁wool", "▁red", "|"]


@given(st.lists(st.text(alphabet="redhatwol,.| ", max_size=20), max_size=4))
def test_pieces_of_known_characters_spell_the_text(texts: list[str]) -> None:
    vocabulary = own()
    encoded = vocabulary.encode(texts)
    assert len(encoded) == len(texts)
    for row, text in enumerate(texts):
        spelt = "".join(vocabulary.piece(token) for token in encoded[row].tolist())
        assert spelt == "".join(f"▁{word}" for word in text.split())
    assert not len(encoded.item) or encoded.item.min() > UNKNOWN


@pytest.mark.parametrize("text", ["<pad>", "red</s>hat", "<unk>", "<extra_id_0>"])
def test_a_text_cannot_say_a_control_token(text: str, backbone: Vocabulary) -> None:
    spelt = own((*TEXTS, text)).encode([text])[0]
    assert spelt.min() > UNKNOWN
    assert not {PAD, EOS, backbone.token("<extra_id_0>")} & set(backbone.encode([text])[0].tolist())


def test_unknown_characters_are_the_unknown_token() -> None:
    assert own().encode(["red q"])[0].tolist()[-1] == UNKNOWN


def test_two_trainings_give_the_same_vocabulary(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # Many words of equal frequency: an order that hangs on a hash would show.
    texts = tuple(" ".join("".join(rng.choice(list("abcdefgh"), 6)) for _ in range(20)) for _ in range(50))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        own(texts, n_pieces=300).save(tmp_path / name)
    for file in ("tokenizer.json", "vocabulary.json"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    assert own(texts, n_pieces=300).size == 300
    assert own(texts[::-1], n_pieces=250).size == 250


def test_texts_of_few_words_give_fewer_pieces_and_no_texts_none() -> None:
    assert own().size < 200
    assert own(()).size == 3 + 4 + len(MARKS)
    assert own(()).encode(["red"])[0].tolist() == [UNKNOWN]
    assert len(own().encode([])) == 0


def test_may_name_leaves_out_reserved_tokens_the_bare_mark_and_single_characters() -> None:
    vocabulary = own(("a ab 7 77 -", *TEXTS), extra_pieces=("▁x", "y", "▁"))
    may = {vocabulary.piece(token): bool(vocabulary.may_name[token]) for token in range(10, vocabulary.size)}
    assert vocabulary.may_name.shape == (vocabulary.size,)
    assert not vocabulary.may_name[:10].any()
    assert [may[piece] for piece in ("▁a", "▁ab", "▁7", "▁77", "▁x")] == [True] * 5
    assert not any(may[piece] for piece in ("▁", "a", "7", "y", "-"))


def test_an_own_vocabulary_has_only_the_marks_and_numbers_it_was_made_with() -> None:
    assert own().mark("") == ()
    with pytest.raises(ValueError, match="no mark 'brand: '"):
        own().mark("brand: ")
    with pytest.raises(ValueError, match="no token for the number 4"):
        own().number(4)


@pytest.mark.parametrize("kind", ["own", "backbone"])
def test_rows_are_added_for_numbers_that_have_none(kind: str, backbone: Vocabulary, tmp_path: Path) -> None:
    vocabulary = own() if kind == "own" else backbone
    before = [vocabulary.piece(token) for token in range(vocabulary.size)]
    vocabulary.ensure_numbers(60)
    tokens = [vocabulary.number(n) for n in range(60)]
    assert len(set(tokens)) == 60
    assert max(tokens) == vocabulary.size - 1
    assert [vocabulary.piece(token) for token in tokens][50:] == [str(n) for n in range(50, 60)]
    assert [vocabulary.piece(token) for token in range(len(before))] == before
    assert not vocabulary.may_name[[token for token in tokens if token >= len(before)]].any()
    vocabulary.ensure_numbers(10)
    assert vocabulary.number(59) == tokens[59]
    vocabulary.save(tmp_path)
    assert Vocabulary.load(tmp_path).number(59) == tokens[59]


def test_a_saved_vocabulary_is_the_same_when_read(tmp_path: Path, backbone: Vocabulary) -> None:
    for name, vocabulary in (("own", own(extra_pieces=("▁comet",))), ("backbone", backbone)):
        folder = tmp_path / name
        folder.mkdir()
        vocabulary.save(folder)
        read = Vocabulary.load(folder)
        assert read.size == vocabulary.size
        assert [read.piece(token) for token in range(read.size)] == [vocabulary.piece(token) for token in range(read.size)]
        np.testing.assert_array_equal(read.may_name, vocabulary.may_name)
        np.testing.assert_array_equal(read.encode(["red hat </s> q"]).item, vocabulary.encode(["red hat </s> q"]).item)
        assert read.number(3) == vocabulary.number(3)
        assert [read.mark(text) for text in MARKS] == [vocabulary.mark(text) for text in MARKS]


def test_a_folder_without_a_vocabulary_is_named(tmp_path: Path) -> None:
    own().save(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BadData, match=str(tmp_path)):
        Vocabulary.load(tmp_path)
    with pytest.raises(BadData, match="nowhere"):
        Vocabulary.load(tmp_path / "nowhere")


def test_a_backbone_encodes_without_end_token_cut_or_padding(backbone: Vocabulary) -> None:
    assert pieces(backbone, "red hat red hat") == ["▁red", "▁hat", "▁red", "▁hat"]
    assert pieces(backbone, "red") == ["▁red"]
    assert backbone.size == N_BACKBONE_ROWS


def test_a_backbones_mark_is_its_text_and_punctuation_joins_the_word_before(backbone: Vocabulary) -> None:
    def spelt(text: str) -> list[str]:
        return [backbone.piece(token) for token in backbone.mark(text)]

    assert spelt("") == []
    assert spelt("item: ") == ["▁item", ":"]
    assert spelt(" ; ") == ["▁;"]
    # "▁;" is one piece and "▁," is two; neither is what stands behind a word.
    assert spelt("; title: ") == [";", "▁title", ":"]
    assert spelt(", ") == [","]
    assert spelt("; title: ") == pieces(backbone, "hat; title: ")[1:]


def test_a_backbones_numbers_are_its_pieces_or_rows_above_them(backbone: Vocabulary) -> None:
    n_pieces = 3 + len(PIECES) + 1
    assert backbone.number(0) == backbone.token("▁0")
    assert backbone.number(1) == backbone.token("1")
    assert backbone.number(2) == n_pieces + 2
    assert backbone.piece(backbone.number(2)) == "2"
    last = N_BACKBONE_ROWS - n_pieces - 1
    assert backbone.number(last) == N_BACKBONE_ROWS - 1
    with pytest.raises(ValueError, match=f"number {last + 1}"):
        backbone.number(last + 1)


def test_a_backbones_special_tokens_and_free_rows_name_nothing(backbone: Vocabulary) -> None:
    may = {backbone.piece(token) for token in np.flatnonzero(backbone.may_name).tolist()}
    assert may == {piece for piece in PIECES if len(piece) >= 2}


def test_a_backbone_that_pads_or_ends_otherwise_is_refused(tmp_path: Path) -> None:
    save_backbone(tmp_path / "swapped", ("</s>", "<pad>", "<unk>"))
    with pytest.raises(BadRequest, match=r"swapped has pad and end tokens \(1, 0\)"):
        Vocabulary.of_backbone(tmp_path / "swapped", N_BACKBONE_ROWS)
    save_backbone(tmp_path / "large")
    with pytest.raises(BadRequest, match="a tokenizer of 18 tokens and a model of 17 rows"):
        Vocabulary.of_backbone(tmp_path / "large", 17)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadRequest, match=r"backbone in .*empty has no tokenizer"):
        Vocabulary.of_backbone(tmp_path / "empty", N_BACKBONE_ROWS)
