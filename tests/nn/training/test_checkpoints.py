import errno
import resource
from pathlib import Path

import pytest
import torch

from recbench.core import StageFailed
from recbench.nn.training.checkpoints import CheckpointFolder


def folder_with(tmp_path: Path, n: int) -> CheckpointFolder:
    folder = CheckpointFolder(tmp_path / "training")
    for number in range(n):
        folder.write({"number": number}, {"weights": {"a": torch.full((3,), float(number))}, "empty": {}})
    return folder


def test_what_was_written_is_read(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1)
    name = folder.newest()
    assert name is not None
    checkpoint = folder.read(name)
    assert checkpoint.state == {"number": 0}
    assert torch.equal(checkpoint.tensors["weights"]["a"], torch.zeros(3))
    assert checkpoint.tensors["empty"] == {}


def test_no_folder_holds_no_checkpoint(tmp_path: Path) -> None:
    assert CheckpointFolder(tmp_path / "nowhere").newest() is None


def test_too_few_file_handles_drop_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_with(tmp_path, 1)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            folder.newest()
    assert folder.newest() == "000001"


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    folder_with(tmp_path, 5)
    assert sorted(entry.name for entry in (tmp_path / "training").iterdir()) == ["000004", "000005"]


def test_a_write_that_was_killed_is_not_taken_for_a_checkpoint(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 2)
    (tmp_path / "training" / ".writing-000003").mkdir()
    (tmp_path / "training" / ".writing-000003" / "weights.safetensors").write_bytes(b"half")
    assert folder.newest() == "000002"
    folder.write({"number": 3}, {})
    assert sorted(entry.name for entry in (tmp_path / "training").iterdir()) == ["000002", "000003"]


@pytest.mark.parametrize("file", ["weights.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["cut", "removed", "altered"])
def test_damage_falls_back_and_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, harm: str) -> None:
    folder = folder_with(tmp_path, 3)
    path = tmp_path / "training" / "000003" / file
    content = path.read_bytes()
    if harm == "removed":
        path.unlink()
    else:
        path.write_bytes(content[:-7] if harm == "cut" else content.replace(b'"', b"'", 1) if b'"' in content else content[::-1])
    name = folder.newest()
    assert name == "000002"
    assert folder.read(name).state == {"number": 1}
    assert "checkpoint 000003 is damaged" in caplog.text
    assert file in caplog.text


def test_all_damaged_leaves_none(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 2)
    for path in (tmp_path / "training").glob("*/state.json"):
        path.unlink()
    assert folder.newest() is None


def test_manifest_that_names_no_state_is_damage(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1)
    (tmp_path / "training" / "000001" / "manifest.json").write_text("{}")
    assert folder.newest() is None


def test_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "training").write_text("a file where the folder should be")
    with pytest.raises(StageFailed, match="Make room there, then repeat the command"):
        folder_with(tmp_path, 1)


def test_full_disk_is_a_sentence_and_leaves_the_earlier_checkpoint(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))  # stands for a disk with no more room
    try:
        with pytest.raises(StageFailed, match="Make room there"):
            folder.write({}, {"weights": {"a": torch.zeros(10_000)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [entry.name for entry in (tmp_path / "training").iterdir()] == ["000001"]
    assert folder.newest() == "000001"
