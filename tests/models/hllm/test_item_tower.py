"""Vectors of items do not depend on how items are read: one by one, padded, packed, in parts, or from stored states."""

import hllm_case as case
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recbench.core import BadRequest
from recbench.core.ragged import Ragged, flat_index
from recbench_models.hllm.item_tower import ItemTower, distinct

KINDS = ["decoder", "encoder"]
POOLINGS = ["token", "mean"]
SOME = np.array([0, 7, 3, 39, 12, 7, 22, 40, 5, 31, 2, 18])


def by_hand(tower: ItemTower, item: int) -> Tensor:
    """One item through the library's model alone, with the library's own masks and positions as written in the paper's code."""
    token = torch.from_numpy(tower.tokens[item].astype(np.int64))
    inputs = tower.body.get_input_embeddings()(token)
    if tower.slot is not None:
        inputs = torch.cat([inputs, tower.slot[None]])
    first = tower.config.text.max_tokens - len(token) if tower.config.item.position == "right" else 0
    hidden = tower.body(inputs_embeds=inputs[None], position_ids=(torch.arange(len(inputs)) + first)[None]).last_hidden_state[0]
    return hidden[-1] if tower.slot is not None else hidden.mean(0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("position", ["right", "left"])
@pytest.mark.parametrize("batching", ["buckets", "packed"])
def test_packed_and_padded_items_have_the_vectors_they_have_alone(kind: str, pooling: str, position: str, batching: str) -> None:
    tower = case.tower(kind, item={"pooling": pooling, "position": position, "batching": batching})
    with torch.no_grad():
        expected = torch.stack([by_hand(tower, int(item)) for item in SOME])
        torch.testing.assert_close(tower(SOME), expected, rtol=0, atol=1e-5)
        assert len(tower.batches(SOME)) > 1


@given(st.lists(st.integers(0, case.N_ITEMS), max_size=30), st.integers(1, 200), st.sampled_from(["buckets", "packed"]))
@settings(max_examples=30, deadline=None)
def test_batches_hold_every_item_once_within_bounds(items: list[int], size: int, batching: str) -> None:
    tower = case.tower(item={"batch_tokens": size, "batching": batching})
    asked = np.array(items, np.int64)
    batches = tower.batches(asked)
    assert sorted(np.concatenate([np.empty(0, np.int64), *batches]).tolist()) == list(range(len(asked)))
    for rows in batches:
        length = tower.tokens.lengths[asked[rows]] + 1
        n_read = int(length.sum()) if batching == "packed" else int(length.max()) * len(rows)
        assert n_read <= size or len(rows) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batching", ["buckets", "packed"])
def test_no_item_sees_another(kind: str, batching: str) -> None:
    texts = case.tokens()
    changed = [texts[row].tolist() for row in range(len(texts))]
    changed[7] = [9] * len(changed[7])
    before, after = (case.tower(kind, t, item={"batching": batching}) for t in (texts, Ragged.from_lists(changed)))
    with torch.no_grad():
        left, right = before(SOME), after(SOME)
    is_changed = SOME == 7
    torch.testing.assert_close(left[~is_changed], right[~is_changed], rtol=0, atol=1e-6)
    assert (left[is_changed] - right[is_changed]).abs().max() > 1e-3


def test_positions_matter_to_an_encoder_alone() -> None:
    for kind, differ in (("decoder", False), ("encoder", True)):
        left, right = (case.tower(kind, item={"position": position}) for position in ("left", "right"))
        with torch.no_grad():
            distance = float((left(SOME) - right(SOME)).abs().max())
        assert (distance > 1e-3) == differ, (kind, distance)


def test_what_is_asked_for_twice_has_one_vector_and_both_gradients() -> None:
    tower = case.tower().double()  # sums in another order differ in single precision
    asked = np.array([[3, 5, 3], [5, 5, 9]])
    down = torch.randn(6, case.WIDTH, dtype=torch.float64)
    gradients = []
    for way in ("repeats", "distinct"):
        tower.zero_grad()
        if way == "repeats":
            vectors = tower(asked.reshape(-1))
        else:
            items, (place,) = distinct(asked)
            assert items.tolist() == [3, 5, 9]
            vectors = tower(items)[torch.from_numpy(place.reshape(-1))]
        (vectors * down).sum().backward()
        gradients.append([p.grad.clone() for p in tower.parameters()])
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["layers", "batches"])
def test_computing_again_changes_no_gradient(kind: str, way: str) -> None:
    gradients = []
    for checkpointing in ("none", way):
        tower = case.tower(kind, checkpointing=checkpointing)
        tower.train()
        tower(SOME).square().sum().backward()
        gradients.append({name: p.grad for name, p in tower.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_top_layers_on_stored_states_are_the_whole_tower(kind: str) -> None:
    live, stored = (case.tower(kind, n_layers=3, item={"layers": 2, "pooling": "mean"}) for _ in range(2))
    assert stored.can_store
    states = np.empty((len(stored.tokens.item), case.WIDTH), np.float32)
    for rows in stored.batches(np.arange(len(stored.tokens))):
        states[flat_index(stored.tokens.offsets, rows)[0]] = stored.lower_states(rows)
    stored.use_stored(states)
    results = []
    for tower in (live, stored):
        vectors = tower(SOME)
        vectors.square().sum().backward()
        results.append((vectors.detach(), tower.trained_weights(), {n: p.grad for n, p in tower.named_parameters() if p.requires_grad}))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=1e-5)
    assert results[0][1].keys() == results[1][1].keys()
    for name, weight in results[0][1].items():
        assert torch.equal(weight, results[1][1][name])
    for left, right in zip(results[0][2].values(), results[1][2].values(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_the_store_is_refused_where_a_learnt_vector_comes_in_below() -> None:
    assert not case.tower(item={"layers": 1, "pooling": "token"}).can_store
    assert not case.tower(item={"layers": "all", "pooling": "mean"}).can_store


def test_a_tower_that_does_more_than_its_layers_is_refused() -> None:
    tower = case.tower("encoder", item={"layers": 1, "pooling": "mean"})
    with pytest.raises(BadRequest, match=r"cannot be stored\. Set item.layers=all"):
        tower.use_stored(np.ones((len(tower.tokens.item), case.WIDTH), np.float32))


def test_only_what_is_asked_for_is_trained() -> None:
    names = {name for name, p in case.tower(item={"layers": 1}, n_layers=3).named_parameters() if p.requires_grad}
    assert "slot" in names
    assert {name.split(".")[2] for name in names if ".layers." in name} == {"2"}
    assert "body.norm.weight" in names
    assert not [name for name in names if "embed" in name]
    with pytest.raises(BadRequest, match=r"item.layers=4 are to be trained and the item tower has 3 layers"):
        case.tower(item={"layers": 4}, n_layers=3)


def test_too_many_tokens_for_the_positions_are_refused_before_anything_runs() -> None:
    with pytest.raises(BadRequest, match=r"has 64 positions and needs 81\. Lower text.max_tokens=80"):
        case.tower("encoder", text={"max_tokens": 80})
