"""Settings of the quantizers. Imports no torch, so that a plugin's config may hold them."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from recbench.core.config import PluginConfig

Quantizer = Literal["rkmeans", "rqvae"]
Scaling = Literal["raw", "centred", "standardised"]


class ResidualKMeansSettings(PluginConfig):
    """Residual k-means."""

    scaling: Scaling = "centred"
    """Scaling of each dimension; the same clusters are made of centred and raw vectors."""
    iterations: PositiveInt = 50
    """Rounds of k-means."""
    restarts: PositiveInt = 5
    """k-means runs from so many starts; the one with the smallest error is taken."""


class RQVAESettings(PluginConfig):
    """RQ-VAE and its training."""

    scaling: Scaling = "standardised"
    """Scaling of each dimension; LIGER's code standardises too."""
    hidden: tuple[PositiveInt, ...] = (512, 256, 128)
    """Widths between the vectors and the latent space; the decoder mirrors them (arXiv:2305.05065, section 4)."""
    latent: PositiveInt = 32
    """Width of the latent space that is quantised (arXiv:2305.05065, section 4)."""
    beta: NonNegativeFloat = 0.25
    """Weight of the commitment term (arXiv:2305.05065, section 4)."""
    epochs: PositiveInt = 3000
    """Passes over the items; the weights after the last one count. Re-implementations with AdamW take 3,000 (XiaoLongtaoo/TIGER) to 8,000
    (LIGER); the paper used Adagrad."""
    batch_size: PositiveInt = 1024
    """Items per step (arXiv:2305.05065, section 4)."""
    learning_rate: PositiveFloat = 1e-3
    """Learning rate of AdamW, as public re-implementations have it; the paper used Adagrad with 0.4."""
    weight_decay: NonNegativeFloat = 1e-4
    """Weight decay of AdamW, on the weights of encoder and decoder."""
    clip_norm: PositiveFloat | None = 1.0
    """Longest gradient."""
    restart_share: float = Field(default=2 / 3, ge=0.0, le=1.0)
    """Codes that an epoch left unused start again at a random residual, in the epochs of this first share of the training."""


class QuantizerSettings(PluginConfig):
    """How item vectors become codes."""

    quantizer: Quantizer = "rkmeans"
    """`rkmeans`: k-means on what the levels before left over. `rqvae`: the same inside an autoencoder that is trained with it."""
    n_levels: PositiveInt = 3
    """Levels that carry meaning. One more, which only tells items of equal codes apart, is always appended (arXiv:2305.05065, 3.1)."""
    codebook_size: PositiveInt = 256
    """Codes per level (arXiv:2305.05065, section 4); fewer where there are fewer distinct vectors."""
    seed: NonNegativeInt = 0
    """Seed of the quantizer. Apart from the run's seed: runs of several seeds share their codes."""
    rkmeans: ResidualKMeansSettings = ResidualKMeansSettings()
    rqvae: RQVAESettings = RQVAESettings()
