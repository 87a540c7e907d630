"""Processes that do not begin by importing torch: a server that has imported the libraries, and nothing of ours, forks them.

Importing torch and transformers takes seconds of computing, and dozens of tests need a process of its own. Inside a session of tests
`subprocess.Popen` is the class below, for tests and for the code they test alike. It asks the server for commands that run recbench,
torchrun, pytest or a script of the tests (`PYTHON -P -m recbench...`, `PYTHON SCRIPT.py ...`, and `PYTHON -u -m recbench...`, as torchrun
starts its workers), and starts all others as ever, among them every test of what an interpreter imports (`-c`, or `-m` alone). A forked
process differs from a started one in that the libraries are in memory: it has its own environment, folder, pipes, signals and exit
status, imports recbench itself and is measured for coverage.

As a script, `preloaded.py LISTENER`, this file is the server: LISTENER is the descriptor of a socket, one connection per process.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_LIBRARIES = (
    "coverage",
    "faiss",
    "pandas",
    "pyarrow.parquet",
    "pydantic",
    "scipy.sparse",
    "sklearn.cluster",
    "torch",
    "transformers.models.llama.modeling_llama",
    "transformers.models.t5.modeling_t5",
    "typer",
)
_ADDRESS, _KNOWN = "TESTS_PRELOADED_ADDRESS", "TESTS_PRELOADED_KNOWN"
"""Where the server listens, and what of `_READ_AT_START` it began with, for this process and those that it forks."""
_READ_AT_START = ("HF_", "LD_", "MKL_", "OMP_", "PYTHON", "TORCH_", "TRANSFORMERS_", "ATEN_")
"""Beginnings of names of variables that the interpreter or a library has read when a process is forked."""
_READ_LATER = {"PYTHONPATH", "TORCH_NCCL_ASYNC_ERROR_HANDLING"}
"""Names of variables that begin so and are not: a forked process reads the first again, and torchrun sets the other for its workers."""
_WORD = struct.Struct("i")
_Process: Any = subprocess.Popen


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_START) and name not in _READ_LATER}


def _is_ours(command: Any) -> bool:
    """Whether the server may run it."""
    match command:
        case [sys.executable, "-P", "-m", str(module), *_]:
            return module.startswith("recbench") or module in {"pytest", "torch.distributed.run"}
        case [sys.executable, "-u", "-m", str(module), *_]:
            return module.startswith("recbench")
        case [sys.executable, str(script), *_]:
            return script.endswith(".py")
    return False


class PreloadedPopen(_Process):
    """`subprocess.Popen`, whose process is forked by the server where the command is one for it."""

    _status: socket.socket | None = None
    """Tells the process id, and at its end the status of `os.waitpid`; none where the process is a child of this one."""

    def __init__(self, args: Any, *more: Any, **options: Any) -> None:
        environment = os.environ if options.get("env") is None else options["env"]
        is_plain = not more and set(options) <= {"cwd", "env", "start_new_session", "stdin", "stdout", "stderr", "text"}
        self._is_leader = bool(options.get("start_new_session"))
        self._is_forked = is_plain and _is_ours(args) and _read_at_start(environment) == json.loads(os.environ[_KNOWN])
        super().__init__(args, *more, **options)

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, cwd: Any, env: Any, startupinfo: Any,
        creationflags: Any, shell: Any, p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int, errread: int, errwrite: int, *rest: Any
    ) -> None:  # fmt: skip
        if not self._is_forked:
            super()._execute_child(
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo,
                creationflags, shell, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *rest
            )  # fmt: skip
            return
        request = {
            "command": [str(word) for word in args[1:]],
            "folder": str(Path(cwd or ".").absolute()),
            "environment": dict(os.environ if env is None else env),
            "is_leader": self._is_leader,
        }
        data = json.dumps(request).encode() + b"\n"
        streams = [own if given == -1 else given for own, given in enumerate((p2cread, c2pwrite, errwrite))]
        self._status = socket.socket(socket.AF_UNIX)
        self._status.connect(os.environ[_ADDRESS])
        sent = socket.send_fds(self._status, [data], streams)
        self._status.sendall(data[sent:])
        self.pid = self._told()
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _told(self) -> int:
        word = self._status.recv(_WORD.size) if self._status is not None else b""
        if len(word) < _WORD.size:
            raise RuntimeError("The server of preloaded processes ended. Its stderr says why.")
        return int(_WORD.unpack(word)[0])

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._status is None:
            return super()._try_wait(wait_flags)
        ready, _, _ = select.select([self._status], [], [], 0 if wait_flags & os.WNOHANG else None)
        if not ready:
            return 0, 0
        status = self._told()
        self._status.close()
        return self.pid, status

    def _internal_poll(self, *arguments: Any, **options: Any) -> int | None:
        if self._status is None:
            return super()._internal_poll(*arguments, **options)
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):
            try:
                pid, status = (0, 0) if self.returncode is not None else self._try_wait(os.WNOHANG)
                if pid:
                    self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode


@contextlib.contextmanager
def preloaded_processes() -> Iterator[None]:
    """A server, which imports nothing before the first process is asked for; `subprocess.Popen` asks it meanwhile."""
    if sys.platform != "linux":  # elsewhere a process that has loaded such libraries may not fork
        yield
        return
    folder = Path(tempfile.mkdtemp(prefix="rb-"))  # the path of a socket must be short
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")} | {"HF_HUB_OFFLINE": "1"}
    kept = subprocess.Popen
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "listener"))
        listener.listen(64)
        command = [sys.executable, "-P", __file__, str(listener.fileno())]
        server = kept(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[listener.fileno()])
    os.environ |= {_ADDRESS: str(folder / "listener"), _KNOWN: json.dumps(_read_at_start(environment))}
    subprocess.Popen = PreloadedPopen
    try:
        yield
    finally:
        subprocess.Popen = kept
        del os.environ[_ADDRESS], os.environ[_KNOWN]
        # Waited for, so that whoever measures the session counts its seconds.
        server.communicate(timeout=60)
        shutil.rmtree(folder)


def join_preloaded_processes() -> None:
    """Let `subprocess.Popen` ask the server of whoever started this process, if it has one."""
    if _ADDRESS in os.environ:
        subprocess.Popen = PreloadedPopen


def _received(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, streams, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while not data.endswith(b"\n"):
        data += connection.recv(1 << 16)
    return json.loads(data), streams


def _reap() -> None:
    """Takes note of forked processes that ended, so that their seconds count as those of the server's children."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _serve(listener: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Forks for every connection. Returns in each forked process with what it shall be, and in the server when its stdin ends."""
    asked = False
    while True:
        ready, _, _ = select.select([listener, 0], [], [])
        _reap()
        if 0 in ready:
            return None
        connection, _ = listener.accept()
        if not asked:
            subprocess.Popen = PreloadedPopen  # torchrun's library takes the name along when it is imported
            for name in _LIBRARIES:
                importlib.import_module(name)
            # What is never collected stays shared with the forked processes.
            gc.freeze()
            asked = True
        with connection:
            request, streams = _received(connection)
            if os.fork() == 0:
                # Between the server and the process: this one waits for its end and tells it.
                listener.close()
                pid = os.fork()
                if pid == 0:
                    return request, streams
                for stream in streams:
                    os.close(stream)
                connection.sendall(_WORD.pack(pid))
                status = os.waitpid(pid, 0)[1]
                with contextlib.suppress(BrokenPipeError):
                    connection.sendall(_WORD.pack(status))
                os._exit(0)
            for stream in streams:
                os.close(stream)


def _become(command: Sequence[str], folder: str, environment: Mapping[str, str], is_leader: bool, streams: Sequence[int]) -> None:
    """What an interpreter is after its start."""
    if is_leader:
        os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    of_server = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    given = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = [*given, *(entry for entry in sys.path if entry not in of_server)]
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if any(name.startswith("COVERAGE_PROCESS") for name in environment):
        import coverage

        coverage.process_startup()
    join_preloaded_processes()
    is_module = command[1:2] == ["-m"]
    sys.argv = list(command[2:] if is_module else command)
    if is_module:
        if command[0] != "-P":
            sys.path.insert(0, folder)
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(sys.argv[0]).parent))
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    task = _serve(socket.socket(fileno=int(sys.argv[1])))
    if task is not None:
        _become(**task[0], streams=task[1])
