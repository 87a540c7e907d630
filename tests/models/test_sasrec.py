"""SASRec: windows, batches, negatives, and that it learns."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbench.core import BadConfig, BadData, Catalogue, Histories, Interactions, Movable, Queries, Ranker, SilentProgress
from recbench.core.config import by_dotted_name, nested
from recbench.data import locate, make_split, read_dataset
from recbench.nn.training.windows import Windows
from recbench.tasks import NEXT_ITEM
from recbench.testing import LightContext, interactions, latest_is_best
from recbench_models.sasrec import PLUGIN
from recbench_models.sasrec.config import SASRecConfig
from recbench_models.sasrec.network import SASRecTraining, build_encoder
from recbench_models.sasrec.recommender import SASRec

LOSSES = ("bce", "ce", "gbce", "ssm")


def queries_of(histories: Histories) -> Queries:
    n = len(histories)
    return Queries(histories, np.arange(n, dtype=np.int32), np.array([str(i) for i in range(n)], object))


def hit_rate(ranker: Ranker, histories: Histories, target: np.ndarray, k: int) -> float:
    return float((ranker.generate(queries_of(histories), k).view("unseen") == target[:, None]).any(1).mean())


def fitted(train: Interactions, folder: Path, **overrides: Any) -> SASRec:
    values = {"network": {"width": 32, "dropout": 0.0, "max_length": 12}, "batch_size": 16}
    values |= {"training": {"learning_rate": 5e-3, "validate_every_epochs": 1000}}
    values = by_dotted_name(values, SASRecConfig) | by_dotted_name(overrides, SASRecConfig)
    model = SASRec(SASRecConfig.model_validate(nested(values)), Catalogue(train.n_items, len(train)))
    report = model.fit(LightContext(train, folder, judge=latest_is_best()))
    assert report.examples_seen > 0
    return model


# learning


@pytest.mark.uncounted
@pytest.mark.parametrize("loss", ["bce", "ce"])
def test_overfits_a_cycle(loss: str, tmp_path: Path) -> None:
    began = time.process_time()
    starts = np.arange(64) * 7
    train = interactions([[(s + t) % 50 for t in range(10)] for s in starts.tolist()], 50)
    # One batch holds all users; 150 steps.
    model = fitted(
        train, tmp_path, loss=loss, batch_size=64, training={"max_epochs": 150, "learning_rate": 1e-2}, network={"embedding_scale": 1.0}
    )
    # Items of a user's own history are never negatives of `bce`, so that only the view without them says what was learnt.
    assert hit_rate(model, train.histories(), (starts + 10) % 50, 1) > 0.95
    assert time.process_time() - began < 20


@pytest.mark.slow
def test_full_softmax_learns_a_markov_chain_better_than_sampling(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n_items, n_users, length = 200, 1000, 12
    follower = np.array([rng.permutation(n_items) for _ in range(3)])
    walk = np.empty((n_users, length), np.int32)
    walk[:, 0] = rng.integers(0, n_items, n_users)
    for t in range(1, length):
        which = rng.choice(3, n_users, p=[0.7, 0.2, 0.1])
        is_noise = rng.random(n_users) < 0.2
        walk[:, t] = np.where(is_noise, rng.integers(0, n_items, n_users), follower[which, walk[:, t - 1]])
    train, target = interactions(walk[:, :-1].tolist(), n_items), walk[:, -1]
    hits = {}
    for loss in ("ce", "bce"):
        model = fitted(
            train, tmp_path / loss, loss=loss, training={"max_epochs": 6, "learning_rate": 3e-3}, network={"dropout": 0.1}, batch_size=32
        )
        hits[loss] = hit_rate(model, train.histories(), target, 1)
    popular = np.bincount(train.item, minlength=n_items).argmax()
    popularity = float((target == popular).mean())
    counts = np.zeros((n_items, n_items))
    np.add.at(counts, (walk[:, :-2].ravel(), walk[:, 1:-1].ravel()), 1)
    markov = float((counts.argmax(1)[walk[:, -2]] == target).mean())
    assert popularity < hits["bce"] < hits["ce"]
    assert markov == pytest.approx(0.8 * 0.7 + 0.2 / n_items, abs=0.04)
    assert hits["ce"] > 0.85 * markov


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_is_a_sum_over_the_targets_of_the_rows(loss: str) -> None:
    train = interactions([[0, 1, 2, 3], [4, 5], [6, 7, 8, 9, 0, 1, 2, 3]], 10)
    config = SASRecConfig(loss=loss, n_negatives=3, network={"width": 8, "max_length": 4, "dropout": 0.0})
    windows = Windows.of(train, 4)
    module = SASRecTraining(build_encoder(config.network, 10), config, train, windows)
    total, n_targets = module(np.arange(len(windows)))
    assert n_targets == windows.n_targets.sum() == 3 + 1 + 7
    total.backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)
    if loss == "ce":
        parts = [module(np.array([row]))[0].item() for row in range(len(windows))]
        assert sum(parts) == pytest.approx(total.item(), rel=1e-5)


# the plugin


def small_model(tmp_path: Path) -> tuple[SASRec, Interactions]:
    rng = np.random.default_rng(2)
    train = interactions([rng.integers(0, 40, rng.integers(1, 30)).tolist() for _ in range(50)], 40)
    return fitted(train, tmp_path, loss="ce", training={"max_epochs": 2}, network={"dropout": 0.2}), train


def test_company_in_the_batch_changes_scores_by_little(tmp_path: Path) -> None:
    model, train = small_model(tmp_path)
    queries = queries_of(train.histories())
    together = model.generate(queries, 20)
    for rows in (np.array([3]), np.array([7, 3, 30]), np.arange(49, -1, -1)):
        alone = model.generate(queries.take(rows), 20)
        np.testing.assert_allclose(alone.scores, together.scores[:, rows], atol=1e-5, rtol=1e-5)


def test_saved_and_loaded_gives_the_same_lists(tmp_path: Path) -> None:
    model, train = small_model(tmp_path / "checkpoints")
    folder = tmp_path / "model"
    folder.mkdir()
    model.save(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["model.safetensors"]
    other = SASRec(model.config, Catalogue(40, 50))
    other.load(folder)
    queries = queries_of(train.histories())
    np.testing.assert_array_equal(other.generate(queries, 10).items, model.generate(queries, 10).items)
    np.testing.assert_array_equal(other.item_vectors(), model.item_vectors())
    assert model.item_vectors().shape == (40, 32)


def test_all_of_the_network_moves() -> None:
    model = SASRec(SASRecConfig(), Catalogue(40, 50))
    assert isinstance(model, Movable)
    model.to("meta")
    assert {part.device.type for part in (*model.encoder.parameters(), *model.encoder.buffers())} == {"meta"}


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    model, _ = small_model(tmp_path / "checkpoints")
    model.save(tmp_path)
    with pytest.raises(BadData, match=r"model\.safetensors: item_embedding\.weight has shape \(41, 32\)"):
        SASRec(model.config, Catalogue(41, 50)).load(tmp_path)


def test_same_seed_same_weights(tmp_path: Path) -> None:
    first, _ = small_model(tmp_path / "a")
    second, _ = small_model(tmp_path / "b")
    np.testing.assert_array_equal(first.item_vectors(), second.item_vectors())


def test_an_empty_history_gets_a_list(tmp_path: Path) -> None:
    model, _ = small_model(tmp_path)
    ranked = model.generate(queries_of(Histories.from_lists([[], [1, 2]])), 5)
    assert ranked.view("keep")[0].tolist() == [0, 1, 2, 3, 4]


def test_a_long_history_is_read_from_its_newest_end(tmp_path: Path) -> None:
    model, _ = small_model(tmp_path)
    long = list(range(30))
    state = model.encode(queries_of(Histories.from_lists([long, long[-12:], long[-11:]])))
    torch.testing.assert_close(state[0], state[1], atol=1e-5, rtol=0)
    assert (state[0] - state[2]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("preset", "label"),
    [
        ("paper", "bce"),
        ("tuned", "ce"),
        ("cpu", "ce"),
        ("smoke", "ce"),
        ("s3rec", "bce, norm=post"),
        ("esasrec", "ssm, norm=ligr, negatives_per=slot"),
        ("ss", "ssm, norm=original, negatives_per=slot"),
    ],
)
def test_rows_are_named_by_loss_and_by_what_is_unusual(preset: str, label: str) -> None:
    config = PLUGIN.resolve(preset)
    assert isinstance(config, SASRecConfig)
    assert PLUGIN.row_name(preset, config) == f"sasrec:{preset} ({label})"


def encoder_parameters(preset: str, n_items: int) -> int:
    config = PLUGIN.resolve(preset)
    assert isinstance(config, SASRecConfig)
    return sum(p.numel() for p in build_encoder(config.network, n_items).parameters())


def test_presets_have_the_sizes_of_their_sources() -> None:
    n_items, tables = 12_101, (12_101 + 1 + 50) * 64
    # The network of S3-Rec, with the norm of its embeddings and without a last one.
    assert encoder_parameters("s3rec", n_items) == 877_824 == tables + 2 * (12 * 64**2 + 13 * 64) + 2 * 64
    assert encoder_parameters("esasrec-64", n_items) == tables + 74_368
    wide = 4 * tables
    for preset, factor in (("esasrec", 4), ("esasrec-sports", 2), ("esasrec-toys", 1)):
        assert encoder_parameters(preset, n_items) == wide + (6 + 3 * factor) * 256**2 + 10 * 256
    # One block of attention with both projections and a network as wide as the states, and the last norm.
    assert encoder_parameters("ss", n_items) == wide + 6 * 256**2 + 10 * 256 + 2 * 256


def test_s3rec_starts_where_scores_tell_nothing() -> None:
    """Its source logs a first loss of two terms near ln 2 each; other first weights or embeddings that are scaled start elsewhere."""
    rng = np.random.default_rng(0)
    train = interactions([rng.permutation(500)[: rng.integers(2, 60)].tolist() for _ in range(60)], 500)
    windows = Windows.newest(train, 50)
    first = {}
    for init in ("normal", "xavier"):
        config = PLUGIN.resolve("s3rec", overrides={"network.init": init})
        assert isinstance(config, SASRecConfig)
        torch.manual_seed(0)
        total, n_targets = SASRecTraining(build_encoder(config.network, 500), config, train, windows)(np.arange(len(windows)))
        first[init] = total.item() / n_targets
    assert first["normal"] == pytest.approx(2 * np.log(2), abs=0.03)
    assert first["xavier"] > first["normal"] + 0.03


def test_every_published_number_is_of_a_preset_with_its_settings() -> None:
    found = {(number.dataset, number.preset) for number in PLUGIN.card.published}
    assert {preset for _, preset in found if preset == "paper"} == set()
    assert len(found) == len(PLUGIN.card.published) == 12
    for number in PLUGIN.card.published:
        config = PLUGIN.resolve(number.preset)
        assert isinstance(config, SASRecConfig)
        assert (config.batch_order, config.windows) == ("random", "newest")
        assert number.view == "unseen"


# batches


def test_random_order_trains_what_bucketed_order_does() -> None:
    """Groups of like length within a batch save padding; they change no loss and no gradient."""
    rng = np.random.default_rng(0)
    train = interactions([rng.integers(0, 40, n).tolist() for n in (2, 3, 9, 30, 2, 5, 6, 17, 40)], 40)
    windows = Windows.newest(train, 20)
    rows = rng.permutation(len(windows))
    found = []
    for order in ("bucketed", "random"):
        for loss in ("ce", "ssm"):
            settings = {"loss": loss, "negatives_per": "batch", "n_negatives": 40, "mask_hits": True, "batch_order": order}
            config = SASRecConfig(**settings, network={"width": 8, "max_length": 20, "dropout": 0.0})
            torch.manual_seed(1)
            module = SASRecTraining(build_encoder(config.network, 40), config, train, windows)
            total, n_targets = module(rows)
            total.backward()
            found.append((total.item(), n_targets, module.encoder.item_embedding.weight.grad))
    for total, n_targets, gradient in found[1:]:
        assert n_targets == found[0][1]
        assert total == pytest.approx(found[0][0], rel=1e-5)
        torch.testing.assert_close(gradient, found[0][2], atol=1e-4, rtol=1e-4)


def test_negatives_in_random_order_are_those_of_their_user() -> None:
    """Each user has all items but one, so that nothing is left to chance: a negative of another user would change the loss."""
    # Lengths differ through repeats, so that users stand in several groups of a batch.
    train = interactions([[i for i in range(12) if i != u] + list(range(u)) * 2 for u in range(12)], 12)
    windows = Windows.newest(train, 50)
    rows = np.random.default_rng(3).permutation(12)
    totals = []
    for order in ("bucketed", "random"):
        config = SASRecConfig(batch_order=order, network={"width": 12, "max_length": 50, "dropout": 0.0})
        torch.manual_seed(1)
        module = SASRecTraining(build_encoder(config.network, 12), config, train, windows)
        totals.append(module(rows)[0].item())
    assert len(windows.of_like_length(rows)) > 1
    assert totals[1] == pytest.approx(totals[0], rel=1e-5)


def test_newest_windows_are_used(tmp_path: Path) -> None:
    train = interactions([list(range(40)), [1, 2, 3]], 40)
    for windows, n_possible in (("all", 39 + 2), ("newest", 12 + 2)):
        config = SASRecConfig(loss="ce", windows=windows, network={"width": 8, "max_length": 12}, training={"max_epochs": 1})
        report = SASRec(config, Catalogue(40, 2)).fit(LightContext(train, tmp_path / windows, judge=lambda _: 0.0))
        assert (report.examples_possible, report.examples_seen) == (n_possible, n_possible)


def test_cosines_rank_as_they_train(tmp_path: Path) -> None:
    model, train = small_model(tmp_path)
    model.config = model.config.model_copy(update={"normalise": True, "temperature": 0.05})
    with torch.no_grad():
        model.encoder.item_embedding.weight[3] *= 1000
    ranked = model.generate(queries_of(train.histories()), 40)
    assert np.nanmax(np.where(np.isfinite(ranked.scores), ranked.scores, np.nan)) <= 20 + 1e-4
    state = model.encode(queries_of(train.histories()))
    cosine = torch.nn.functional.cosine_similarity(state[:, None], model.encoder.item_ID[None], dim=-1)
    best = ranked.view("keep")[:, 0]
    np.testing.assert_allclose(cosine.max(1).values.detach(), cosine.detach().numpy()[np.arange(len(best)), best], atol=1e-6)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("dataset", "n_dropped", "n_targets"), [("beauty", 3_382, 131_413), ("sports", 1_599, 189_543), ("yelp", 7_322, 225_061)]
)
def test_newest_windows_of_real_data(dataset: str, n_dropped: int, n_targets: int) -> None:
    """Counts of the train parts that RUCAIBox/CIKM2020-S3Rec trains."""
    located = locate(dataset, data_dir=Path(os.environ["RECBENCH_DATA"]), home=Path(os.devnull), progress=SilentProgress(), fetch=False)
    train = make_split(read_dataset(located, SilentProgress()), NEXT_ITEM.protocol()).train
    assert Windows.of(train, 50).n_targets.sum() == n_targets
    newest = Windows.newest(train, 50)
    assert n_targets - newest.n_targets.sum() == n_dropped
    assert dataset != "beauty" or (train.lengths > 51).sum() == 127


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(BadConfig, match="width=64 is not a multiple of n_heads=3"):
        PLUGIN.resolve("paper", overrides={"network.n_heads": 3})
