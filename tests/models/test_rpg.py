"""RPG: scores against loops, what each part of the network does, sizes of the source, and that it learns."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from next_item_case import assert_lists_do_not_depend_on_the_batch, assert_padding_changes_no_state, random_train
from torch.nn import functional
from transformers import GPT2Config, GPT2Model

from recbench.core import BadConfig, BadRequest, Catalogue
from recbench.nn.training.losses import full_cross_entropy
from recbench.nn.training.windows import Windows
from recbench.testing import LightContext, interactions, latest_is_best, queries
from recbench_models.rpg import PLUGIN
from recbench_models.rpg.config import NetworkSettings
from recbench_models.rpg.network import RPGEncoder, RPGTraining
from recbench_models.rpg.recommender import RPG

N_ITEMS, N_DIGITS, SIZE = 40, 3, 4
THEMES = ("anchor rope sail deck", "dough oven flour yeast", "comet orbit star moon", "spade soil seed rake", "pedal chain wheel brake")


def settings_of(**values: Any) -> NetworkSettings:
    return NetworkSettings(**{"width": 8, "n_layers": 2, "n_heads": 2, "hidden": 16, "max_length": 9, "dropout": 0.0, **values})


def random_codes(n_items: int = N_ITEMS, n_digits: int = N_DIGITS, size: int = SIZE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(5).integers(0, size, (n_items, n_digits)).astype(np.int32)


def encoder_of(codes: np.ndarray[Any, Any] | None = None, size: int = SIZE, **values: Any) -> RPGEncoder:
    """An encoder with weights large enough that all of them matter, heads included."""
    codes = random_codes() if codes is None else codes
    torch.manual_seed(0)
    encoder = RPGEncoder(settings_of(**values), len(codes), codes.shape[1], size)
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if name.startswith("heads"):
                weight.normal_(std=0.5)
            elif weight.dim() == 2:
                weight.mul_(20)
    encoder.assign(codes)
    return encoder.eval()


@pytest.mark.parametrize("heads", ["digit", "none"])
@torch.no_grad()
def test_scores_and_loss_are_those_of_a_loop_over_states_items_and_digits(heads: str) -> None:
    codes = random_codes()
    encoder = encoder_of(codes, heads=heads, temperature=0.5)
    state = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))
    table = encoder.digit_embedding.weight
    by_hand = torch.zeros(5, N_ITEMS)
    for row, item, digit in product(range(5), range(N_ITEMS), range(N_DIGITS)):
        query = state[row]
        if encoder.heads is not None:
            weight, bias = encoder.heads.weight[digit * 8 : digit * 8 + 8], encoder.heads.bias[digit * 8 : digit * 8 + 8]
            query = query + functional.silu(weight @ query + bias)
        logits = functional.cosine_similarity(query[None], table[digit * SIZE : (digit + 1) * SIZE]) / 0.5
        by_hand[row, item] += torch.log_softmax(logits, 0)[codes[item, digit]] / N_DIGITS
    torch.testing.assert_close(encoder.scores(state), by_hand, atol=1e-5, rtol=1e-5)
    target = torch.tensor([3, 3, 0, 39, 17])
    torch.testing.assert_close(encoder.loss(state, target), -by_hand[torch.arange(5), target].sum(), atol=1e-4, rtol=0)


@torch.no_grad()
def test_an_item_is_read_as_the_mean_of_its_digits() -> None:
    codes = random_codes()
    encoder = encoder_of(codes)
    table = encoder.digit_embedding.weight
    by_hand = torch.stack([torch.stack([table[digit * SIZE + value] for digit, value in enumerate(code)]).mean(0) for code in codes])
    torch.testing.assert_close(encoder.item_ID, by_hand)


@torch.no_grad()
def test_probabilities_of_all_codes_that_could_be_sum_to_one() -> None:
    every_code = np.array(list(product(range(3), repeat=2)), np.int32)
    encoder = encoder_of(every_code, size=3)
    total = (2 * encoder.scores(torch.randn(4, 8))).exp().sum(1)
    torch.testing.assert_close(total, torch.ones(4))


@torch.no_grad()
def test_one_digit_with_a_value_per_item_and_no_heads_is_sasrec_with_cosines() -> None:
    encoder = encoder_of(np.arange(N_ITEMS, dtype=np.int32)[:, None], size=N_ITEMS, heads="none", temperature=0.2)
    state, target = torch.randn(7, 8), torch.randint(N_ITEMS, (7,))
    cosine = functional.normalize(state, dim=1), functional.normalize(encoder.item_ID, dim=1)
    torch.testing.assert_close(encoder.loss(state, target), full_cross_entropy(cosine[0] / 0.2, cosine[1], target))
    torch.testing.assert_close(encoder.scores(state), torch.log_softmax(cosine[0] @ cosine[1].T / 0.2, 1), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_new_heads_ask_with_the_state_itself() -> None:
    encoder = RPGEncoder(settings_of(), N_ITEMS, N_DIGITS, SIZE)
    state = torch.randn(6, 8)
    torch.testing.assert_close(encoder.queries(state), state[:, None].expand(-1, N_DIGITS, -1))


@torch.no_grad()
def test_the_order_of_the_digits_means_nothing() -> None:
    codes, order = random_codes(), [2, 0, 1]
    encoder, turned = encoder_of(codes), encoder_of(codes[:, order])
    turned.load_state_dict({name: weight for name, weight in encoder.state_dict().items() if name != "code_NM"}, strict=False)
    for name in ("digit_embedding.weight", "heads.weight", "heads.bias"):
        weight = encoder.get_parameter(name)
        turned.get_parameter(name).copy_(weight.unflatten(0, (N_DIGITS, -1))[order].flatten(0, 1))
    item, length = torch.tensor([[1, 5, 9], [7, 7, 2]]), torch.tensor([3, 3])
    scores = [network.scores(network.last_states(item, length)) for network in (encoder, turned)]
    torch.testing.assert_close(*scores, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_items_of_one_code_tie_to_the_last_digit_and_stand_in_the_order_of_their_rows() -> None:
    codes = random_codes()
    codes[[4, 21, 30]] = codes[4]
    model = PLUGIN.build(PLUGIN.resolve("smoke"), Catalogue(N_ITEMS, 1))
    assert isinstance(model, RPG)
    model.encoder = encoder_of(codes)
    found = model.generate(queries([[1, 2], [8], [30, 4, 4]], views=("keep",)), N_ITEMS)
    for listed, scores in zip(found.items[0], found.scores[0], strict=True):
        place = {int(item): number for number, item in enumerate(listed)}
        assert place[30] == place[21] + 1 == place[4] + 2
        assert scores[place[4]] == scores[place[21]] == scores[place[30]]


def test_padding_and_batches_change_nothing() -> None:
    encoder = encoder_of()
    assert_padding_changes_no_state(encoder, [1, 9, 4], columns=9, seed=0)
    model = PLUGIN.build(PLUGIN.resolve("smoke"), Catalogue(N_ITEMS, 50))
    assert isinstance(model, RPG)
    model.encoder = encoder
    train = random_train(N_ITEMS)
    asked = queries([[], *(train[user].tolist() for user in range(30))])
    assert_lists_do_not_depend_on_the_batch(model, asked)
    assert model.generate(asked, 5).items[0, 0].tolist() == [0, 1, 2, 3, 4], "an empty history says nothing"


@torch.no_grad()
def test_states_of_a_full_window_are_those_of_gpt_2() -> None:
    encoder = encoder_of()
    reference = GPT2Model(
        GPT2Config(vocab_size=1, n_positions=9, n_embd=8, n_layer=2, n_head=2, n_inner=16, layer_norm_epsilon=1e-12, use_cache=False)
    ).eval()
    ours = {name: weight for name, weight in encoder.state_dict().items() if name.startswith(("blocks", "last_norm", "position"))}
    names = {
        "attention_norm": "ln_1",
        "network_norm": "ln_2",
        "attention.query_key_value": "attn.c_attn",
        "attention.output": "attn.c_proj",
    }
    names |= {"network.0": "mlp.c_fc", "network.3": "mlp.c_proj", "blocks": "h", "last_norm": "ln_f", "position_embedding": "wpe"}
    weights = {"wte.weight": torch.zeros(1, 8)}
    for name, weight in ours.items():
        theirs = name
        for mine, published in names.items():
            theirs = theirs.replace(mine, published)
        # Its linear layers are stored the other way round.
        weights[theirs] = weight.T if "c_" in theirs and weight.dim() == 2 else weight
    reference.load_state_dict(weights)
    item = torch.arange(18).view(2, 9)
    expected = reference(inputs_embeds=encoder.item_vectors(item.flatten()).view(2, 9, 8)).last_hidden_state
    torch.testing.assert_close(encoder(item, torch.tensor([9, 9])), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_items_are_scaled_before_positions_are_added() -> None:
    plain, scaled = encoder_of(), encoder_of(embedding_scale=3.0)
    item, length = torch.tensor([[1, 5, 9]]), torch.tensor([3])
    assert (plain(item, length) - scaled(item, length)).abs().max() > 1e-2
    plain.position_embedding.weight.div_(3)
    # With blocks that add nothing, the last norm takes away a factor of all that is read.
    for network in (plain, scaled):
        for block in network.blocks:
            block.attention.output.weight.zero_()
            block.network[3].weight.zero_()
    torch.testing.assert_close(plain(item, length), scaled(item, length), atol=1e-5, rtol=0)


def test_batches_of_any_lengths_have_the_loss_of_batches_of_like_length() -> None:
    train = random_train(N_ITEMS)
    windows = Windows.of(train, 9)
    encoder = encoder_of()
    rows = np.arange(20)
    with torch.no_grad():
        (mixed, n_mixed), (plain, n_plain) = (RPGTraining(encoder, windows, mixes_lengths=mixes)(rows) for mixes in (True, False))
    assert n_mixed == n_plain == windows.n_targets[rows].sum()
    torch.testing.assert_close(mixed, plain, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("preset", "published"), [("paper", 13_581_824), ("paper-sports", 8_528_384)])
def test_the_published_presets_have_the_published_numbers_of_weights(preset: str, published: int) -> None:
    config = PLUGIN.resolve(preset)
    encoder = RPGEncoder(config.network, 0, config.codes.n_digits, config.codes.codebook_size)
    n_weights = sum(weight.numel() for weight in encoder.parameters())
    # The source has two more rows, for padding and for an end token.
    assert n_weights + 2 * 448 == published


def titles() -> list[str]:
    """Words of the item's theme in an order of its own."""
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(THEMES[item % len(THEMES)].split(), 6)) + f" {item}" for item in range(N_ITEMS)]


