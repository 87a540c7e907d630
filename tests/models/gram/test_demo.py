"""GRAM on the synthetic data set: it beats popularity, every ablation changes it, and published files are read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from recbench.cli.app import app
from recbench.core import Queries, SilentProgress
from recbench.data import Split, locate, make_split, read_dataset
from recbench.evaluation import ranks_of_targets
from recbench.running.run.training import TrainedModel
from recbench.tasks import NEXT_ITEM
from recbench.testing import train
from recbench_models.gram import PLUGIN
from recbench_models.popularity import PLUGIN as POPULARITY

Published = Callable[..., tuple[Path, Path]]
ABLATIONS = ("no-hierarchy", "no-neighbours", "no-user-prompt", "no-item-prompts", "no-linking", "no-slot-vectors")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gram")


@pytest.fixture(scope="module")
def demo(home: Path) -> Split:
    located = locate("demo", data_dir=None, home=home, progress=SilentProgress(), fetch=False)
    make_split(read_dataset(located, SilentProgress()), NEXT_ITEM.protocol()).save(home / "split")
    return Split.open(home / "split")


@pytest.fixture(scope="module")
def asked(demo: Split) -> Queries:
    return demo.test.queries(demo.user_ids)


def quickly(home: Path, demo: Split, **changes: Any) -> TrainedModel:
    return train(PLUGIN, demo, home, preset="smoke", overrides={"training.max_steps": 6, "training.curve_every_steps": 6, **changes})


@pytest.fixture(scope="module")
def full(home: Path, demo: Split) -> TrainedModel:
    return quickly(home, demo)


@pytest.fixture(scope="module")
def lists_of_full(full: TrainedModel, asked: Queries) -> np.ndarray:
    return full.recommender.generate(asked, 20).items


@pytest.mark.uncounted
@pytest.mark.parametrize("preset", ABLATIONS)
def test_every_ablation_changes_loss_and_lists(
    preset: str, home: Path, demo: Split, asked: Queries, full: TrainedModel, lists_of_full: np.ndarray
) -> None:
    changes = {name: value for name, value in PLUGIN.card.presets[preset].items() if name != "extends"}
    ablated = quickly(home, demo, **changes)
    before, after = (trained.report.curve[0].loss for trained in (full, ablated))
    assert before is not None
    assert after is not None
    assert abs(after - before) > 1e-5
    others = ablated.recommender.generate(asked, 20).items
    assert (lists_of_full != others).mean() > 0.01


@pytest.mark.uncounted
def test_it_beats_popularity(home: Path, demo: Split, asked: Queries) -> None:
    recalls = []
    for plugin in (PLUGIN, POPULARITY):
        trained = train(plugin, demo, home, overrides={"training.max_steps": 110} if plugin is PLUGIN else None)
        rank = ranks_of_targets(trained.recommender.generate(asked, 10), demo.test.targets, asked)["unseen"]
        recalls.append(float((rank >= 0).mean()))
    assert recalls[0] > 1.5 * recalls[1]


def command(home: Path, *arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="recbench", env={"RECBENCH_HOME": str(home)})


RUN = ("run", "-m", "gram", "-d", "demo", "--preset", "smoke", "--set", "training.max_steps=3")


@pytest.fixture
def published(tmp_path: Path, demo: Split) -> Published:
    """Writes IDs and similar items of the demo as GRAM's authors publish theirs; a line of IDs may be replaced."""

    def write(line: int | None = None, text: str = "") -> tuple[Path, Path]:
        ids = [f"{item} |▁theme|{row % 7}|▁word{row // 7}{'|▁1' if row % 50 == 0 else ''}" for row, item in enumerate(demo.items.item_ids)]
        if line is not None:
            ids[line - 1] = text
        every = list(demo.items.item_ids)
        similar = ["anchor similar"] + [
            " ".join([item, *(every[(row + step) % len(every)] for step in range(1, 21))]) for row, item in enumerate(every)
        ]
        paths = tmp_path / "ids.txt", tmp_path / "similar.txt"
        for path, lines in zip(paths, (ids, similar), strict=True):
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return paths

    return write


def test_published_ids_and_similar_items_are_read(
    published: Published, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, similar = published()
    monkeypatch.chdir(tmp_path)
    done = command(home, *RUN, "--set", f"ids.file={ids}", "--set", f"neighbours.file={similar}")
    assert done.exit_code == 0, done.stderr
    shown = command(home, "show", "last", "--codes")
    assert shown.exit_code == 0, shown.stderr
    assert "items with a number that tells apart" in shown.stdout
    codes = json.loads(command(home, "show", "last", "--codes", "--json").stdout)["codes"]
    # 300 items: theme, one of seven numbers, one of 43 words, and a number behind every fiftieth.
    assert (codes["items"], codes["numbered"], codes["repeated"], codes["is_unique"]) == (300, 6, 0, True)
    assert codes["distinct_tokens"] == 1 + 7 + 43
    assert [level["prefixes"] for level in codes["levels"][:3]] == [1, 7, 300]
    assert [level["largest_prefix"] for level in codes["levels"][:3]] == [300, 43, 1]
    assert codes["prefix_of_another"] == 0


@pytest.mark.parametrize(
    ("line", "text", "words"),
    [(3, "i0002 theme", ("ids.txt", "line 3")), (7, "nobody |▁theme", ("ids.txt", "line 7", "nobody"))],
)
def test_a_malformed_line_is_an_error_with_its_number(
    line: int, text: str, words: tuple[str, ...], published: Published, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    ids, _ = published(line, text)
    monkeypatch.chdir(tmp_path)
    done = command(home, *RUN, "--set", f"ids.file={ids}")
    assert done.exit_code == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        ("hf:google-t5/t5-small", ("backbone.name='hf:google-t5/t5-small'", "hf download google-t5/t5-small", "preset")),
        ("./nowhere", ("backbone.name=", "nowhere", "config.json")),
        ("t5-small", ("backbone", "hf:OWNER/NAME")),
    ],
)
def test_a_missing_backbone_says_how_to_get_it_and_nothing_else_is_taken(
    backbone: str, words: tuple[str, ...], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    done = command(home, *RUN, "--set", f"backbone.name={backbone}")
    assert done.exit_code == 2, done.stdout + done.stderr
    for word in words:
        assert word in " ".join(done.stderr.split())


def test_a_pretrained_backbone_is_taken_with_its_vocabulary(home: Path, demo: Split, asked: Queries, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    words = sorted({word for column in demo.items.columns.values() for value in column if value for word in str(value).lower().split()})
    pieces = [f"▁{word}" for word in words] + [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokenizer = Tokenizer(models.Unigram([("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), *((p, -2.0) for p in pieces)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>").save_pretrained(tmp_path)
    t5 = T5ForConditionalGeneration(
        T5Config(vocab_size=len(pieces) + 3, d_model=32, d_kv=16, d_ff=48, num_layers=1, num_heads=2, decoder_start_token_id=0)
    )
    t5.save_pretrained(tmp_path)
    trained = quickly(home, demo, backbone={"name": str(tmp_path)}, training={"max_steps": 1, "learning_rate": 1e-9})
    network = trained.recommender.raw._trained
    assert network.t5.config.d_ff == 48
    # At this rate the weights are still those of the folder; rows may have been added for numbers.
    np.testing.assert_allclose(
        network.t5.shared.weight.detach().numpy()[: len(pieces) + 3], t5.shared.weight.detach().numpy(), rtol=0, atol=1e-6
    )
    assert (trained.recommender.generate(asked, 10).items >= 0).all()
