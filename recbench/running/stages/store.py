"""Stages: expensive steps whose result is kept under the hash of all that shaped it.

HOME/stages/NAME-KEY/           files of a finished stage and manifest.json
HOME/stages/partial/NAME-KEY/   checkpoints of one that is under way or was killed
HOME/stages/locks/NAME-KEY.lock
HOME/stages/damaged/            folders whose files no longer match their manifest
HOME/stages/.building-NAME-KEY/ what is being built, or what a killed process left of that
HOME/stages/.removing-*/        what is being removed, the same
"""

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from recbench.core.config import hash_value
from recbench.core.digests import file_sha256
from recbench.core.elapsed import NO_TIME, Elapsed
from recbench.core.errors import BadData, BadRequest, StageFailed, nearest
from recbench.core.home import converted_below
from recbench.core.records import StagePart
from recbench.running.host.measure import DeviceGauge, Meter
from recbench.running.stages.build_time import AttemptClock, Stopwatch
from recbench.running.stages.facts import StageFile, StageManifest

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
DOWNLOAD = "download"
PRETRAINED = "pretrained"
_KEPT = (DOWNLOAD, PRETRAINED)
"""Kinds that no run makes again by itself: they go only when they are named."""
_BUILDING, _REMOVING = ".building-", ".removing-"
_ALWAYS_HASH_BYTES = 64 << 20
"""Files up to this size are hashed at every use; larger ones only where size or time of change differ from the manifest."""
_LOCK_POLL_S = 0.1


class Collective(Protocol):
    """Processes that build a stage together."""

    @property
    def rank(self) -> int:
        """Number of this process."""

    @property
    def size(self) -> int:
        """Number of processes."""

    def broadcast(self, value: Any) -> Any:
        """Rank 0's JSON value, on every rank."""

    def barrier(self) -> None:
        """Waits until all ranks are here, however long that takes."""


@dataclass(frozen=True)
class Stage:
    """A finished stage.

    Attributes:
        name: name of the stage.
        key: sha256 of all that shaped it.
        folder: folder of its files.
        seconds: wall time when it was computed, killed attempts included.
        cpu_seconds: the same in processor time; None for an entry of an earlier version.
        peak_memory_bytes: peak host memory of the process that computed it.
        peak_device_memory_bytes: allocated on its accelerator; None where there was none, or nobody measured it.
        reused: True where it was found in the cache.
        earlier: time of killed attempts, of a stage that was built now.
    """

    name: str
    key: str
    folder: Path
    seconds: float
    peak_memory_bytes: int
    reused: bool
    peak_device_memory_bytes: int | None = None
    cpu_seconds: float | None = None
    earlier: Elapsed = NO_TIME

    def part(self) -> StagePart:
        """The stage as a record keeps it."""
        return StagePart(
            name=self.name,
            key=self.key,
            seconds=self.seconds,
            cpu_seconds=self.cpu_seconds,
            peak_memory_bytes=self.peak_memory_bytes,
            reused=self.reused,
            peak_device_memory_bytes=self.peak_device_memory_bytes,
        )

    def sums(self) -> dict[str, str]:
        """sha256 of each file, by its path below the folder with `/`, as they were when the stage was written or last checked."""
        return StageManifest.read(self.folder / MANIFEST).sums


