"""The search over lexical IDs, with item states kept."""

from functools import partial

import numpy as np
import pytest
import torch
from gram_case import END, N_ITEMS, config, exhaustive_scores, memory_of, model, texts
from transformers import LogitsProcessorList
from transformers.modeling_outputs import BaseModelOutput

from recbench.core import Queries, Rankings
from recbench.core.ragged import Ragged
from recbench.nn.codes import search
from recbench.nn.codes.beam import beam_search
from recbench.testing import queries
from recbench_models.gram.network import START
from recbench_models.gram.recommender import GRAM, _Texts
from recbench_models.gram.vocabulary import EOS, PAD

HISTORIES = [[3, 4, 5], [7], [], list(range(20)), [9, 9, 11]]


def assert_same_lists(left: Rankings, right: Rankings, atol: float = 1e-5) -> None:
    """Scores agree place by place, and items wherever no neighbouring score is that near."""
    np.testing.assert_allclose(left.scores, right.scores, rtol=0, atol=atol)
    gaps = np.pad(-np.diff(right.scores, axis=-1) > 2 * atol, ((0, 0), (0, 0), (1, 1)), constant_values=True)
    settled = gaps[..., :-1] & gaps[..., 1:]
    np.testing.assert_array_equal(left.items[settled], right.items[settled])
    assert settled.mean() > 0.5


@pytest.mark.parametrize(
    "parts", [{}, {"search.length_norm": "none"}, {"prompts.user": False}, {"prompts.items": False}, {"search.length_power": 0.5}]
)
def test_a_beam_as_wide_as_the_catalogue_gives_the_order_of_exhaustive_scores(parts: dict[str, bool]) -> None:
    gram = model(search={"n_beams": N_ITEMS}, **parts)
    asked = queries([history for history in HISTORIES if history or gram.config.prompts.user])
    rankings = gram.generate(asked, N_ITEMS)
    exhaustive = exhaustive_scores(gram, asked)
    for row in range(len(asked)):
        seen = set(asked.histories[row].tolist())
        best = np.argsort(-exhaustive[row], kind="stable")
        for v, view in enumerate(asked.views):
            expected = [item for item in best if view == "keep" or item not in seen]
            found = rankings.items[v, row][: len(expected)]
            np.testing.assert_allclose(rankings.scores[v, row, : len(expected)], exhaustive[row, expected], rtol=0, atol=2e-5)
            assert sorted(found.tolist()) == sorted(expected)
            assert (rankings.items[v, row, len(expected) :] == -1).all()
            # In order wherever the scores say so.
            gap = -np.diff(exhaustive[row, expected]) > 1e-4
            settled = np.pad(gap, (1, 0), constant_values=True) & np.pad(gap, (0, 1), constant_values=True)
            assert (found == expected)[settled].all()


def test_lists_are_whole_distinct_and_descending() -> None:
    rankings = model(search={"n_beams": 30}).generate(queries(HISTORIES), 30)
    assert (rankings.items >= 0).all()
    assert (np.diff(rankings.scores, axis=-1) <= 0).all()
    assert all(len(set(row.tolist())) == 30 for view in rankings.items for row in view)
    assert rankings.counters == {"sequences": rankings.items.size, "invalid": 0, "duplicates": 0}


def test_many_users_at_once_get_what_each_gets_alone() -> None:
    gram = model()
    asked = queries([*HISTORIES, *[[item, item + 1] for item in range(40)]])
    together = gram.generate(asked, 20)
    alone = [model().generate(asked.take([row]), 20) for row in range(len(asked))]
    joined = Rankings(asked.views, np.concatenate([one.items for one in alone], 1), np.concatenate([one.scores for one in alone], 1))
    assert_same_lists(together, joined)


def test_ways_without_branches_are_scored_in_one_pass_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    gram, asked = model(), queries(HISTORIES)
    with_chains = gram.generate(asked, 20)
    monkeypatch.setattr(search, "beam_search", partial(beam_search, use_chains=False))
    assert_same_lists(gram.generate(asked, 20), with_chains)


