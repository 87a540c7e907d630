"""Settings of FDSA."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, PositiveInt, model_validator

from recbench.core import PluginConfig
from recbench.nn.blocks import EncoderSettings
from recbench.nn.text import AttributeFields, TextSettings
from recbench.nn.training import TrainingSettings


class NetworkSettings(EncoderSettings):
    """Both streams, which have equal sizes."""

    dropout: float = Field(default=0.5, ge=0, lt=1)
    """On what the blocks read, attention weights, the outputs of attention and network, and the joined state, in training."""


class FDSAConfig(PluginConfig):
    """Network, attributes, batches and training loop of FDSA."""

    network: NetworkSettings = NetworkSettings()
    attributes: AttributeFields = AttributeFields()
    text_encoder: str | None = None
    """Encoder of one more field, the item's text as a vector: `minilm`, `tfidf-svd`, `hf:OWNER/NAME` or a folder. None: no such field."""
    text_fields: tuple[str, ...] = ()
    """Columns of the item table that this text is made of; an item's empty ones, and those that the data set lacks, are skipped."""
    training: TrainingSettings = TrainingSettings()
    batch_targets: PositiveInt = 2048
    """Most targets of a batch, which holds at least one sequence."""

    @model_validator(mode="after")
    def _text_has_encoder_and_columns(self) -> Self:
        if (self.text_encoder is None) != (not self.text_fields):
            raise ValueError(
                f"text_encoder={self.text_encoder} and text_fields={list(self.text_fields)}: the field of text needs both, or neither"
            )
        _ = self.text  # an encoder of no known form is refused here
        return self

    @property
    def text(self) -> TextSettings | None:
        """How the field of text is made; None where there is none."""
        if self.text_encoder is None:
            return None
        return TextSettings(encoder=self.text_encoder, fields=self.text_fields, optional_fields=self.text_fields)

    def named_files(self) -> tuple[Path, ...]:
        """The folder of an encoder that is given by path or lies in a package."""
        return () if self.text is None else self.text.named_files()

    def named_revisions(self) -> Mapping[str, str]:
        """The commit of an encoder of the hub."""
        of_text = {} if self.text is None else self.text.named_revisions()
        return {f"text_{name}": revision for name, revision in of_text.items()}