def trained(lists: list[list[int]], folder: Path, **overrides: Any) -> RPG:
    values = {"network.dropout": 0.0, "training.max_epochs": 1000, "training.max_steps": 60, "training.validate_every_epochs": 1000}
    model = PLUGIN.build(PLUGIN.resolve("smoke", None, values | overrides), Catalogue(N_ITEMS, len(lists)))
    report = model.fit(LightContext(interactions(lists, N_ITEMS), folder, {"title": titles()}, judge=latest_is_best()))
    assert report.artefacts["codes"].name == "codes.parquet"
    assert isinstance(model, RPG)
    return model


def test_codes_that_mean_something_beat_shuffled_ones(tmp_path: Path) -> None:
    # The next item is of the same theme, and no pair of items is seen often: only what the codes share can be learnt.
    rng = np.random.default_rng(0)
    themes = [[item for item in range(N_ITEMS) if item % len(THEMES) == theme] for theme in range(len(THEMES))]
    lists = [rng.permutation(themes[user % len(THEMES)])[:5].tolist() for user in range(60)]
    asked = queries([row[:-1] for row in lists])
    hits = []
    for seed in (None, 0):
        model = trained([row[:-1] for row in lists], tmp_path / str(seed), text={"shuffle_seed": seed})
        listed = model.generate(asked, 4).view("unseen")
        hits.append(np.mean([row[-1] in found for row, found in zip(lists, listed, strict=True)]))
    assert hits[0] > hits[1] + 0.2


def test_codes_are_kept_with_the_weights(tmp_path: Path) -> None:
    model = trained([[1, 2, 3], [4, 5, 6]], tmp_path, **{"training.max_steps": 2})
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    other = PLUGIN.build(model.config, Catalogue(N_ITEMS, 2))
    assert isinstance(other, RPG)
    other.load(tmp_path / "model")
    asked = queries([[1, 2], [7]])
    np.testing.assert_array_equal(other.generate(asked, 9).scores, model.generate(asked, 9).scores)
    assert len(np.unique(other.encoder.code_NM.numpy(), axis=0)) > 10


def test_unique_codes_that_need_one_more_digit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="number appends a digit that says nothing"):
        PLUGIN.resolve("smoke", None, {"codes.collisions": "number"})
    with pytest.raises(BadRequest, match=r"more than 16 items share .*--set codes\.collisions=keep"):
        # 40 items, one digit.
        trained([[1, 2, 3]], tmp_path, codes={"collisions": "reassign", "n_digits": 1})
