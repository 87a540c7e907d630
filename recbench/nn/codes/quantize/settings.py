"""Settings of the quantizers. Imports no torch, so that a plugin's config may inherit them."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from recbench.core.config import PluginConfig

Quantizer = Literal["rkmeans", "rqvae"]
Scaling = Literal["raw", "centred", "standardised"]


class QuantizerSettings(PluginConfig):
    """How item vectors become codes. A model's config may inherit these fields."""

    quantizer: Quantizer = "rkmeans"
    """`rkmeans`: k-means on what the levels before left over. `rqvae`: the same inside an autoencoder that is trained with it."""
    n_levels: PositiveInt = 3
    """Levels that carry meaning. One more, which only tells items of equal codes apart, is always appended (arXiv:2305.05065, 3.1)."""
    codebook_size: PositiveInt = 256
    """Codes per level (arXiv:2305.05065, section 4); fewer where there are fewer distinct vectors."""
    codes_seed: NonNegativeInt = 0
    """Seed of the quantizer. Apart from the run's seed: runs of several seeds share their codes."""
    rkmeans_scaling: Scaling = "centred"
    """Scaling of each dimension before residual k-means, which makes the same clusters of centred and raw vectors."""
    rkmeans_iterations: PositiveInt = 50
    """Rounds of k-means."""
    rkmeans_restarts: PositiveInt = 5
    """k-means runs from so many starts; the one with the smallest error is taken."""
    rqvae_scaling: Scaling = "standardised"
    """Scaling of each dimension before the RQ-VAE; LIGER's code standardises too."""
    rqvae_hidden: tuple[PositiveInt, ...] = (512, 256, 128)
    """Widths between the vectors and the latent space; the decoder mirrors them (arXiv:2305.05065, section 4)."""
    rqvae_latent: PositiveInt = 32
    """Width of the latent space that is quantised (arXiv:2305.05065, section 4)."""
    rqvae_beta: NonNegativeFloat = 0.25
    """Weight of the commitment term (arXiv:2305.05065, section 4)."""
    rqvae_epochs: PositiveInt = 3000
    """Passes over the items; the weights after the last one count. Re-implementations with AdamW take 3,000 (XiaoLongtaoo/TIGER) to 8,000
    (LIGER); the paper used Adagrad."""
    rqvae_batch_size: PositiveInt = 1024
    """Items per step (arXiv:2305.05065, section 4)."""
    rqvae_learning_rate: PositiveFloat = 1e-3
    """Learning rate of AdamW, as public re-implementations have it; the paper used Adagrad with 0.4."""
    rqvae_weight_decay: NonNegativeFloat = 1e-4
    """Weight decay of AdamW, on the weights of encoder and decoder."""
    rqvae_clip_norm: PositiveFloat | None = 1.0
    """Longest gradient."""
    rqvae_restart_share: float = Field(default=2 / 3, ge=0.0, le=1.0)
    """Codes that an epoch left unused start again at a random residual, in the epochs of this first share of the training."""
