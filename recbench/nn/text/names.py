"""The forms in which a text encoder can be named."""

from pathlib import Path

MINILM = "minilm"
SMOLLM2 = "smollm2"
"""SmolLM2-135M-Instruct, which `recbench cache add smollm2` converts into the cache."""
TFIDF_SVD = "tfidf-svd"
HUB_PREFIX = "hf:"
_PATH_STARTS = ("/", "./", "../", "~")


def is_pretrained_name(encoder: str) -> bool:
    """Whether a text has the form of the name of pretrained weights: `minilm`, `smollm2`, a model of the hub or the path of a folder."""
    return encoder in {MINILM, SMOLLM2} or is_path(encoder) or hub_name(encoder) is not None


def has_revisions(encoder: str) -> bool:
    """Whether a name leaves open which release of a model is read, and the model itself says which; of others their content is the key."""
    return encoder == SMOLLM2 or hub_name(encoder) is not None


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