class StageStore:
    """Finished stages below one folder, shared by any number of processes."""

    def __init__(
        self, root: Path, *, rerun: tuple[str, ...] = (), world: Collective | None = None, device: DeviceGauge | None = None
    ) -> None:
        self.root = root
        self._device = device
        self._rerun = set(rerun)
        self._rerun_done: set[str] = set()
        self._held: dict[Path, _InUse] = {}
        self._watches: list[Stopwatch] = []
        """Stopwatches of the stages that this process is building, the innermost last."""
        self._world = world if world is not None and world.size > 1 else None

    def alone(self) -> "StageStore":
        """The same stages for a process that works on its own, whatever group it belongs to."""
        store = StageStore(self.root, rerun=tuple(self._rerun), device=self._device)
        store._rerun_done, store._held, store._watches = self._rerun_done, self._held, self._watches
        return store

    def partial(self, name: str, key: str) -> Path:
        """The folder for checkpoints of a stage."""
        return self.root / "partial" / f"{name}-{key[:20]}"

    @staticmethod
    def key(name: str, parts: Mapping[str, Any]) -> str:
        """The key of a stage: sha256 of its name and of all that shapes it."""
        return hash_value({"stage": name, **parts})

    def get(self, name: str, parts: Mapping[str, Any], build: Callable[[Path], None], *, together: bool = False) -> Stage:
        """The stage of this name and key, built now unless it is there.

        Two processes that want one stage: one works, the other waits.

        Args:
            name: name of the stage.
            parts: JSON values of all that shapes the result.
            build: fills the empty folder it is given.
            together: under torchrun, whether every rank must call `build` (training) or rank 0 alone does.
        """
        key = self.key(name, parts)
        # A stage within a stage is paid for once, as itself: what it takes, or waits for, is no cost of the stage around it.
        with self._watches[-1].paused() if self._watches else nullcontext():
            return self._get_alone(name, key, build) if self._world is None else self._get_together(name, key, build, together=together)

    def finished(self, name: str, key: str) -> Stage | None:
        """The finished stage of this key, with its files as they were written; None where the cache has none."""
        with self._locked(name, key):
            return self._find(name, key)

    def _get_alone(self, name: str, key: str, build: Callable[[Path], None]) -> Stage:
        with self._locked(name, key):
            found = self._find(name, key)
            if found is not None:
                return found
            temporary = self._open(name, key)
            try:
                meter = self._measured(name, key, temporary, build)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
            return self._close(name, key, temporary, meter)

    def _get_together(self, name: str, key: str, build: Callable[[Path], None], *, together: bool) -> Stage:
        """Rank 0 holds the lock and decides for all between found and missing, so that no rank waits for another's work."""
        world = self._world
        assert world is not None
        lead = world.rank == 0
        with self._locked(name, key) if lead else nullcontext():
            found = self._find(name, key) if lead else None
            if world.broadcast(found is not None):
                return found if found is not None else self._read(name, key, reused=True)
            temporary = self._open(name, key, "" if lead else f"-rank{world.rank}")
            fault: Exception | None = None
            try:
                if lead or together:
                    meter = self._measured(name, key, temporary, build)
                    found = self._close(name, key, temporary, meter) if lead else None
            except Exception as error:
                fault = error
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            # A rank that fails alone in the middle of a collective step cannot be waited for: torchrun ends the others.
            if fault is not None and not (lead and not together):
                raise fault
            failed = world.broadcast(str(fault) if fault is not None else None)
            if fault is not None:
                raise fault
            if failed is not None:
                raise StageFailed(f"Stage {name!r} failed on rank 0: {failed}")
            return found if found is not None else self._read(name, key, reused=False)

    @contextmanager
    def _locked(self, name: str, key: str) -> Iterator[None]:
        path = self.root / "locks" / f"{name}-{key[:20]}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("waiting for stage %s, which another process computes", name)
            lock.acquire(poll_interval=_LOCK_POLL_S)
        try:
            yield
        finally:
            lock.release()

    def _folder(self, name: str, key: str) -> Path:
        return self.root / f"{name}-{key[:20]}"

    def _building(self, name: str, key: str, suffix: str = "") -> Path:
        return self.root / f"{_BUILDING}{name}-{key[:20]}{suffix}"

    def _find(self, name: str, key: str) -> Stage | None:
        folder = self._folder(name, key)
        if not folder.exists():
            return None
        if name in self._rerun and key not in self._rerun_done:
            self._rerun_done.add(key)
            log.info("recomputing stage %s, as asked", name)
            # Under the name of what is being built: should this process be killed here, whoever builds it next removes the rest.
            building = self._building(name, key)
            shutil.rmtree(building, ignore_errors=True)
            folder.rename(building)
            shutil.rmtree(self.partial(name, key), ignore_errors=True)
            return None
        fault = damage(folder)
        if fault is not None:
            aside = self.root / "damaged" / f"{folder.name}-{time.time_ns()}"
            aside.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(aside)
            log.warning("stage %s is damaged (%s); it was set aside as %s and is rebuilt", name, fault, aside.name)
            return None
        # Where it was finished and its process killed in that moment.
        shutil.rmtree(self.partial(name, key), ignore_errors=True)
        return self._read(name, key, reused=True)

    def _read(self, name: str, key: str, *, reused: bool) -> Stage:
        folder = self._folder(name, key)
        self._held[folder] = _InUse(folder)
        manifest = StageManifest.read(folder / MANIFEST)
        return Stage(
            name,
            key,
            folder,
            manifest.seconds,
            manifest.peak_memory_bytes,
            reused,
            manifest.peak_device_memory_bytes,
            manifest.cpu_seconds,
        )

    def _open(self, name: str, key: str, suffix: str = "") -> Path:
        temporary = self._building(name, key, suffix)
        # The lock is ours, so a folder of that name is what a killed process left.
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        return temporary

    def _measured(self, name: str, key: str, folder: Path, build: Callable[[Path], None]) -> Meter:
        clock = AttemptClock(self.partial(name, key))
        watch = Stopwatch()
        self._watches.append(watch)
        try:
            with Meter(lambda: clock.note(watch.elapsed()), self._device) as meter:
                build(folder)
        except BaseException:
            clock.note(watch.elapsed())
            raise
        finally:
            self._watches.pop()
        meter.earlier = clock.before
        meter.elapsed = clock.before + watch.elapsed()
        return meter

    def _close(self, name: str, key: str, temporary: Path, meter: Meter) -> Stage:
        files = {}
        for file in sorted(temporary.rglob("*")):
            if file.is_file():
                status = file.stat()
                path = file.relative_to(temporary).as_posix()
                files[path] = StageFile(bytes=status.st_size, mtime_ns=status.st_mtime_ns, sha256=file_sha256(file))
        manifest = StageManifest(
            stage=name,
            key=key,
            seconds=meter.elapsed.seconds,
            cpu_seconds=meter.elapsed.cpu_seconds,
            peak_memory_bytes=meter.peak_memory_bytes,
            peak_device_memory_bytes=meter.peak_device_memory_bytes,
            files=files,
        )
        manifest.write(temporary / MANIFEST, indent=1)
        self._rerun_done.add(key)
        temporary.rename(self._folder(name, key))
        shutil.rmtree(self.partial(name, key), ignore_errors=True)
        return replace(self._read(name, key, reused=False), earlier=meter.earlier)


