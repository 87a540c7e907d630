"""DiffGRM: masks and loss against loops, searches against every order of the digits, sizes of the source, and that it learns."""

from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from next_item_case import assert_lists_do_not_depend_on_the_batch, random_train
from torch import Tensor
from torch.nn import functional

from recbench.core import VIEWS, BadConfig, BadRequest, Catalogue, Histories, Queries
from recbench.evaluation import check_rankings
from recbench.nn.training.windows import Windows
from recbench.testing import LightContext, interactions, latest_is_best, queries
from recbench_models.diffgrm import PLUGIN, recommender
from recbench_models.diffgrm.config import LossSettings, NetworkSettings
from recbench_models.diffgrm.network import DiffGRMNetwork, Memory
from recbench_models.diffgrm.partial_codes import PartialCodes
from recbench_models.diffgrm.recommender import DiffGRM
from recbench_models.diffgrm.search import catalogue_search
from recbench_models.diffgrm.training import DiffGRMTraining

N_ITEMS, SIZE = 40, 4
THEMES = ("anchor rope sail deck", "dough oven flour yeast", "comet orbit star moon", "spade soil seed rake", "pedal chain wheel brake")


def random_codes(n_digits: int, n_items: int = N_ITEMS) -> np.ndarray[Any, Any]:
    return np.random.default_rng(5).integers(0, SIZE, (n_items, n_digits))


def network_of(codes: np.ndarray[Any, Any], **values: Any) -> DiffGRMNetwork:
    """A network with weights large enough that all of them matter."""
    sizes = {"width": 8, "n_decoder_layers": 2, "n_heads": 2, "hidden": 16, "max_length": 9, "dropout": 0.0, "init": "xavier"}
    torch.manual_seed(0)
    network = DiffGRMNetwork(NetworkSettings(**{**sizes, **values}), len(codes), codes.shape[1], SIZE)
    with torch.no_grad():
        for weight in (network.digit_embedding.weight, network.mask_vectors, network.position_embedding.weight):
            weight.normal_()
    network.assign(codes)
    return network.eval()


def model_of(network: DiffGRMNetwork, codes: np.ndarray[Any, Any], **search: Any) -> DiffGRM:
    """A recommender that asks `network`."""
    overrides = {"network.max_length": network.max_length, "codes.n_digits": codes.shape[1], "codes.codebook_size": SIZE}
    overrides |= {f"search.{name}": value for name, value in search.items()}
    model = PLUGIN.build(PLUGIN.resolve("smoke", None, overrides), Catalogue(len(codes), 1))
    assert isinstance(model, DiffGRM)
    model.network = network
    model.assign(codes)
    return model


def training_of(network: DiffGRMNetwork, *, mixes_lengths: bool = True, **values: Any) -> DiffGRMTraining:
    windows = Windows.prefixes(random_train(N_ITEMS, longest=12), 9)
    return DiffGRMTraining(network, windows, LossSettings(**values), mixes_lengths=mixes_lengths)


def log_probabilities(network: DiffGRMNetwork, history: list[int], shown: dict[int, int]) -> Tensor:
    """Of each value of each digit, where these digits are shown with these values: (M, K)."""
    length = torch.tensor([len(history)])
    memory = network.encode(torch.tensor([history or [network.n_items]]), length)
    value = torch.tensor([[[shown.get(digit, 0) for digit in range(network.n_digits)]]])
    masked = torch.tensor([[[digit not in shown for digit in range(network.n_digits)]]])
    return network.log_probabilities(network.decode(memory, value, masked)[0])[0]


def path_score(network: DiffGRMNetwork, history: list[int], code: tuple[int, ...], order: tuple[int, ...]) -> float:
    """The log-likelihood of a code whose digits are filled in this order."""
    total, shown = 0.0, dict[int, int]()
    for digit in order:
        total += float(log_probabilities(network, history, shown)[digit, code[digit]])
        shown[digit] = code[digit]
    return total


