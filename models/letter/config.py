"""Settings of LETTER."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from recbench.core import PluginConfig
from recbench.nn.blocks import Seq2SeqSettings
from recbench.nn.codes import RQVAESettings
from recbench.nn.text import TextSettings
from recbench.nn.training import TrainingSettings

Setting = bool | int | float | str


class CodeSettings(PluginConfig):
    """The RQ-VAE, and how its codes are chosen."""

    n_levels: PositiveInt = 4
    """Levels of a code."""
    codebook_size: PositiveInt = Field(default=256, ge=2)
    """Codes of a level; fewer where there are fewer distinct vectors."""
    seed: NonNegativeInt = 0
    """Seed of the quantizer. Apart from the run's seed: runs of several seeds share their codes."""
    rqvae: RQVAESettings = RQVAESettings()
    """Sizes and training of the autoencoder; `beta` in there is the weight of the commitment, which the source calls mu."""
    start: Literal["balanced", "kmeans"] = "balanced"
    """First entries, on what the untrained encoder makes of the items: k-means whose clusters are of like size, or plain k-means."""
    last_level: Literal["sinkhorn", "nearest"] = "sinkhorn"
    """How training assigns the last level: all codes in equal use over a batch, or the nearest entry, as on the other levels."""
    parting_rounds: NonNegativeInt = 20
    """How often, after training, items that share a code are given new codes of the last level in equal use. What is still shared then,
    a matching parts."""


class AlignmentSettings(PluginConfig):
    """The pull of an item's quantised vector to its vector of behaviour."""

    weight: NonNegativeFloat = 0.1
    """Weight of the loss, alpha of the paper. 0: none, and no SASRec is trained."""
    preset: str = "cpu"
    """Preset of the SASRec whose item vectors are the target; its width is `codes.rqvae.latent`."""
    settings: Mapping[str, Setting | Mapping[str, Setting]] = {}
    """Settings of it, in groups as its own preset has them, laid over that."""
    seed: NonNegativeInt = 0
    """Seed of that model. Apart from the run's seed: runs of several seeds share their codes."""


class DiversitySettings(PluginConfig):
    """The pull of a code's entry to another one of its cluster of entries."""

    weight: NonNegativeFloat = 1e-4
    """Weight of the loss, beta of the paper. 0: none."""
    n_clusters: PositiveInt = 10
    """Clusters of the entries of a level, made anew for every pass."""
    least: PositiveInt = 10
    """Fewest entries of a cluster."""
    most: PositiveInt = 60
    """Most entries of a cluster."""


class LETTERConfig(PluginConfig):
    """Item text and behaviour to codes, codes to lists."""

    text: TextSettings = TextSettings()
    codes: CodeSettings = CodeSettings()
    alignment: AlignmentSettings = AlignmentSettings()
    diversity: DiversitySettings = DiversitySettings()
    generator: Seq2SeqSettings = Seq2SeqSettings()
    temperature: PositiveFloat = 1.0
    """Divides the logits of the generator's loss, tau of the paper; below 1, likely wrong tokens weigh more. The search does without."""
    training: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _clusters_hold_the_entries(self) -> Self:
        clusters, size = self.diversity, self.codes.codebook_size
        if not clusters.n_clusters * clusters.least <= size <= clusters.n_clusters * clusters.most:
            raise ValueError(
                f"codes.codebook_size={size} entries cannot be divided among diversity.n_clusters={clusters.n_clusters} clusters of "
                f"{clusters.least} to {clusters.most}"
            )
        return self
