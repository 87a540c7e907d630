"""Boards whose publishing or measuring anew was killed while it wrote."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from recbench.core.errors import VerifyFailed
from recbench.core.records import CodePart, read_record
from recbench.reporting import publish, remeasure, verify

CODE = CodePart(version="9.9", commit="c0ffee0" + 33 * "0", is_dirty=False)


def content(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.rglob("*") if file.is_file()
    }


@contextmanager
def death_after(n_files: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever writes within the block is killed when it has put so many files into place."""
    replace, calls = Path.replace, []

    def killed(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) > n_files:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            yield


@pytest.mark.parametrize("n_files", [0, 1, 4, 8])
def test_the_next_command_finishes_what_a_killed_one_published(
    workshop: Any, cards: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_files: int
) -> None:
    runs = [workshop.run(), workshop.trivial()]
    publish(tmp_path / "undisturbed", runs, cards)
    boards = tmp_path / "boards"
    with death_after(n_files, monkeypatch):
        publish(boards, runs, cards)
    with pytest.raises(VerifyFailed, match="a command was ended while it wrote here"):
        verify(boards, cards)
    again = publish(boards, runs, cards)
    assert content(boards) == content(tmp_path / "undisturbed")
    assert not again.written
    verify(boards, cards)


def test_records_that_were_being_measured_anew_are_not_taken_for_edited_ones(
    workshop: Any, cards: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boards = tmp_path / "boards"
    publish(boards, [workshop.run(seed=seed) for seed in range(2)], cards)
    for path in boards.glob("records/*/record.json"):
        record = read_record(path)
        beyond = {view: {**part, "gini@10": 0.125} for view, part in record.beyond.items()}
        path.write_text(record.model_copy(update={"beyond": beyond}).to_json())
    for page in boards.glob("*.*"):
        page.unlink()
    publish(boards, [], cards)
    with death_after(1, monkeypatch):
        remeasure(boards, cards, CODE)
    assert remeasure(boards, cards, CODE).n_values == 0
    verify(boards, cards)
    assert not list(boards.glob(".w*"))
