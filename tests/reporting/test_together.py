"""Files that change together, whenever the process that writes them ends."""

from pathlib import Path

import pytest

from recbench.reporting.together import finish_writing, is_half_written, write_together

OLD = {"index.md": b"old index", "records/a/record.json": b"old record", "stale.md": b"stale"}
NEW = {"index.md": b"new index", "records/a/record.json": b"new record", "records/b/record.json": b"second record"}


def content(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture
def boards(tmp_path: Path) -> Path:
    for name, data in OLD.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_files_are_written_copied_and_taken_away(boards: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    source = tmp_path_factory.mktemp("run") / "record.json"
    source.write_bytes(b"second record")
    write_together(boards, {**NEW, "records/b/record.json": source}, ["stale.md"])
    assert content(boards) == NEW
    assert source.is_file()
    assert not is_half_written(boards)


def test_nothing_to_write_leaves_the_folder_alone(boards: Path) -> None:
    write_together(boards, {})
    assert content(boards) == OLD


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_who_is_killed_while_files_are_moved_is_made_good_by_the_next(boards: Path, monkeypatch: pytest.MonkeyPatch, moved: int) -> None:
    replace, calls = Path.replace, []

    def killed(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) > moved:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write_together(boards, NEW, ["stale.md"])
    assert is_half_written(boards)
    finish_writing(boards)
    assert content(boards) == NEW
    assert not list(boards.glob(".w*"))


def test_who_is_killed_before_the_decision_leaves_all_as_it_was(boards: Path) -> None:
    (boards / ".writing" / "records" / "a").mkdir(parents=True)
    (boards / ".writing" / "index.md").write_bytes(b"half")
    finish_writing(boards)
    assert content(boards) == OLD
    assert not (boards / ".writing").exists()


def test_a_fault_while_writing_leaves_all_as_it_was(boards: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_together(boards, {**NEW, "records/c/record.json": boards / "nowhere"})
    assert content(boards) == OLD
