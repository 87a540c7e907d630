"""Lexical IDs: TF-IDF and names worked out by hand, against a plain reimplementation, and what must hold of any catalogue."""

from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recbench.core.errors import BadData, StageFailed
from recbench.core.ragged import IntArray, Ragged
from recbench.nn.codes.quantize.hierarchical_kmeans import hierarchical_kmeans
from recbench_models.gram.lexical_ids import LexicalIds, keyword_ids, lexical_ids, tfidf
from recbench_models.gram.vocabulary import Vocabulary

WORDS = ("red", "blue", "hat", "scarf", "wool", "rope", "anchor", "sail")
VOCABULARY = Vocabulary.own([" ".join(WORDS) + " , a"], n_pieces=500, marks=())


def spelt(ids: LexicalIds) -> list[str]:
    """IDs as people read them: words without their mark."""
    return [" ".join(VOCABULARY.piece(token).removeprefix("▁") for token in ids.tokens[item].tolist()) for item in range(len(ids))]


def weights(*rows: dict[str, float]) -> csr_array:
    """The weight of words, row by row; a key with its word mark, or without, is taken as the piece it is."""
    dense = np.zeros((len(rows), VOCABULARY.size))
    for row, values in enumerate(rows):
        for word, value in values.items():
            token = VOCABULARY.token(f"▁{word}") if word in WORDS else VOCABULARY.token(word)
            assert token is not None
            dense[row, token] = value
    return csr_array(dense)


def paths(*rows: tuple[int, ...]) -> IntArray:
    return np.array(rows, dtype=np.int32)


def naive_tfidf(lists: list[list[int]], max_tokens: int) -> NDArray[np.float64]:
    dense = np.zeros((len(lists), VOCABULARY.size))
    for token in range(VOCABULARY.size):
        df = sum(token in row for row in lists)
        for item, row in enumerate(lists):
            dense[item, token] = row[:max_tokens].count(token) * np.log(1 + (len(lists) - df + 0.5) / (df + 0.5))
    return dense


def naive_ids(path_IL: IntArray, dense: NDArray[np.float64], n_candidates: int) -> list[list[int]]:
    """The rules of the lexical IDs, an item and a node at a time."""
    names = []
    for item in range(len(path_IL)):
        name: list[int] = []
        for depth in range(1, path_IL.shape[1] + 1):
            members = [other for other in range(len(path_IL)) if (path_IL[other, :depth] == path_IL[item, :depth]).all()]
            score = np.zeros(dense.shape[1])
            for member in members:
                score += dense[member]
            score /= len(members)
            best = sorted((token for token in range(len(score)) if score[token] > 0), key=lambda token: (-score[token], token))
            free = [token for token in best[:n_candidates] if VOCABULARY.may_name[token] and token not in name]
            name += free[:1]
        names.append(name)
    sizes, seen, out = Counter(map(tuple, names)), Counter[tuple[int, ...]](), []
    for name in names:
        is_alone = sizes[tuple(name)] == 1 and name
        out.append(name if is_alone else [*name, VOCABULARY.number(seen[tuple(name)])])
        seen[tuple(name)] += 1
    return out


@st.composite
def catalogues(draw: st.DrawFn) -> tuple[list[list[int]], IntArray]:
    """Texts of few different tokens, some that may not name among them, and paths of three levels."""
    n_items = draw(st.integers(1, 10))
    known = [token for token in (VOCABULARY.token(piece) for piece in ("▁red", "▁blue", "▁hat", "▁scarf", "▁a", ",", "a")) if token]
    texts = draw(st.lists(st.lists(st.sampled_from(known), max_size=6), min_size=n_items, max_size=n_items))
    rows = draw(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=n_items, max_size=n_items))
    return texts, paths(*rows)