@pytest.mark.parametrize("n_digits", [2, 3])
@torch.no_grad()
def test_a_search_with_beams_for_all_finds_the_best_order_of_every_code(n_digits: int) -> None:
    codes = random_codes(n_digits, 12)
    network = network_of(codes)
    model = model_of(network, codes, n_beams=500)
    histories = [[3, 1, 7], [11]]
    found = model.generate(queries(histories), 12)
    for row, history in enumerate(histories):
        best = [max(path_score(network, history, tuple(code), order) for order in permutations(range(n_digits))) for code in codes]
        for view, hidden in (("keep", []), ("unseen", history)):
            expected = sorted((item for item in range(12) if item not in hidden), key=lambda item: (-round(best[item], 4), item))
            assert found.view(view)[row][: len(expected)].tolist() == expected
            scores = found.scores[found.views.index(view), row, : len(expected)]
            np.testing.assert_allclose(scores, [best[item] for item in expected], atol=1e-4)
            assert (found.view(view)[row][len(expected) :] == -1).all()


@torch.no_grad()
def test_partial_codes_of_one_item_do_not_fill_the_beams() -> None:
    # Any two digits tell an item, so each has six partial codes that lead to it alone, and the likeliest items would take all beams.
    codes = np.array([[value, other, (value + other) % 4, (value + 2 * other) % 4] for value, other in product(range(4), repeat=2)])
    model = model_of(network_of(codes), codes, n_beams=8)
    found = model.generate(queries([[1, 2], [5], [9, 3, 3]], views=("keep",)), 8)
    assert (found.items >= 0).all()


@torch.no_grad()
def test_items_of_the_history_take_no_beams_from_others() -> None:
    codes = random_codes(3)
    network = network_of(codes)
    memory = network.encode(torch.tensor([[1, 2]]), torch.tensor([2]))
    partial = PartialCodes.of(codes, SIZE)
    likeliest = catalogue_search(network, memory, partial, Histories.from_lists([[]]), 12, views=("keep",), n_beams=12).items[0, 0]
    found = catalogue_search(network, memory, partial, Histories.from_lists([likeliest.tolist()]), 12, views=VIEWS, n_beams=12)
    np.testing.assert_array_equal(found.view("keep")[0], likeliest)
    assert (found.view("unseen") >= 0).all()
    assert not np.isin(found.view("unseen")[0], likeliest).any()


@torch.no_grad()
def test_the_published_search_is_that_of_a_loop_over_beams() -> None:
    codes = random_codes(3, 12)
    network = network_of(codes)
    width, history = 6, [3, 1, 7]
    beams: list[tuple[float, dict[int, int]]] = [(0.0, {})]
    for step in range(3):
        grown = []
        for score, shown in beams:
            log = log_probabilities(network, history, shown)
            for digit in set(range(3)) - set(shown):
                values = range(SIZE) if step < 2 else [int(log[digit].argmax())]
                grown += [(score + float(log[digit, value]), {**shown, digit: value}) for value in values]
        beams = sorted(grown, key=lambda beam: -beam[0])[:width]
    written = [tuple(shown[digit] for digit in range(3)) for _, shown in beams]
    exist = [code for code in written if (codes == code).all(1).any()]
    expected = [item for code in dict.fromkeys(exist) for item in np.flatnonzero((codes == code).all(1)).tolist()]
    found = model_of(network, codes, decode="released", n_beams=width).generate(queries([history]), width)
    assert [item for item in found.view("keep")[0].tolist() if item >= 0] == expected[:width]
    unseen = [item for item in found.view("unseen")[0].tolist() if item >= 0]
    assert unseen == [item for item in expected if item not in history][:width]
    assert dict(found.counters) == {"sequences": width, "invalid": width - len(exist), "duplicates": len(exist) - len(set(exist))}


