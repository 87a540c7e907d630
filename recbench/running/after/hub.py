"""Shared models on a hub, by the client of huggingface_hub: one commit up, files of one commit down.

Who is asked and with which token is huggingface_hub's own business (`hf auth login`, HF_TOKEN, HF_ENDPOINT): recbench neither reads nor
writes a token.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from recbench.about import VERSION
from recbench.core.errors import BadRequest, DataUnavailable
from recbench.core.shared_model import CARD_FILE, MANIFEST_FILE
from recbench.running.after.export import SharedModel

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

_TRANSPORTS = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3"}
_AGAIN = "Try again; what has arrived is kept."
_KEPT = {".gitattributes"}
"""Files of a repository that a push leaves alone: which files are stored by their sum."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")


class Repository:
    """A shared model in a repository of a hub, as it is at one commit."""

    def __init__(self, name: str, revision: str | None = None) -> None:
        """`revision` is a branch, a tag or a commit; None: the newest commit."""
        self.name = checked_name(name)
        self._asked = revision

    @property
    def revision(self) -> str:
        """The commit."""
        return str(self._info.sha)

    def sizes(self) -> Mapping[str, int]:
        """Size of each file as the hub tells it."""
        return {file.rfilename: file.size for file in self._info.siblings or () if file.size is not None}

    def fetch(self, name: str) -> Path:
        """The file in the client's own cache, where an interrupted download goes on."""
        with _answers(self.name):
            return Path(_api().hf_hub_download(self.name, name, revision=self.revision))

    @cached_property
    def _info(self) -> "ModelInfo":
        with _answers(self.name):
            return _api().model_info(self.name, revision=self._asked, files_metadata=True)


def push(shared: SharedModel, name: str, readme: str, *, private: bool = False) -> str:
    """Put a model into a repository, which is made where there is none; returns the address of the commit.

    All files arrive in one commit, and what an earlier push left there goes in the same: whoever pulls sees one model or the other, and
    an upload that was cut off is seen by nobody. The next one sends only what the hub does not have.

    Args:
        shared: the model.
        name: OWNER/NAME.
        readme: text of its card.
        private: True to make a new repository one that only its owner sees.

    Raises:
        DataUnavailable: the hub cannot be reached, or does not let this token in.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    checked_name(name)
    contents: dict[str, bytes | Path] = {CARD_FILE: readme.encode(), MANIFEST_FILE: shared.manifest.to_json().encode(), **shared.files}
    with _answers(name):
        api = _api()
        api.create_repo(name, private=private or None, exist_ok=True)
        before = api.model_info(name)
        stale = {file.rfilename for file in before.siblings or ()} - {*contents, *_KEPT}
        added = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=content) for path, content in contents.items()]
        removed = [CommitOperationDelete(path_in_repo=path) for path in sorted(stale)]
        message = f"Add {shared.record.run_id}"
        with warnings.catch_warnings():
            # The client asks whether tables were meant for a repository of data; these are small and belong to the model.
            warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
            commit = api.create_commit(name, [*added, *removed], commit_message=message, parent_commit=before.sha)
    return str(commit.commit_url)


def checked_name(name: str) -> str:
    """A name of the form OWNER/NAME; else a `BadRequest`."""
    if not _NAME.fullmatch(name):
        raise BadRequest(f"{name!r} is no name of a repository. Write OWNER/NAME, of letters, digits and _ . -")
    return name


def _api() -> "HfApi":
    from huggingface_hub import HfApi

    return HfApi(library_name="recbench", library_version=VERSION)


@contextmanager
def _answers(name: str) -> Iterator[None]:
    """Turn whatever the client raises into a sentence; the token is in none of them."""
    from huggingface_hub import errors

    try:
        yield
    except errors.OfflineModeIsEnabled:
        raise DataUnavailable(f"{name}: HF_HUB_OFFLINE keeps this machine from asking the hub. Unset it, or name a folder.") from None
    except errors.GatedRepoError:
        raise DataUnavailable(f"{name}: its owner lets in only those who asked. Ask on its page, then log in: hf auth login") from None
    except errors.RepositoryNotFoundError:
        raise DataUnavailable(
            f"{name}: the hub shows no such repository. Check the name; for a private one log in: hf auth login"
        ) from None
    except errors.RevisionNotFoundError:
        raise DataUnavailable(f"{name}: the hub has no such revision. Name a branch, a tag or a commit.") from None
    except errors.LocalTokenNotFoundError:
        raise DataUnavailable(f"{name}: this machine has no token for the hub. Log in: hf auth login") from None
    except errors.HfHubHTTPError as error:
        raise DataUnavailable(f"{name}: the hub answers {_said(error)}. {_advice(error)}") from None
    except Exception as error:
        # What lies below the client: connections, and sums of a transfer that do not fit. The library for that is another in each of its
        # major versions.
        cause = error.__cause__ or error
        if not isinstance(error, (OSError, RuntimeError, ValueError)) and type(error).__module__.partition(".")[0] not in _TRANSPORTS:
            raise
        reason = _said(cause) if isinstance(cause, errors.HfHubHTTPError) else (str(cause).splitlines() or [type(cause).__name__])[0]
        raise DataUnavailable(f"{name}: the hub cannot be asked: {reason.rstrip('.')}. {_AGAIN}") from None


def _said(error: "Exception") -> str:
    """Status and message of an answer."""
    status = getattr(getattr(error, "response", None), "status_code", "with an error")
    message = getattr(error, "server_message", None)
    return f"{status}" + (f" ({str(message).rstrip('.')})" if message else "")


def _advice(error: "Exception") -> str:
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if status in {401, 403}:
        return "Log in with a token that may write there: hf auth login"
    if status in {409, 412}:
        return "Somebody else wrote there meanwhile. Look at the repository, then try again."
    return _AGAIN
