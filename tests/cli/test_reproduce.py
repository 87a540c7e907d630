"""`recbench reproduce`: a repetition with other code says so."""

from typing import Any

import pytest

from recbench.core.records import CodePart, read_record

pytestmark = pytest.mark.usefixtures("demo_home")


def test_a_repetition_with_other_code_says_so_in_one_sentence(recbench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbench.running.host.provenance.code", lambda: CodePart(version="1.0", commit="0" * 40, is_dirty=False))
    first = recbench("run", "-m", "popularity", "-d", "demo", "--threads", "1", "--json").json
    same = recbench("reproduce", first["run"])
    assert same.code == 0, same.stderr
    assert "The code differs" not in same.stdout
    path = recbench.folder / first["folder"] / "record.json"
    record = read_record(path)
    path.write_text(record.model_copy(update={"code": record.code.model_copy(update={"version": "0.9"})}).to_json())
    other = recbench("reproduce", first["run"])
    assert "The code differs from that of the record: recbench was 0.9 (00000000) and is 1.0 (00000000).\n" in other.stdout
    assert recbench("reproduce", first["run"], "--json").json["code_changes"] == ["recbench was 0.9 (00000000) and is 1.0 (00000000)"]
