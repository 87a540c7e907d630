"""The beam search against a plain slow one, on decoders that are tables."""

from itertools import combinations

import numpy as np
import pytest
import torch
from beam_case import Code, TableDecoder, assert_same_list, random_table, search, slow_search
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recbench.core import Histories
from recbench.nn.codes.beam import beam_search
from recbench.nn.codes.trie import CodeTrie

VOCABULARY = 5
codes_of = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5).map(tuple), min_size=1, max_size=30)
VIEWS = [("keep", "unseen"), ("unseen", "keep"), ("keep",), ("unseen",)]


@settings(max_examples=100, deadline=None)
@given(
    codes=codes_of,
    seed=st.integers(0, 2**32 - 1),
    n_beams=st.integers(1, 7),
    n_values=st.sampled_from([None, 1, 2]),
    views=st.sampled_from(VIEWS),
    norm=st.sampled_from(["none", "hf"]),
    renormalise=st.booleans(),
    use_chains=st.booleans(),
    data=st.data(),
)
def test_equals_a_slow_search(
    codes: list[Code],
    seed: int,
    n_beams: int,
    n_values: int | None,
    views: tuple,
    norm: str,
    renormalise: bool,
    use_chains: bool,
    data: st.DataObject,
) -> None:
    """Unequal lengths, prefix codes, codes of several items, ties, exclusion, views, chains: each user as if it were searched alone."""
    histories = data.draw(st.lists(st.lists(st.integers(0, len(codes) - 1), max_size=40), min_size=1, max_size=4))
    table = random_table(seed, VOCABULARY, n_values=n_values)
    decoder = TableDecoder(table, range(len(histories)), VOCABULARY)
    ranked = search(decoder, codes, histories, n_beams, views=views, length_norm=norm, renormalise=renormalise, use_chains=use_chains)
    assert ranked.views == views
    for v, view in enumerate(views):
        for user, history in enumerate(histories):
            expected = slow_search(
                lambda prefix, user=user: table(user, prefix),
                codes,
                history if view == "unseen" else [],
                n_beams,
                is_normed=norm == "hf",
                renormalise=renormalise,
            )
            if renormalise:
                # Sums of another order of operations: ties of one are near-ties of the other.
                if n_values is None:
                    assert_same_list(ranked.items[v, user], ranked.scores[v, user], expected)
            else:
                assert ranked.items[v, user].tolist() == expected[0] + [-1] * (n_beams - len(expected[0]))
                np.testing.assert_allclose(ranked.scores[v, user][: len(expected[1])], expected[1], rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(codes_of, st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_lists_hold_items_once_with_the_sums_of_their_tokens(codes: list[Code], seed: int, n_beams: int) -> None:
    table = random_table(seed, VOCABULARY)
    ranked = search(TableDecoder(table, [0], VOCABULARY), codes, [[]], n_beams, k=n_beams + 2)
    full = search(TableDecoder(table, [0], VOCABULARY), codes, [[]], 100)
    for items, scores in zip(ranked.items[:, 0], ranked.scores[:, 0], strict=True):
        listed = items[items >= 0]
        assert len(set(listed.tolist())) == len(listed) <= n_beams
        assert (np.diff(scores[: len(listed)]) <= 0).all()
        for item, score in zip(listed, scores, strict=False):
            code = codes[item]
            total = sum(table(0, code[:depth]).log_softmax(0)[token] for depth, token in enumerate(code))
            assert score == pytest.approx(float(total), abs=1e-5)
        # (Between two narrow beams the wider one may lose: children of the beam it has more of can push the best code's prefix out.)
        assert scores[0] <= full.scores[0, 0, 0]
    assert ranked.counters == {"sequences": (ranked.items >= 0).sum(), "invalid": 0, "duplicates": 0}


def uniform(user: int, prefix: Code) -> Tensor:
    return torch.zeros(VOCABULARY)


def scored(logits: dict[Code, list[float]]):
    """A table of the given log-probabilities; what is left of the probability falls to a token of no code."""

    def table(user: int, prefix: Code) -> Tensor:
        probability = torch.tensor(logits.get(prefix, [0.2, 0.2, 0.2, 0.2]))
        return torch.cat([probability, 1 - probability.sum(0, keepdim=True)]).clamp(min=1e-9).log()

    return table


def test_excluding_is_not_filtering() -> None:
    """The two beams that `keep` goes on with are full of history; what a filter leaves of its list is not what the search finds."""
    codes = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    table = scored({(): [0.5, 0.3, 0.15, 0.0], (0,): [0.6, 0.4, 0.0, 0.0], (1,): [0.9, 0.05, 0.0, 0.0], (2,): [0.8, 0.2, 0.0, 0.0]})
    history = [0, 1, 2]
    ranked = search(TableDecoder(table, [0], VOCABULARY), codes, [history], 2)
    assert ranked.view("keep").tolist() == [[0, 2]]
    assert [item for item in ranked.view("keep")[0] if item not in history] == []
    # Node (0,) is pruned, so that (1,) and (2,) are searched: (2, 0) has 0.12, (2, 1) 0.03, (1, 1) 0.015.
    assert ranked.view("unseen").tolist() == [[4, 5]]
    np.testing.assert_allclose(np.exp(ranked.scores[1, 0]), [0.12, 0.03], rtol=1e-5)
    alone = search(TableDecoder(table, [0], VOCABULARY), codes, [history], 2, views=("unseen",))
    assert alone.items[0].tolist() == ranked.view("unseen").tolist()


def test_a_list_as_long_as_the_library_s_is_filtered_to_another_one() -> None:
    """Wide beams: 50 of `keep`, of which the history fills 30, leave 20 items; the search finds 50, and not the same 20 first."""
    rng = np.random.default_rng(3)
    codes = [tuple(map(int, code)) for code in np.stack(np.unravel_index(rng.permutation(16**3)[:400], (16, 16, 16)), 1)]
    table = random_table(1, 16)
    keep = search(TableDecoder(table, [0], 16), codes, [[]], 50, views=("keep",)).items[0, 0]
    history = keep[:30].tolist()
    unseen = search(TableDecoder(table, [0], 16), codes, [history], 50, views=("unseen",))
    expected, _ = slow_search(lambda prefix: table(0, prefix), codes, history, 50)
    assert unseen.items[0, 0].tolist() == expected
    assert len(expected) == 50
    assert expected[:20] != [item for item in keep.tolist() if item not in history]


def test_a_child_that_ends_a_code_needs_a_place_among_the_beams() -> None:
    """gram.md, 4.1, rule 4: (1,) ends a code, but two candidates are better; it counts for nothing, and (3,) goes on in its stead."""
    table = scored({(): [0.4, 0.1, 0.3, 0.05], (0,): [0.5, 0.4, 0.0, 0.0], (2,): [0.5, 0.4, 0.0, 0.0]})
    codes = [(0, 0), (1,), (2, 0), (3, 0)]
    assert search(TableDecoder(table, [0], VOCABULARY), codes, [[]], 2).view("keep").tolist() == [[0, 2]]
    assert search(TableDecoder(table, [0], VOCABULARY), codes, [[]], 3).view("keep").tolist() == [[0, 2, 1]]
    # One that ends takes no beam away from those that go on: with (2,) ending, (3,) is the second beam.
    decoder = TableDecoder(table, [0], VOCABULARY)
    assert search(decoder, [(0, 0), (0, 1), (2,), (3, 0), (3, 1)], [[]], 2).view("keep").tolist() == [[2, 0]]
    assert [call[1] for call in decoder.calls] == [1, 2]


def test_a_code_that_is_a_prefix_of_another_ends_and_goes_on() -> None:
    table = scored({(): [0.6, 0.3, 0.0, 0.0], (0,): [0.7, 0.0, 0.0, 0.0], (1,): [0.5, 0.0, 0.0, 0.0]})
    codes = [(0,), (0, 0), (1, 0)]
    ranked = search(TableDecoder(table, [0, 1, 2], VOCABULARY), codes, [[0], [1], [0, 1]], 2)
    assert ranked.view("keep").tolist() == [[0, 1]] * 3
    assert ranked.view("unseen").tolist() == [[1, 2], [0, 2], [2, -1]]


def test_items_of_one_code_stand_together_by_their_rows() -> None:
    """(0,) has items 1, 3 and 4 and takes one of two beams; (1,) has item 0. Where 3 is excluded, the other two stay."""
    table = scored({(): [0.6, 0.3, 0.05, 0.0]})
    codes = [(1,), (0,), (2,), (0,), (0,)]
    decoder = TableDecoder(table, [0, 1, 2], VOCABULARY)
    ranked = search(decoder, codes, [[3], [1, 3, 4], []], 2, k=4)
    assert ranked.view("keep").tolist() == [[1, 3, -1, -1]] * 3
    assert ranked.view("unseen").tolist() == [[1, 4, -1, -1], [0, 2, -1, -1], [1, 3, -1, -1]]
    five = search(TableDecoder(table, [0], VOCABULARY), codes, [[3]], 5)
    assert [five.view(view).tolist() for view in ("keep", "unseen")] == [[[1, 3, 4, 0, 2]], [[1, 4, 0, 2, -1]]]
    assert len(set(five.scores[0, 0, :3].tolist())) == 1


def test_the_items_that_are_left_of_a_code_decide_among_equal_scores() -> None:
    """(0,) has items 0 and 3, (1,) item 1: one beam goes to (0,), and without item 0 to (1,)."""
    ranked = search(TableDecoder(uniform, [0], VOCABULARY), [(0, 0), (1, 0), (1, 1), (0, 0)], [[0]], 1)
    assert [ranked.view(view).tolist() for view in ("keep", "unseen")] == [[[0]], [[1]]]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), min_size=60, max_size=60), st.integers(0, 2**32 - 1))
