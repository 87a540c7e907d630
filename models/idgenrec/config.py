"""Settings of IDGenRec."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from recbench.core import PluginConfig
from recbench.core.errors import BadRequest
from recbench.nn.blocks import Seq2SeqSettings
from recbench.nn.text import HUB_PREFIX, EncoderFolder, hub_name, is_path, locate_encoder
from recbench.nn.training import TrainingSettings

SCRATCH = "scratch"
"""The backbone that is no pretrained model: random weights, and a token for each word."""


class BackboneSettings(PluginConfig):
    """The weights that the network starts from."""

    name: str = SCRATCH
    """`scratch`: random ones, and every word of the phrases is a token. `hf:OWNER/NAME`, `hf:OWNER/NAME@REVISION` or the path of a folder:
    a pretrained T5 of the sizes under `generator`, and the phrases are cut into the pieces of its tokenizer."""

    @model_validator(mode="after")
    def _has_a_known_form(self) -> Self:
        if self.name != SCRATCH and not is_path(self.name) and hub_name(self.name) is None:
            raise ValueError(f"name={self.name!r} is none of {SCRATCH}, hf:OWNER/NAME, hf:OWNER/NAME@REVISION or the path of a folder")
        return self

    def named_files(self) -> tuple[Path, ...]:
        """A backbone given by path."""
        return (self.located().folder,) if is_path(self.name) else ()

    def named_revisions(self) -> Mapping[str, str]:
        """The commit of a backbone of the hub; `DataUnavailable` where it is not here and cannot be had."""
        return {} if hub_name(self.name) is None else {"name": HUB_PREFIX + self.located().name}

    def located(self) -> EncoderFolder:
        """Folder of the pretrained backbone; a sentence that names the ways out where it is missing."""
        try:
            return locate_encoder(self.name, "backbone.name")
        except BadRequest as error:
            raise type(error)(
                f"{error} Or name a folder with --set backbone.name=PATH, or take --preset paper-scratch or cpu, which need no backbone."
            ) from error


class IDGenRecConfig(PluginConfig):
    """Phrases to IDs, IDs to lists."""

    phrases: Literal["ids: phase 0, frozen"] = "ids: phase 0, frozen"
    """Which phrases are the IDs: those of the column, as they stood before the writer was trained with the recommender."""
    backbone: BackboneSettings = BackboneSettings()
    generator: Seq2SeqSettings = Seq2SeqSettings(item_places=True)
    training: TrainingSettings = TrainingSettings()