def library_lists(gram: GRAM, asked: Queries, width: int, *, unseen: bool) -> tuple[np.ndarray, np.ndarray]:
    """Items and scores (B, width) by the library's own `generate`, a prefix function keeping it to IDs that exist."""
    label_IY = gram._trained.label_IY
    ids = [tuple(token for token in row if token != PAD) for row in label_IY.tolist()]
    items, scores = [], []
    for row in range(len(asked)):
        history = asked.histories[row].tolist()
        legal: dict[tuple[int, ...], set[int]] = {}
        for item, code in enumerate(ids):
            if not (unseen and item in history):
                for depth in range(len(code)):
                    legal.setdefault(code[:depth], set()).add(code[depth])
        memory = memory_of(gram, history).detach()
        out = gram._trained.t5.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=memory),
            attention_mask=torch.ones(memory.shape[:2], dtype=torch.long),
            prefix_allowed_tokens_fn=lambda _, read, legal=legal: sorted(legal.get(tuple(read.tolist()[1:]), {PAD})),
            num_beams=width,
            num_return_sequences=width,
            max_new_tokens=label_IY.shape[1],
            do_sample=False,
            length_penalty=1.0,
            early_stopping="never",
            pad_token_id=PAD,
            eos_token_id=EOS,
            decoder_start_token_id=START,
            output_scores=True,
            return_dict_in_generate=True,
            logits_processor=LogitsProcessorList(),
        )
        # Behind the end of the shorter ones the library repeats what it likes.
        found = [tuple(sequence[: sequence.index(EOS) + 1]) for sequence in out.sequences[:, 1:].tolist()]
        items.append([ids.index(code) for code in found])
        scores.append(out.sequences_scores.tolist())
    return np.array(items), np.array(scores, dtype=np.float32)


@pytest.mark.parametrize("view", ["keep", "unseen"])
def test_lists_are_those_of_the_library(view: str) -> None:
    width = 12
    gram = model(search={"n_beams": width})
    asked = queries([history for history in HISTORIES if history])
    ours = gram.generate(asked, width)
    items, scores = library_lists(gram, asked, width, unseen=view == "unseen")
    v = asked.views.index(view)
    theirs = Rankings(("keep",), items[None].astype(np.int32), scores[None])
    assert_same_lists(Rankings(("keep",), ours.items[v : v + 1], ours.scores[v : v + 1]), theirs)


def test_the_divisor_is_the_number_of_tokens_with_the_end_token() -> None:
    asked = queries(HISTORIES)
    sums, means = (model(search={"n_beams": N_ITEMS, "length_norm": norm}).generate(asked, N_ITEMS) for norm in ("none", "hf"))
    for row in range(len(asked)):
        total = dict(zip(sums.items[0, row].tolist(), sums.scores[0, row].tolist(), strict=True))
        for item, mean in zip(means.items[0, row].tolist(), means.scores[0, row].tolist(), strict=True):
            # Every fifth item has a number behind its three words.
            assert total[item] / mean == pytest.approx(5 if item % 5 == 0 else 4, rel=1e-5)


def test_without_the_history_the_next_ones_move_up() -> None:
    gram = model(search={"n_beams": N_ITEMS})
    rankings = gram.generate(queries(HISTORIES), N_ITEMS)
    for row, history in enumerate(HISTORIES):
        keep = [item for item in rankings.view("keep")[row].tolist() if item not in history]
        assert rankings.view("unseen")[row, : len(keep)].tolist() == keep


def test_histories_longer_than_what_is_read_count_by_their_newest_items() -> None:
    gram = model()
    assert gram.config.prompts.max_history == 5
    long, short = queries([[50, 51, 52, 1, 2, 3, 4, 5]]), queries([[1, 2, 3, 4, 5]])
    np.testing.assert_array_equal(gram.generate(long, 20).scores[0], gram.generate(short, 20).scores[0])


def test_an_id_may_be_the_beginning_of_another() -> None:
    parts = texts()
    lists = [parts.ids[item].tolist() for item in range(N_ITEMS)]
    lists[2] = lists[1][:2]
    nested = _Texts(Ragged.from_lists(lists), parts.prompts, parts.start, parts.separator, (END,))
    gram = model(nested, search={"n_beams": N_ITEMS})
    asked = queries([[3, 4]])
    rankings, exhaustive = gram.generate(asked, N_ITEMS), exhaustive_scores(gram, asked)
    assert sorted(rankings.items[0, 0].tolist()) == list(range(N_ITEMS))
    np.testing.assert_allclose(rankings.scores[0, 0], exhaustive[0, rankings.items[0, 0]], rtol=0, atol=2e-5)


def test_asking_before_training_says_so() -> None:
    with pytest.raises(RuntimeError, match="fit or load"):
        GRAM(config()).generate(queries([[1]]), 5)