def test_beams_for_all_codes_give_the_order_of_exhaustive_scores(codes: list[Code], seed: int) -> None:
    """60 items, codes of 1 to 4 tokens and an end, many of them of several items; equal scores by item row."""
    ended, history = [(*code, 4) for code in codes], list(range(0, 60, 7))
    table = random_table(seed, VOCABULARY)
    scores = [sum(float(table(0, code[:n]).log_softmax(0)[token]) for n, token in enumerate(code)) for code in ended]
    ranked = search(TableDecoder(table, [0], VOCABULARY), ended, [history], 60)
    for view, excluded in (("keep", []), ("unseen", history)):
        best = sorted((item for item in range(60) if item not in excluded), key=lambda item: (-scores[item], item))
        assert_same_list(ranked.view(view)[0], ranked.scores[ranked.views.index(view), 0], (best, [scores[item] for item in best]))
        found = [item for item in ranked.view(view)[0].tolist() if item >= 0]
        assert all(ended[one] != ended[other] or one < other for one, other in combinations(found, 2))


def test_length_norm() -> None:
    """The divisor is the number of scored tokens: n identifier tokens and the end token (here 3)."""
    table = scored({(): [0.5, 0.5, 0.0, 0.0], (0,): [0.0, 0.0, 0.0, 0.3], (1,): [0.4, 0.0, 0.0, 0.0], (1, 0): [0.0, 0.0, 0.0, 0.5]})
    codes = [(0, 3), (1, 0, 3)]
    total = np.log([0.5 * 0.3, 0.5 * 0.4 * 0.5])

    def ranked(**options: object):
        return search(TableDecoder(table, [0], VOCABULARY), codes, [[]], 2, views=("keep",), **options)

    assert ranked().items.tolist() == [[[0, 1]]]
    assert ranked(length_norm="hf").items.tolist() == [[[1, 0]]]
    np.testing.assert_allclose(ranked(length_norm="hf").scores[0, 0], [total[1] / 3, total[0] / 2], rtol=1e-6)
    np.testing.assert_allclose(ranked(length_norm="hf", length_power=2.0).scores[0, 0], [total[1] / 9, total[0] / 4], rtol=1e-6)