@pytest.fixture(scope="module")
def corpus() -> tuple[csr_array, IntArray]:
    """300 random items in a tree of k-means, 5 children and 4 levels."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(300, 6)).astype(np.float32)
    tokens = Ragged.from_lists([[VOCABULARY.token(f"▁{word}") or 0 for word in rng.choice(WORDS, 12)] for _ in range(300)])
    path = hierarchical_kmeans(vectors, n_children=5, n_levels=4, seed=0, iterations=5, restarts=1)
    return tfidf(tokens, size=VOCABULARY.size, max_tokens=8), path


def test_six_items_by_hand() -> None:
    texts = ["red hat hat", "red scarf", "red hat scarf wool wool", "blue rope", "blue rope anchor", "blue wool"]
    weight = tfidf(VOCABULARY.encode(texts), size=VOCABULARY.size, max_tokens=3)
    # Of six items 3 have red, 2 have hat, 2 wool (item 2 behind the cut, which counts here), 1 anchor:
    # ln(1 + 3.5/3.5) = ln 2, ln(1 + 4.5/2.5) = ln 2.8, ln(1 + 5.5/1.5) = ln 4.6667.
    common, fair, rare = 0.693147, 1.029619, 1.540445
    by_hand = weights(
        {"red": common, "hat": 2 * fair},
        {"red": common, "scarf": fair},
        {"red": common, "hat": fair, "scarf": fair},
        {"blue": common, "rope": fair},
        {"blue": common, "rope": fair, "anchor": rare},
        {"blue": common, "wool": fair},
    )
    np.testing.assert_allclose(weight.toarray(), by_hand.toarray(), atol=1e-6)
    # Items 0-2: hat 3 * 1.0296 / 3 = 1.0296, red 0.6931, scarf 2 * 1.0296 / 3 = 0.6864: hat.
    #   Items 0 and 1: hat is used; red 0.6931, scarf 0.5148: red, twice.   Item 2: red 0.6931, scarf 1.0296: scarf.
    # Items 3-5: blue 0.6931, rope 0.6864, anchor 0.5135, wool 0.3432: blue.
    #   Item 3: rope.   Item 4: rope 1.0296, anchor 1.5404: anchor.   Item 5: wool.
    ids = lexical_ids(paths((0, 0), (0, 0), (0, 1), (1, 0), (1, 1), (1, 2)), weight, VOCABULARY)
    assert spelt(ids) == ["hat red 0", "hat red 1", "hat scarf", "blue rope", "blue anchor", "blue wool"]
    assert ids.is_numbered.tolist() == [True, True, False, False, False, False]
    assert (ids.n_levels, ids.n_skipped) == (2, 0)


@given(catalogues(), st.integers(1, 4))
def test_sparse_tfidf_is_the_dense_one(catalogue: tuple[list[list[int]], IntArray], max_tokens: int) -> None:
    lists, _ = catalogue
    weight = tfidf(Ragged.from_lists(lists), size=VOCABULARY.size, max_tokens=max_tokens)
    assert weight.dtype == np.float64
    assert weight.has_canonical_format
    np.testing.assert_allclose(weight.toarray(), naive_tfidf(lists, max_tokens), rtol=1e-12)


@given(catalogues(), st.integers(1, 6))
def test_ids_are_those_of_the_plain_rules(catalogue: tuple[list[list[int]], IntArray], n_candidates: int) -> None:
    lists, path = catalogue
    weight = tfidf(Ragged.from_lists(lists), size=VOCABULARY.size, max_tokens=4)
    ids = lexical_ids(path, weight, VOCABULARY, n_candidates=n_candidates)
    expected = naive_ids(path, weight.toarray(), n_candidates)
    assert [ids.tokens[item].tolist() for item in range(len(ids))] == expected
    assert ids.n_skipped == 3 * len(lists) - sum(map(len, expected)) + np.count_nonzero(ids.is_numbered)


def test_ids_of_a_tree_are_distinct_and_of_one_length_or_one_more(corpus: tuple[csr_array, IntArray]) -> None:
    weight, path = corpus
    ids = lexical_ids(path, weight, VOCABULARY)
    lists = [tuple(ids.tokens[item].tolist()) for item in range(len(ids))]
    assert len(set(lists)) == 300
    assert ids.n_skipped == 0
    np.testing.assert_array_equal(ids.tokens.lengths, 4 + ids.is_numbered)
    words = [row[:4] for row in lists]
    assert all(len(set(row)) == 4 for row in words)
    groups = defaultdict(list)
    for item, row in enumerate(words):
        groups[row].append(item)
    assert {len(members) > 1 for members in groups.values()} == {True, False}
    for members in groups.values():
        suffixes = [lists[item][4:] for item in members]
        assert suffixes == ([()] if len(members) == 1 else [(VOCABULARY.number(n),) for n in range(len(members))])
    # Nobody's ID begins another's.
    assert all(second[: len(first)] != first for first, second in pairwise(sorted(lists)))


def test_items_of_a_node_share_its_words_and_small_nodes_end_in_single_items(corpus: tuple[csr_array, IntArray]) -> None:
    weight, path = corpus
    ids = lexical_ids(path, weight, VOCABULARY)
    assert path.shape == (300, 4)
    assert path.min() == 0
    n_small = 0
    for depth in range(1, 4):
        nodes = defaultdict(list)
        for item in range(300):
            nodes[tuple(path[item, :depth])].append(item)
        for members in nodes.values():
            assert len({tuple(ids.tokens[item][:depth].tolist()) for item in members}) == 1
            if len(members) <= 5:
                n_small += 1
                assert path[members, depth].tolist() == list(range(len(members)))
                # Alone in its node, an item is child 0 from there on.
                assert not path[members, depth + 1 :].any()
    assert n_small > 20


def test_two_runs_give_equal_ids(corpus: tuple[csr_array, IntArray]) -> None:
    weight, path = corpus
    for siblings in (False, True):
        first, second = (lexical_ids(path.copy(), weight.copy(), VOCABULARY, unique_siblings=siblings) for _ in range(2))
        np.testing.assert_array_equal(first.tokens.item, second.tokens.item)
        np.testing.assert_array_equal(first.tokens.offsets, second.tokens.offsets)


def test_of_equal_weights_the_smaller_token_names() -> None:
    red, blue = VOCABULARY.token("▁red"), VOCABULARY.token("▁blue")
    assert red is not None
    assert blue is not None
    ids = lexical_ids(paths((0, 0)), weights({"red": 1.0, "blue": 1.0}), VOCABULARY)
    assert ids.tokens[0].tolist() == sorted([red, blue])


def test_tokens_that_may_not_name_count_among_the_candidates() -> None:
    weight = weights({",": 9.0, "a": 8.0, "▁a": 7.0, "red": 6.0})
    assert spelt(lexical_ids(paths((0, 0)), weight, VOCABULARY, n_candidates=4)) == ["a red"]
    ids = lexical_ids(paths((0, 0)), weight, VOCABULARY, n_candidates=3)
    assert ids.tokens[0].tolist() == [VOCABULARY.token("▁a")]
    assert ids.n_skipped == 1


def test_a_token_without_weight_is_no_candidate() -> None:
    weight = weights({"hat": 1.0, "red": 2.0})
    weight.data[weight.data == 1.0] = 0.0
    assert weight.nnz == 2
    assert spelt(lexical_ids(paths((0, 0)), weight, VOCABULARY)) == ["red"]
    assert spelt(keyword_ids(weight, VOCABULARY, n_levels=2)) == ["red"]


def test_a_level_without_a_free_word_is_skipped_and_the_next_one_goes_on() -> None:
    # Both items' middle node has only hat, which is used above it; below, item 0 has a word of its own.
    weight = weights({"hat": 3.0, "red": 2.0}, {"hat": 3.0})
    ids = lexical_ids(paths((0, 0, 0), (0, 0, 1)), weight, VOCABULARY, n_candidates=1)
    assert spelt(ids) == ["hat 0", "hat 1"]
    assert ids.n_skipped == 4
    deeper = lexical_ids(paths((0, 0, 0), (0, 0, 1)), weights({"red": 3.0, "hat": 2.9}, {"hat": 3.0}), VOCABULARY, n_candidates=1)
    assert spelt(deeper) == ["hat red", "hat"]
    assert deeper.n_skipped == 3


def test_a_path_that_ends_early_has_a_short_id_and_skips_nothing() -> None:
    ids = lexical_ids(paths((0, -1), (1, 0)), weights({"hat": 2.0, "red": 1.0}, {"rope": 2.0, "sail": 1.0}), VOCABULARY)
    assert spelt(ids) == ["hat", "rope sail"]
    assert ids.n_skipped == 0


def test_items_without_words_are_numbers_even_one_alone() -> None:
    weight = weights({}, {"hat": 1.0}, {",": 1.0})
    path = paths((0, 0), (1, 0), (2, 0))
    assert spelt(lexical_ids(path, weight, VOCABULARY)) == ["0", "hat", "1"]
    assert spelt(keyword_ids(weight, VOCABULARY, n_levels=2)) == ["0", "hat", "1"]
    ids = lexical_ids(path[:2], weight[:2], VOCABULARY)
    assert spelt(ids) == ["0", "hat"]
    assert ids.is_numbered.tolist() == [True, False]


def test_a_large_group_of_equal_items_gets_as_many_numbers_as_it_needs() -> None:
    vocabulary = Vocabulary.own([" ".join(WORDS)], n_pieces=500, marks=(), n_numbers=4)
    size = vocabulary.size
    dense = np.zeros((40, size))
    dense[:, vocabulary.token("▁hat")] = 1.0
    ids = lexical_ids(np.zeros((40, 1), np.int32), csr_array(dense), vocabulary)
    assert [vocabulary.piece(int(ids.tokens[item][-1])) for item in range(40)] == [str(item) for item in range(40)]
    assert vocabulary.size == size + 36
    assert ids.tokens.item.max() == vocabulary.size - 1


def test_a_word_that_is_also_a_number_cannot_make_two_ids_equal() -> None:
    class Overlapping(Vocabulary):
        """Writes the number 1 with the word red, as a backbone might."""

        def number(self, n: int) -> int:
            return self.token("▁red") or 0 if n == 1 else super().number(n)

    overlapping = Overlapping.own([" ".join(WORDS)], n_pieces=500, marks=())
    hat, red = overlapping.token("▁hat"), overlapping.token("▁red")
    dense = np.zeros((3, overlapping.size))
    dense[:, hat], dense[2, red] = 2.0, 1.0
    with pytest.raises(StageFailed, match="the word of one is the number of another"):
        lexical_ids(paths((0, 0), (0, 0), (0, 1)), csr_array(dense), overlapping)


def test_siblings_may_be_made_to_differ_the_larger_first() -> None:
    weight = weights({"hat": 9.0, "red": 1.0}, {"hat": 2.0, "sail": 1.0}, {"hat": 2.0, "sail": 1.0})
    assert spelt(lexical_ids(paths((0,), (1,), (1,)), weight, VOCABULARY)) == ["hat 0", "hat 1", "hat 2"]
    assert spelt(lexical_ids(paths((0,), (1,), (1,)), weight, VOCABULARY, unique_siblings=True)) == ["red", "hat 0", "hat 1"]
    # Of equal size, the smaller child number chooses first.
    assert spelt(lexical_ids(paths((1,), (0,)), weight[:2], VOCABULARY, unique_siblings=True)) == ["red", "hat"]
    # Children of different nodes may share a word.
    cousins = weights({"hat": 9.0, "red": 1.0}, {"rope": 9.0, "red": 1.0})
    assert spelt(lexical_ids(paths((0, 0), (1, 0)), cousins, VOCABULARY, unique_siblings=True)) == ["hat red", "rope red"]


def test_unique_siblings_hold_in_a_whole_tree(corpus: tuple[csr_array, IntArray]) -> None:
    weight, path = corpus

    def n_shared(*, unique_siblings: bool) -> int:
        ids = lexical_ids(path, weight, VOCABULARY, unique_siblings=unique_siblings)
        names = {tuple(path[item, :2]): tuple(ids.tokens[item][:2].tolist()) for item in range(300)}
        return len(names) - len(set(names.values()))

    assert n_shared(unique_siblings=True) == 0 < n_shared(unique_siblings=False)


def test_keywords_are_an_items_best_words_numbered_where_equal() -> None:
    weight = weights({"hat": 1.0, "red": 3.0, "sail": 2.0}, {"sail": 1.0, "red": 2.0}, {"red": 1.0}, {"red": 1.0, ",": 2.0})
    ids = keyword_ids(weight, VOCABULARY, n_levels=2)
    assert spelt(ids) == ["red sail 0", "red sail 1", "red 0", "red 1"]
    assert (ids.n_levels, ids.n_skipped) == (2, 2)
    assert spelt(keyword_ids(weight[3:], VOCABULARY, n_levels=2, n_candidates=1)) == ["0"]


def test_saved_ids_are_the_same_when_read(tmp_path: Path, corpus: tuple[csr_array, IntArray]) -> None:
    weight, path = corpus
    ids = lexical_ids(path, weight, VOCABULARY, n_candidates=3)
    assert ids.n_skipped > 0
    ids.save(tmp_path)
    read = LexicalIds.load(tmp_path)
    assert spelt(read) == spelt(ids)
    assert (read.n_levels, read.n_skipped) == (ids.n_levels, ids.n_skipped)
    np.testing.assert_array_equal(read.is_numbered, ids.is_numbered)


def test_a_file_without_ids_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"lexical_ids\.safetensors"):
        LexicalIds.load(tmp_path)
    (tmp_path / "lexical_ids.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(BadData, match=r"lexical_ids\.safetensors"):
        LexicalIds.load(tmp_path)