class _InUse:
    """Keeps `cache clean` from a finished stage for as long as this object lives: a run reads its stages' files to its end."""

    def __init__(self, folder: Path) -> None:
        self._stream = (folder / MANIFEST).open("rb")
        with contextlib.suppress(OSError):  # a file system without such locks, where `cache clean` finds nothing in use
            fcntl.flock(self._stream, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def __del__(self) -> None:
        self._stream.close()


def _is_in_use(folder: Path) -> bool:
    """Tell whether a process holds an `_InUse` of this stage."""
    try:
        with (folder / MANIFEST).open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError as error:
        return error.errno in {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
    return False


def damage(folder: Path) -> str | None:
    """Fault of a finished stage's files, or None."""
    manifest = _manifest(folder)
    if manifest is None:
        return f"{MANIFEST} is missing or unreadable"
    for name, expected in manifest.files.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        status = file.stat()
        if status.st_size != expected.bytes:
            return f"{name} has {status.st_size} bytes instead of {expected.bytes}"
        is_touched = status.st_mtime_ns != expected.mtime_ns
        if (is_touched or status.st_size <= _ALWAYS_HASH_BYTES) and file_sha256(file) != expected.sha256:
            return f"{name} has other content than when it was written"
    return None


def _manifest(folder: Path) -> StageManifest | None:
    """The manifest of a finished stage; None where it is missing or incomplete."""
    try:
        return StageManifest.read(folder / MANIFEST)
    except (BadData, FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def stage_content(folder: Path) -> str | None:
    """sha256 over the content of a finished stage's files, read off its manifest; None where the folder is no stage.

    What it cost does not count: a stage that is built again with the same result leaves what follows from it in place.
    """
    manifest = _manifest(folder)
    return None if manifest is None else hash_value({"stage": manifest.stage, "files": manifest.sums})


@dataclass(frozen=True)
class CacheEntry:
    """One line of `recbench cache ls`."""

    name: str
    kind: str
    """The stage's name, `partial`, `damaged`, `download` for the files of a data set, or `pretrained` for a converted model; what a killed
    process left is `partial`."""
    size_bytes: int
    modified: float
    """Seconds since 1970."""
    folder: Path


def cache_entries(home: Path) -> list[CacheEntry]:
    """All downloads, converted models, stages, partial and damaged folders in the cache, largest first."""
    root, converted = home / "stages", converted_below(home)
    folders = [
        *((folder, DOWNLOAD) for folder in _subfolders(home / "datasets")),
        *((folder, PRETRAINED) for folder in _subfolders(converted)),
        *((folder, "partial") for folder in _subfolders(root / "partial")),
        *(
            (folder, "partial")
            for start in (_BUILDING, _REMOVING)
            for place in (root, converted)
            for folder in sorted(place.glob(f"{start}*"))
        ),
        *((folder, "damaged") for folder in _subfolders(root / "damaged")),
        *((folder, folder.name.rpartition("-")[0]) for folder in _subfolders(root) if (folder / MANIFEST).exists()),
    ]
    entries = []
    for folder, kind in folders:
        files = list(_statuses(folder))
        size = sum(status.st_size for status in files)
        name = folder.name.removeprefix(_BUILDING)
        entries.append(CacheEntry(name, kind, size, max((status.st_mtime for status in files), default=0.0), folder))
    return sorted(entries, key=lambda entry: (-entry.size_bytes, entry.name))


def clean_cache(home: Path, kinds: tuple[str, ...] = ()) -> list[CacheEntry]:
    """Remove entries of some kinds and return what was removed; what is in use is left alone.

    None named: everything that a run computes again. Downloads and converted models go only when they are named.
    """
    entries = cache_entries(home)
    known = {entry.kind for entry in entries} | {"partial", "damaged", *_KEPT}
    for kind in kinds:
        if kind not in known:
            raise BadRequest(f"The cache holds nothing of kind {kind!r}.{nearest(kind, known)} Known: {', '.join(sorted(known))}.")
    removed = []
    for entry in entries:
        if entry.kind not in kinds if kinds else entry.kind in _KEPT:
            continue
        if entry.folder.name.startswith(_REMOVING):
            shutil.rmtree(entry.folder, ignore_errors=True)  # nobody's any more; another process may be at it
            removed.append(entry)
            continue
        lock = FileLock(home / "stages" / "locks" / f"{entry.name}.lock")
        lock_folder = Path(lock.lock_file).parent
        lock_folder.mkdir(parents=True, exist_ok=True)
        try:
            with lock.acquire(timeout=0):
                if _is_in_use(entry.folder):
                    raise Timeout(lock.lock_file)
                _remove(entry.folder, home / "stages")
        except Timeout:
            log.info("%s is in use and was not removed", entry.name)
            continue
        removed.append(entry)
    return removed


def _remove(folder: Path, root: Path) -> None:
    """Take a folder away in one step; what a kill leaves of it has a name that nobody reads, and `cache clean` removes it."""
    doomed = root / f"{_REMOVING}{folder.name.lstrip('.')}-{time.time_ns()}"
    folder.rename(doomed)
    shutil.rmtree(doomed)


def _statuses(folder: Path) -> Iterator[os.stat_result]:
    """Statuses of all files below; a file that another process takes away just now has none."""
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                yield status


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")] if folder.is_dir() else []