def test_equal_scores_go_to_the_smaller_item() -> None:
    codes = [(3, 3), (2, 2), (1, 1), (0, 0), (3, 1)]
    ranked = search(TableDecoder(uniform, [0], VOCABULARY), codes, [[1]], 3)
    assert ranked.items[:, 0].tolist() == [[0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize("seed", range(12))
def test_ties_go_by_the_items_that_are_left(seed: int) -> None:
    """All scores of a step are equal, so that item rows alone decide which few of many prefixes go on; half of the items are excluded."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, 4, size=(60, 3))
    codes = list({tuple(code[: rng.integers(2, 4)].tolist()): None for code in drawn})
    histories = [rng.choice(len(codes), size=rng.integers(0, len(codes)), replace=False).tolist() for _ in range(6)]
    n_beams = int(rng.integers(1, 5))
    ranked = search(TableDecoder(uniform, range(6), VOCABULARY), codes, histories, n_beams)
    for user, history in enumerate(histories):
        for view, excluded in (("keep", []), ("unseen", history)):
            expected, _ = slow_search(lambda prefix: uniform(0, prefix), codes, excluded, n_beams)
            assert ranked.view(view)[user].tolist() == expected + [-1] * (n_beams - len(expected))


@pytest.mark.parametrize("views", VIEWS)
def test_excluded_items_have_no_say_among_equal_scores(views: tuple) -> None:
    """Without item 0 the smallest item below (0,) is 3, below (1,) it is 1: one beam goes to (1,)."""
    codes = [(0, 0), (1, 0), (1, 1), (0, 1)]
    ranked = search(TableDecoder(uniform, [0], VOCABULARY), codes, [[0]], 1, views=views)
    listed = {"keep": [[0]], "unseen": [[1]]}
    assert {view: ranked.view(view).tolist() for view in views} == {view: listed[view] for view in views}
    # Items 0 and 1 excluded leave 4 below (0,) and 2 below (1,); items 2 and 3 do not: 0 is still there.
    codes = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2)]
    two = search(TableDecoder(uniform, [0, 1, 2], VOCABULARY), codes, [[0, 1], [2, 3], [1, 0, 2]], 1, views=views)
    listed = {"keep": [[0], [0], [0]], "unseen": [[2], [0], [3]]}
    assert {view: two.view(view).tolist() for view in views} == {view: listed[view] for view in views}


def test_an_excluded_item_on_an_inner_node_has_no_say_either() -> None:
    """(0,) ends item 0 and goes on to item 3: without 0 the beam goes to (1,), which ends nothing and goes on to items 1 and 2."""
    codes = [(0,), (1, 0), (1, 1), (0, 1)]
    ranked = search(TableDecoder(uniform, [0], VOCABULARY), codes, [[0]], 1)
    assert [ranked.view(view).tolist() for view in ("keep", "unseen")] == [[[0]], [[1]]]


def test_short_lists_end_with_nothing() -> None:
    """A user whose whole catalogue is excluded, one with a single item left, one beside them who is not touched."""
    codes = [(0, 0), (0, 1), (1, 0)]
    ranked = search(TableDecoder(uniform, [0, 1, 2], VOCABULARY), codes, [[0, 1, 2, 2], [0, 2], []], 5)
    assert ranked.view("unseen").tolist() == [[-1] * 5, [1, -1, -1, -1, -1], [0, 1, 2, -1, -1]]
    assert ranked.view("keep").tolist() == [[0, 1, 2, -1, -1]] * 3
    assert (ranked.scores[ranked.items < 0] == -np.inf).all()
    nobody = search(TableDecoder(uniform, [], VOCABULARY), codes, [], 5)
    assert nobody.items.shape == (2, 0, 5)


def test_what_the_model_rules_out_is_not_listed_and_nan_is_seen() -> None:
    def table(user: int, prefix: Code) -> Tensor:
        return torch.full((VOCABULARY,), torch.nan) if user else torch.tensor([0.0, -torch.inf, 0.0, 0.0, 0.0])

    ranked = search(TableDecoder(table, [0, 1], VOCABULARY), [(0, 0), (1, 0), (0, 1), (2, 2)], [[], []], 4, views=("keep",))
    assert ranked.items[0, 0].tolist() == [0, 3, -1, -1]
    assert np.isnan(ranked.scores[0, 1]).all()


def test_what_is_next_to_impossible_has_its_exact_score() -> None:
    """Shares of the softmax that float32 can hardly hold, or not at all."""
    logits = torch.tensor([0.0, -60.0, -75.0, -100.0, -400.0])
    ranked = search(TableDecoder(lambda user, prefix: logits, [0], VOCABULARY), [(a, 4) for a in range(5)], [[]], 5, views=("keep",))
    expected = torch.log_softmax(logits.double(), 0)
    assert ranked.items[0, 0].tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(ranked.scores[0, 0], (expected + expected[4]).numpy(), rtol=1e-6)


def test_only_beams_that_are_alive_go_through_the_decoder() -> None:
    """One at first; later as many as the user with the most; nobody after the end of the codes."""
    codes = [(a, b, c) for a in range(2) for b in range(3) for c in range(4)]
    decoder = TableDecoder(random_table(0, VOCABULARY), [0, 1], VOCABULARY)
    search(decoder, codes, [[], []], 5, views=("keep",))
    assert decoder.calls == [(2, 1, 1), (2, 2, 1), (2, 5, 1)]


def test_users_who_are_done_are_not_called_again() -> None:
    table = scored({(): [0.5, 0.5, 0.0, 0.0]})
    decoder = TableDecoder(table, [0, 1], VOCABULARY)
    codes = [(0,), (1, 0, 0), (1, 0, 1), (1, 1, 0)]
    ranked = search(decoder, codes, [[1, 2, 3], []], 4, views=("unseen",))
    assert decoder.calls == [(2, 1, 1), (1, 1, 1), (1, 2, 1)]
    assert ranked.items[0].tolist() == [[0, -1, -1, -1], [0, 1, 2, 3]]


def tokens_with_and_without_chains(seed: int, n_beams: int, norm: str, renormalise: bool) -> tuple[int, int]:
    """Tokens that the decoder reads; the lists are equal. Most codes branch early and then run alone to ends of unequal depth."""
    rng = np.random.default_rng(seed)
    codes = list({(*rng.integers(0, 4, size=2).tolist(), *rng.integers(0, 4, size=rng.integers(0, 6)).tolist()): None for _ in range(12)})
    histories = [rng.integers(0, len(codes), size=rng.integers(0, 6)).tolist() for _ in range(4)]
    table = random_table(seed, VOCABULARY)
    decoders = [TableDecoder(table, range(4), VOCABULARY) for _ in range(2)]
    options = {"length_norm": norm, "renormalise": renormalise}
    on, off = (search(d, codes, histories, n_beams, use_chains=use, **options) for d, use in zip(decoders, (True, False), strict=True))
    np.testing.assert_array_equal(on.items, off.items)
    np.testing.assert_allclose(on.scores, off.scores, rtol=1e-6)
    assert len([call for call in decoders[0].calls if call[2] == 1]) <= len(decoders[1].calls)
    tokens_on, tokens_off = (sum(call[0] * call[1] * call[2] for call in d.calls) for d in decoders)
    return tokens_on, tokens_off


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.sampled_from(["none", "hf"]), st.booleans())
def test_chains_change_the_calls_and_not_the_lists(seed: int, n_beams: int, norm: str, renormalise: bool) -> None:
    # One pass reads every chain as far as the longest goes, at most 7 tokens here, where a step reads one of each that goes on.
    tokens_on, tokens_off = tokens_with_and_without_chains(seed, n_beams, norm, renormalise)
    assert tokens_on <= 7 * tokens_off


def test_chains_read_few_tokens_in_vain() -> None:
    counts = [tokens_with_and_without_chains(seed, n_beams, "none", False) for seed in range(40) for n_beams in (1, 2, 3, 5, 8)]
    tokens_on, tokens_off = map(sum, zip(*counts, strict=True))
    assert tokens_on <= 1.4 * tokens_off


def test_a_tree_of_chains_takes_two_passes() -> None:
    codes = [(a, a, a, a, a) for a in range(4)]
    on, off = (TableDecoder(random_table(0, VOCABULARY), [0, 1, 2], VOCABULARY) for _ in range(2))
    search(on, codes, [[], [1], [2]], 4)
    search(off, codes, [[], [1], [2]], 4, use_chains=False)
    assert on.calls == [(3, 1, 1), (3, 4, 4)]
    assert off.calls == [(3, 1, 1)] + [(3, 4, 1)] * 4
    # One step more is all that is left: nothing would be saved.
    short = TableDecoder(random_table(0, VOCABULARY), [0], VOCABULARY)
    search(short, [(0, 0), (1, 1)], [[]], 2)
    assert short.calls == [(1, 1, 1), (1, 2, 1)]


def test_logits_come_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = [(a, b) for a in range(4) for b in range(4)]
    rows: list[int] = []

    class Counting(TableDecoder):
        def logits(self, state_ND: Tensor) -> Tensor:
            rows.append(len(state_ND))
            return state_ND

    whole = search(TableDecoder(random_table(0, VOCABULARY), range(5), VOCABULARY), codes, [[]] * 5, 4)
    monkeypatch.setattr("recbench.nn.codes.beam._CHUNK_BYTES", {"cpu": 4 * VOCABULARY * 3})
    monkeypatch.setattr("recbench.nn.codes.beam._MIN_CHUNK_ROWS", 1)
    chunked = search(Counting(random_table(0, VOCABULARY), range(5), VOCABULARY), codes, [[]] * 5, 4)
    assert max(rows) == 3
    np.testing.assert_array_equal(chunked.items, whole.items)
    np.testing.assert_array_equal(chunked.scores, whole.scores)


def test_refuses_a_search_that_finds_nothing() -> None:
    trie = CodeTrie.from_tokens(np.array([[1], [2]]))
    with pytest.raises(ValueError, match="n_beams=0"):
        beam_search(TableDecoder(uniform, [0], VOCABULARY), trie, Histories.from_lists([[]]), 5, views=("keep",), n_beams=0)