@pytest.mark.parametrize("decode", ["catalogue", "released"])
def test_lists_hold_valid_items_and_do_not_depend_on_the_batch(decode: str) -> None:
    codes = random_codes(3)
    model = model_of(network_of(codes), codes, decode=decode, n_beams=16)
    train = random_train(N_ITEMS)
    asked = queries([[], *(train[user].tolist() for user in range(30))])
    check_rankings(model.generate(asked, 10), asked, n_items=N_ITEMS, k=10)
    assert_lists_do_not_depend_on_the_batch(model, asked)


@torch.no_grad()
def test_who_has_seen_everything_gets_an_empty_list_and_others_theirs() -> None:
    codes = random_codes(2)
    model = model_of(network_of(codes), codes)
    everything = list(range(N_ITEMS))
    assert (model.generate(queries([everything], views=("unseen",)), 5).items == -1).all()
    both = model.generate(queries([[4, 2], everything]), 5)
    assert (both.view("unseen")[1] == -1).all()
    np.testing.assert_array_equal(both.items[:, 0], model.generate(queries([[4, 2]]), 5).items[:, 0])


@torch.no_grad()
def test_items_of_one_code_tie_to_the_last_digit_and_stand_in_the_order_of_their_rows() -> None:
    codes = random_codes(3)
    codes[[4, 21, 30]] = codes[4]
    found = model_of(network_of(codes), codes).generate(queries([[1, 2], [8], [30, 4, 4]], views=("keep",)), N_ITEMS)
    for listed, scores in zip(found.items[0], found.scores[0], strict=True):
        place = {int(item): number for number, item in enumerate(listed)}
        assert scores[place[4]] == scores[place[21]] == scores[place[30]]
        assert place[4] < place[21] < place[30]


@given(st.integers(1, 4).flatmap(lambda m: st.lists(st.tuples(*[st.integers(0, 2)] * m), min_size=1, max_size=9)))
@settings(max_examples=40, deadline=None)
def test_partial_codes_are_all_that_items_agree_with(code_list: list[tuple[int, ...]]) -> None:
    codes = PartialCodes.of(np.array(code_list), 3)
    n_digits = len(code_list[0])
    shown = {}
    for node in range(codes.n_nodes):
        key = tuple(
            None if masked else value for value, masked in zip(codes.value[node].tolist(), codes.is_masked[node].tolist(), strict=True)
        )
        shown[key] = node
        agree = [item for item, code in enumerate(code_list) if all(part in (None, digit) for part, digit in zip(key, code, strict=True))]
        assert int(codes.n_items[node]) == len(agree) > 0
        assert all(node in codes.node_of_item[item] for item in agree)
        leads_to = {code_list[item] for item in agree}
        assert (int(codes.code[node]) < len(set(code_list))) == (len(leads_to) == 1)
        more = {(digit, code[digit]) for code in leads_to for digit in range(n_digits) if key[digit] is None}
        _, edges = codes.edges_of(torch.tensor([node]))
        assert {(int(codes.edge_digit[edge]), int(codes.edge_value[edge])) for edge in edges} == more
        for edge in edges:
            grown = list(key)
            grown[codes.edge_digit[edge]] = int(codes.edge_value[edge])
            child = int(codes.edge_node[edge])
            assert [
                None if masked else value
                for value, masked in zip(codes.value[child].tolist(), codes.is_masked[child].tolist(), strict=True)
            ] == grown
    every = {
        tuple(None if bit else digit for bit, digit in zip(bits, code, strict=True))
        for code in code_list
        for bits in product((0, 1), repeat=n_digits)
    }
    assert set(shown) == every
    code, item = codes.items_of(torch.arange(len(set(code_list))))
    assert sorted(item.tolist()) == list(range(len(code_list)))
    for number in range(len(set(code_list))):
        own = item[code == number].tolist()
        assert own == sorted(own)
        assert len({code_list[row] for row in own}) == 1


