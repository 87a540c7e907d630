"""sha256 of files and of what was read from them."""

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, as hexadecimal digits; an `OSError` where it cannot be read."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of(content: bytes) -> str:
    """sha256 of bytes, as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
