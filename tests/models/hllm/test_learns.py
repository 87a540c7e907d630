"""What the text says is learnt, the stages follow each other, and a stopped fit goes on."""

from pathlib import Path

import hllm_case as case
import numpy as np
import pytest
import torch

from recbench.core import BadRequest, Budget, Catalogue
from recbench.core.ranking import Queries
from recbench.testing import LightContext, interactions, queries
from recbench_models.hllm import PLUGIN
from recbench_models.hllm.recommender import HLLM

N_USERS, N_CYCLES, CYCLE = 300, 3, 20
N_ITEMS = N_CYCLES * CYCLE
THEMES = ["garden", "kitchen", "river"]


def walks(seed: int = 0) -> list[list[int]]:
    """Users walk around one of three cycles of 20 items, from anywhere."""
    rng = np.random.default_rng(seed)
    return [[(cycle * CYCLE + (start + step) % CYCLE) for step in range(7)] for cycle, start in rng.integers(0, (3, 20), (N_USERS, 2))]


def texts(order: np.ndarray) -> dict[str, list[str]]:
    """What each item is called: its theme and its place; `order` says whose text an item has."""
    return {"title": [f"{THEMES[row // CYCLE]} place{row % CYCLE}" for row in order]}


def model(context: LightContext, **changes: object) -> tuple[HLLM, object]:
    settings = {
        "text.prompt": "",
        "text.max_tokens": 6,
        "sequences.max_length": 6,
        "training.validate_every_epochs": 100,
        "negatives.count": 40,
        **changes,
    }
    recommender = HLLM(PLUGIN.resolve("smoke", None, settings), Catalogue(N_ITEMS, N_USERS))
    return recommender, recommender.fit(context)


def recall_at_5(recommender: HLLM, users: list[list[int]]) -> float:
    lists = recommender.generate(queries([user[:-1] for user in users]), 5).view("keep")
    return float(np.mean([user[-1] in row for user, row in zip(users, lists, strict=True)]))


@pytest.mark.slow
def test_text_is_what_it_learns_from(tmp_path: Path) -> None:
    users = walks()
    train = interactions([user[:-1] for user in users], N_ITEMS)
    found = {}
    for name, order in (("own", np.arange(N_ITEMS)), ("one for all", np.zeros(N_ITEMS, np.int64))):
        context = LightContext(train, tmp_path / name, texts(order), judge=lambda ranker: 0.0)
        recommender, report = model(context, joint={"steps": 75}, training={"max_steps": 75, "max_epochs": 40})
        found[name] = recall_at_5(recommender, users)
        assert report.steps == 150
    assert found["own"] > 0.8  # popularity has about 5 / 60
    assert found["one for all"] < 0.2


def test_item_steps_are_counted_with_the_rest_and_share_a_budget(tmp_path: Path) -> None:
    train = interactions([user[:-1] for user in walks()], N_ITEMS)
    context = LightContext(train, tmp_path, texts(np.arange(N_ITEMS)), judge=lambda ranker: 0.0, budget=Budget.parse("40steps"))
    _, report = model(context, joint={"steps": 30, "budget_share": 0.25}, training={"curve_every_steps": 5})
    assert (report.steps, report.stopped_by) == (40, "budget")
    steps = [point.step for point in report.curve]
    assert steps == sorted(set(steps))
    assert steps[-1] == 40
    assert report.parameters.trainable == report.parameters.total


@pytest.mark.parametrize("changes", [{"joint.steps": None, "training.max_steps": 20}, {"joint.steps": 5, "training.max_steps": 15}])
def test_the_weights_that_validation_liked_best_answer(changes: dict[str, object], tmp_path: Path) -> None:
    """End to end, where the item vectors are new at every validation, and on cached vectors."""
    train = interactions([user[:-1] for user in walks()], N_ITEMS)
    seen: list[np.ndarray] = []

    def judge(ranker: HLLM) -> float:
        seen.append(ranker.generate(queries([[1, 2]]), 3).scores.copy())
        return -float(seen[-1].sum())

    context = LightContext(train, tmp_path, texts(np.arange(N_ITEMS)), judge=judge)
    recommender, _ = model(context, **changes, training={"max_epochs": 9, "validate_every_steps": 5})
    sums = [float(scores.sum()) for scores in seen]
    assert len({round(total, 6) for total in sums}) >= 3
    np.testing.assert_allclose(recommender.generate(queries([[1, 2]]), 3).scores, seen[int(np.argmin(sums))], atol=1e-6)


def answers(recommender: HLLM) -> tuple[np.ndarray, np.ndarray]:
    asked: Queries = queries([[1, 2, 3], [], [40]])
    found = recommender.generate(asked, 10)
    return found.items, found.scores


@pytest.mark.parametrize("task", ["generative", "discriminative"])
def test_a_saved_model_answers_alike(task: str, tmp_path: Path) -> None:
    train = interactions([user[:-1] for user in walks()], N_ITEMS)
    context = LightContext(train, tmp_path, texts(np.arange(N_ITEMS)), judge=lambda ranker: 0.0)
    recommender, report = model(
        context, joint={"steps": 5}, training={"max_steps": 5}, task=task, user={"width": 16, "heads": 2, "key_heads": 1}
    )
    (tmp_path / "saved").mkdir()
    recommender.save(tmp_path / "saved")
    again = HLLM(recommender.config, Catalogue(N_ITEMS, N_USERS))
    again.load(tmp_path / "saved")
    for left, right in zip(answers(recommender), answers(again), strict=True):
        np.testing.assert_array_equal(left, right)
    assert np.load(report.artefacts["vectors"]).shape == (N_ITEMS + 1, 32)


@pytest.mark.slow
def test_a_llama_from_a_folder_serves_as_both_towers(tmp_path: Path) -> None:
    """A folder in the library's format, with a tokenizer: pretrained weights are read, and `random` reads none of them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<s>", "<unk>", *THEMES, *(f"place{n}" for n in range(CYCLE))]
    plain = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>").save_pretrained(tmp_path / "llm")
    case.body().save_pretrained(tmp_path / "llm")
    train = interactions([user[:-1] for user in walks()], N_ITEMS)
    named = {"item.tower": str(tmp_path / "llm"), "user.tower": str(tmp_path / "llm"), "joint.steps": None, "training.max_steps": 3}
    for weights in ("pretrained", "random"):
        context = LightContext(train, tmp_path / weights, texts(np.arange(N_ITEMS)), judge=lambda ranker: 0.0)
        recommender, _ = model(context, **named, item={"weights": weights}, user={"weights": weights}, training={"learning_rate": 1e-9})
        own = recommender._user.tower.body.layers[0].mlp.up_proj.weight.detach()
        pretrained = case.body().layers[0].mlp.up_proj.weight.detach()
        assert torch.allclose(own, pretrained, atol=1e-5) == (weights == "pretrained")


def test_an_encoder_is_refused_as_user_tower(tmp_path: Path) -> None:
    case.body("encoder").save_pretrained(tmp_path / "bert")
    config = case.config(user={"tower": str(tmp_path / "bert")})
    with pytest.raises(BadRequest, match=r"is a bert, whose places see what comes after them"):
        case.user_side(config)


def test_a_tower_that_is_not_here_says_what_to_do(tmp_path: Path) -> None:
    config = case.config(item={"tower": str(tmp_path / "nowhere")})
    with pytest.raises(BadRequest, match=r"holds no config\.json.*--set item\.tower=PATH, or take --preset cpu"):
        config.named_files()