@torch.no_grad()
def test_the_sink_is_the_source_s_padding_with_empty_slots() -> None:
    network = network_of(random_codes(3))
    item, length = torch.tensor([[1, 5, 9, N_ITEMS], [7, 7, 2, 4]]), torch.tensor([3, 4])
    memory = network.encode(item, length)
    padded = Memory(functional.pad(memory.state_BPD[:, :4], (0, 0, 0, 5)), torch.zeros(2, 1, 1, 9))
    value, masked = torch.ones(2, 2, 3, dtype=torch.int64), torch.tensor([[True, False, True], [True, True, True]]).expand(2, -1, -1)
    torch.testing.assert_close(network.decode(memory, value, masked), network.decode(padded, value, masked), atol=1e-5, rtol=0)
    without = network_of(random_codes(3), pad_sink=False)
    assert (without.decode(without.encode(item, length), value, masked) - network.decode(memory, value, masked)).abs().max() > 1e-2


@pytest.mark.parametrize("pad_sink", [True, False])
@torch.no_grad()
def test_padding_changes_nothing(pad_sink: bool) -> None:
    network = network_of(random_codes(3), pad_sink=pad_sink)
    lists, lengths = [[1], [5, 9, 3, 3, 8, 1, 0, 2, 6], [7, 7, 2, 4], []], torch.tensor([1, 9, 4, 0])
    item = torch.tensor([row + [N_ITEMS] * (9 - len(row)) for row in lists])
    nothing = torch.zeros(4, 1, 3, dtype=torch.int64)
    together = network.decode(network.encode(item, lengths), nothing, nothing == 0)
    assert together.isfinite().all()
    for row, history in enumerate(lists):
        alone = network.encode(torch.tensor([history or [N_ITEMS]]), lengths[row : row + 1])
        torch.testing.assert_close(network.decode(alone, nothing[:1], nothing[:1] == 0)[0], together[row], atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_place_of_an_item_is_counted_from_the_oldest() -> None:
    network = network_of(random_codes(3), n_encoder_layers=0)
    state = network.encode(torch.tensor([[1, 5, N_ITEMS]]), torch.tensor([2])).state_BPD[0]
    by_hand = network.last_norm(network.item_vectors(torch.tensor([[1, 5]]))[0] + network.position_embedding.weight[:2])
    torch.testing.assert_close(state[:2], by_hand)
    assert not state[2:].any()


@torch.no_grad()
def test_masks_grow_from_the_digits_that_the_network_is_least_sure_of() -> None:
    network = network_of(random_codes(3), dropout=0.5)
    training = training_of(network).train()
    item, length = torch.tensor([[1, 5, 9], [7, 7, 2]]), torch.tensor([3, 3])
    masks = training._masks(item, length)
    assert masks.sum(2).tolist() == [[1, 2, 3]] * 2
    assert (masks[:, 1:] >= masks[:, :-1]).all()
    assert network.training, "the look without dropout leaves the network in training"
    network.eval()
    for row in range(2):
        confidence = log_probabilities(network, item[row].tolist(), {}).amax(1)
        assert [int(view.nonzero()[0]) for view in [masks[row, 0]]] == [int(confidence.argmin())]
        assert (~masks[row, 1]).nonzero().flatten().tolist() == [int(confidence.argmax())]


@pytest.mark.parametrize("average", ["token_mean", "view_mean"])
@torch.no_grad()
def test_the_loss_is_that_of_a_loop_over_views_and_digits(average: str) -> None:
    codes = random_codes(3)
    network = network_of(codes)
    training = training_of(network, average=average, label_smoothing=0.2)
    rows = np.arange(0, 40, 3)
    loss, count = training(rows)
    assert count == len(rows)
    expected = 0.0
    for row in rows:
        start, length = training._windows.start[row], training._windows.length[row]
        history, target = training._windows.item[start : start + length].tolist(), int(training._windows.item[start + length])
        confidence = log_probabilities(network, history, {}).amax(1)
        views = []
        for n_masked in (1, 2, 3):
            masked = confidence.argsort()[:n_masked].tolist()
            log = log_probabilities(network, history, {digit: codes[target, digit] for digit in range(3) if digit not in masked})
            views.append([float(-0.8 * log[digit, codes[target, digit]] - 0.2 * log[digit].mean()) for digit in masked])
        parts = [np.mean(view) for view in views] if average == "view_mean" else [part for view in views for part in view]
        expected += np.mean(parts)
    np.testing.assert_allclose(float(loss), expected, rtol=1e-5)


@torch.no_grad()
def test_one_view_with_random_masks_is_the_training_of_a_masked_language_model() -> None:
    codes = random_codes(3)
    network = network_of(codes)
    training = training_of(network, mixes_lengths=False, order="random", n_views=1, label_smoothing=0.0)
    rows = np.flatnonzero(training._windows.length == 3)[:20]
    torch.manual_seed(3)
    masks = training._masks(torch.zeros(len(rows), 3, dtype=torch.int64), torch.full((len(rows),), 3))[:, 0]
    assert {int(count) for count in masks.sum(1)} == {1, 2, 3}
    torch.manual_seed(3)
    loss, _ = training(rows)
    expected = 0.0
    for row, mask in zip(rows, masks, strict=True):
        start = training._windows.start[row]
        history, target = training._windows.item[start : start + 3].tolist(), int(training._windows.item[start + 3])
        log = log_probabilities(network, history, {digit: codes[target, digit] for digit in range(3) if not mask[digit]})
        expected -= np.mean([float(log[digit, codes[target, digit]]) for digit in range(3) if mask[digit]])
    np.testing.assert_allclose(float(loss), expected, rtol=1e-5)


@torch.no_grad()
def test_one_digit_is_a_plain_classifier() -> None:
    codes = random_codes(1)
    network = network_of(codes)
    training = training_of(network, mixes_lengths=False, label_smoothing=0.0)
    rows = np.arange(30)
    item, _ = training._windows.padded(rows, N_ITEMS)
    memory = network.encode(torch.from_numpy(item), torch.from_numpy(training._windows.length[rows]))
    nothing = torch.zeros(30, 1, 1, dtype=torch.int64)
    logits = network.logits(network.decode(memory, nothing, nothing == 0)[:, 0, 0], 0)
    target = torch.from_numpy(codes[training._windows.trained(rows)[0][:, 0], 0])
    torch.testing.assert_close(training(rows)[0], functional.cross_entropy(logits, target, reduction="sum"))


@torch.no_grad()
def test_batches_of_any_lengths_have_the_loss_of_batches_of_like_length() -> None:
    network = network_of(random_codes(3))
    rows = np.arange(60)
    mixed, plain = (training_of(network, mixes_lengths=mixes)(rows)[0] for mixes in (True, False))
    torch.testing.assert_close(mixed, plain, rtol=1e-5, atol=0)


def test_the_published_preset_has_the_published_number_of_weights() -> None:
    config = PLUGIN.resolve("paper")
    network = DiffGRMNetwork(config.network, 0, config.codes.n_digits, config.codes.codebook_size)
    # The source's table has three more rows: padding and two tokens that it does not use.
    assert sum(weight.numel() for weight in network.parameters()) + 3 * 256 == 5_602_048


def titles() -> list[str]:
    """Words of the item's theme in an order of its own."""
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(THEMES[item % len(THEMES)].split(), 6)) + f" {item}" for item in range(N_ITEMS)]


