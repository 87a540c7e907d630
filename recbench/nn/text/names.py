"""The forms in which a text encoder can be named."""

from pathlib import Path

MINILM = "minilm"
TFIDF_SVD = "tfidf-svd"
HUB_PREFIX = "hf:"
_PATH_STARTS = ("/", "./", "../", "~")


def is_path(encoder: str) -> bool:
    """Whether an encoder is the path of a folder: it starts like one."""
    return encoder.removeprefix(HUB_PREFIX).startswith(_PATH_STARTS)


def encoder_path(encoder: str) -> Path:
    """The folder that an encoder's path means."""
    return Path(encoder.removeprefix(HUB_PREFIX)).expanduser()


def hub_name(encoder: str) -> tuple[str, str | None] | None:
    """OWNER/NAME and REVISION of a model of the hub; None where the encoder is something else."""
    if not encoder.startswith(HUB_PREFIX) or is_path(encoder):
        return None
    name, at, revision = encoder.removeprefix(HUB_PREFIX).partition("@")
    parts = name.split("/")
    return (name, revision or None) if len(parts) == 2 and all(parts) and bool(revision) == bool(at) else None
