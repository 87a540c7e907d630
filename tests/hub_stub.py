"""A hub on this machine: as much of the Hugging Face hub's HTTP interface as pushing and pulling a model takes.

Blobs arrive by git-lfs "basic" transfer, commits as lines of JSON; a commit is seen whole or not at all.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Repo:
    private: bool
    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{".gitattributes": b"*.safetensors filter=lfs\n"}])

    def sha(self, number: int = -1) -> str:
        place = len(self.commits) - 1 if number < 0 else number
        return hashlib.sha1(f"commit {place}".encode()).hexdigest()

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision in {"main", "HEAD"}:
            return self.sha(), self.commits[-1]
        return next(((self.sha(n), files) for n, files in enumerate(self.commits) if self.sha(n) == revision), None)


@dataclass
class Hub:
    """State of the hub; tests look into it and set `fail_at`."""

    address: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and authorization of each request."""
    fail_at: str = ""
    """Part of a path at which requests are refused, with an answer that no client tries again."""
    token: str = "hf_of_the_test"

    def files(self, name: str) -> dict[str, bytes]:
        return self.repos[name].commits[-1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, content: Any, status: int = 200, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/octet-stream" if isinstance(content, bytes) else "application/json")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _refuse(self, status: int, code: str = "", message: str = "") -> None:
        self._answer({"error": message or code}, status, **({"X-Error-Code": code} if code else {}), X_Error_Message=message or code)

    def _handle(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        authorization = self.headers.get("Authorization") or ""
        hub.requests.append((self.command, path, authorization))
        if hub.fail_at and hub.fail_at in path:
            self._refuse(507, message="down for a test")
            return
        may_write = authorization == f"Bearer {hub.token}"
        if self.command == "PUT" and path.startswith("/blobs/"):
            hub.blobs[path.rpartition("/")[2]] = body
            self._answer({})
        elif path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self._create(json.loads(body), may_write)
        else:
            self._in_repo(path, body, may_write)

    do_GET = do_HEAD = do_POST = do_PUT = _handle

    def _create(self, wanted: dict[str, Any], may_write: bool) -> None:
        name = "/".join(filter(None, [wanted.get("organization"), wanted["name"]]))
        if not may_write:
            self._refuse(401, message="Invalid username or password.")
        elif name in self.hub.repos:
            self._answer({"error": "You already created this model repo", "url": f"{self.hub.address}/{name}"}, 409)
        else:
            self.hub.repos[name] = Repo(bool(wanted.get("private")) or wanted.get("visibility") == "private")
            self._answer({"url": f"{self.hub.address}/{name}", "name": name})

    def _in_repo(self, path: str, body: bytes, may_write: bool) -> None:
        parts = path.removeprefix("/api/models").removesuffix("/").strip("/").split("/")
        name, rest = "/".join(parts[:2]).removesuffix(".git"), parts[2:]
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and not may_write):
            self._refuse(401, "RepoNotFound", "Repository not found")
        elif rest[:1] == ["resolve"]:
            self._file(repo, rest[1], "/".join(rest[2:]))
        elif not rest or rest[0] == "revision":
            self._info(name, repo, rest[1] if rest else "main")
        elif not may_write:
            self._refuse(403, message="Forbidden")
        elif rest[0] == "preupload":
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular"} for f in files]
            self._answer({"files": [mode | {"shouldIgnore": False} for mode in modes]})
        elif rest == ["info", "lfs", "objects", "batch"]:
            objects = [
                {"oid": o["oid"], "size": o["size"]}
                | ({} if o["oid"] in self.hub.blobs else {"actions": {"upload": {"href": f"{self.hub.address}/blobs/{o['oid']}"}}})
                for o in json.loads(body)["objects"]
            ]
            self._answer({"transfer": "basic", "objects": objects})
        elif rest[0] == "commit":
            self._commit(name, repo, body)
        else:
            self._refuse(404, message=f"the stub knows no {self.command} {path}")

    def _info(self, name: str, repo: Repo, revision: str) -> None:
        found = repo.at(revision)
        if found is None:
            self._refuse(404, "RevisionNotFound", "Invalid rev id")
            return
        siblings = [{"rfilename": path, "size": len(data), "blobId": "0"} for path, data in found[1].items()]
        about = {"private": repo.private, "tags": [], "downloads": 0, "likes": 0, "createdAt": "2026-01-01T00:00:00.000Z"}
        self._answer({"id": name, "modelId": name, "sha": found[0], "siblings": siblings, **about})

    def _file(self, repo: Repo, revision: str, path: str) -> None:
        found = repo.at(revision)
        if found is None or path not in found[1]:
            self._refuse(404, "EntryNotFound" if found else "RevisionNotFound")
            return
        data = found[1][path]
        self._answer(data, ETag=f'"{hashlib.sha256(data).hexdigest()}"', X_Repo_Commit=found[0], Accept_Ranges="bytes")

    def _commit(self, name: str, repo: Repo, body: bytes) -> None:
        files = dict(repo.commits[-1])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header" and value.get("parentCommit") not in {None, repo.sha()}:
                self._refuse(412, message="A commit has happened since.")
                return
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        repo.commits.append(files)
        self._answer({"success": True, "commitOid": repo.sha(), "commitUrl": f"{self.hub.address}/{name}/commit/{repo.sha()}"})


@contextmanager
def hub_on_this_machine() -> Iterator[Hub]:
    """A hub that listens until the block ends."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