def trained(lists: list[list[int]], folder: Path, **overrides: Any) -> DiffGRM:
    values = {"network.dropout": 0.0, "training.max_epochs": 1000, "training.max_steps": 30, "training.validate_every_epochs": 1000}
    model = PLUGIN.build(PLUGIN.resolve("smoke", None, values | overrides), Catalogue(N_ITEMS, len(lists)))
    report = model.fit(LightContext(interactions(lists, N_ITEMS), folder, {"title": titles()}, judge=latest_is_best()))
    assert report.artefacts["codes"].name == "codes.parquet"
    assert isinstance(model, DiffGRM)
    return model


@pytest.mark.parametrize("order", ["bucketed", "random"])
def test_the_order_of_batches_is_that_of_the_settings(order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Exception):
        pass

    def noted(_: Any, module: DiffGRMTraining, *, batches: Any, **__: Any) -> None:
        spreads = [np.ptp(module._windows.length[rows]) for epoch in range(3) for rows in batches(epoch)]
        assert sorted(np.concatenate(batches(0)).tolist()) == list(range(6 * 7))
        assert (max(spreads) <= 1) == (order == "bucketed")
        assert module._mixes_lengths == (order == "random")
        raise Stopped

    monkeypatch.setattr(recommender, "train", noted)
    lists = np.random.default_rng(0).integers(0, N_ITEMS, (6, 8)).tolist()
    codes = {"trained_on": "all", "whitened_on": "all"}
    with pytest.raises(Stopped):
        trained(lists, tmp_path, batch_order=order, batch_size=6, codes=codes)


def hits(model: DiffGRM, asked: Queries, targets: list[int]) -> float:
    listed = model.generate(asked, 4).view("unseen")
    return float(np.mean([target in found for target, found in zip(targets, listed, strict=True)]))


def test_codes_that_mean_something_beat_shuffled_ones(tmp_path: Path) -> None:
    # The next item is of the same theme, and no pair of items is seen often: only what the codes share can be learnt.
    rng = np.random.default_rng(0)
    themes = [[item for item in range(N_ITEMS) if item % len(THEMES) == theme] for theme in range(len(THEMES))]
    lists = [rng.permutation(themes[user % len(THEMES)])[:5].tolist() for user in range(60)]
    asked, targets = queries([row[:-1] for row in lists]), [row[-1] for row in lists]
    train = [row[:-1] for row in lists]
    plain, shuffled = (hits(trained(train, tmp_path / str(seed), text={"shuffle_seed": seed}), asked, targets) for seed in (None, 0))
    assert plain > shuffled + 0.2


def test_codes_are_kept_with_the_weights(tmp_path: Path) -> None:
    model = trained([[1, 2, 3], [4, 5, 6]], tmp_path, **{"training.max_steps": 2, "codes": {"trained_on": "all", "whitened_on": "all"}})
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    other = PLUGIN.build(model.config, Catalogue(N_ITEMS, 2))
    assert isinstance(other, DiffGRM)
    asked = queries([[1, 2], [7]])
    before = other.generate(asked, 9).scores
    other.load(tmp_path / "model")
    np.testing.assert_array_equal(other.generate(asked, 9).scores, model.generate(asked, 9).scores)
    assert (before != model.generate(asked, 9).scores).any()
    assert len(np.unique(other.network.code_NM[:N_ITEMS].numpy(), axis=0)) == N_ITEMS


def test_what_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="number appends a digit that says nothing"):
        PLUGIN.resolve("smoke", None, {"codes.collisions": "number"})
    with pytest.raises(BadConfig, match="n_views=4 views would mask different numbers of 3 digits"):
        PLUGIN.resolve("smoke", None, {"loss.n_views": 4})
    with pytest.raises(BadConfig, match="width=32 is not a multiple of n_heads=5"):
        PLUGIN.resolve("smoke", None, {"network.n_heads": 5})
    with pytest.raises(BadRequest, match=r"more than 3 items share .*--set codes\.collisions=keep"):
        # Three items to make codebooks of, 40 items, one digit.
        trained([[1, 2, 3]], tmp_path / "digits", codes={"n_digits": 1})
    with pytest.raises(BadRequest, match=r"more than least_history=3 events .*--set least_history=1"):
        trained([[1, 2, 3], [4, 5]], tmp_path / "short", least_history=3, codes={"trained_on": "all", "whitened_on": "all"})
