"""Settings of the quantizers. Imports no torch, so that a plugin's config may hold them."""

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

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

    @property
    def trains(self) -> bool:
        """Whether the quantizer is a training that a budget could end early, which residual k-means is not."""
        return self.quantizer != "rkmeans"


class SinkhornSettings(PluginConfig):
    """How the codes of a level are used evenly in training: by optimal transport of a batch to the entries (Cuturi, arXiv:1306.0895)."""

    epsilon: float | None = Field(default=0.003, ge=0.003)
    """Weight of the entropy, the smaller, the nearer to whole assignments (RUCAIBox/LC-Rec); none: the nearest entry is taken."""
    iterations: PositiveInt = 50
    """How often rows and columns of the plan are scaled."""


class ProductSettings(PluginConfig):
    """How item vectors become one digit for each stretch of their dimensions: whitening, then (optimized) product quantization."""

    width: PositiveInt = 128
    """Principal components that the vectors are whitened to; a multiple of `n_digits`."""
    whitened_on: Literal["all", "train"] = "all"
    """Items that the whitening is fitted on: all of the catalogue, or those that occur in the train part."""
    unit_length: bool = False
    """Divide every whitened vector by its length."""
    n_digits: PositiveInt = 32
    """Digits of a code."""
    codebook_size: PositiveInt = 256
    """Values of a digit; fewer where there are fewer distinct vectors."""
    rotation: Literal["opq", "none"] = "opq"
    """`opq`: an orthogonal matrix, learnt in turns with the codebooks, comes first (Ge et al. 2014). `none`: plain product quantization,
    many times faster; whitened vectors leave a rotation little to gain."""
    rounds: PositiveInt = 50
    """How often the rotation is fitted again."""
    iterations: PositiveInt = 25
    """Rounds of k-means for the codebooks."""
    trained_on: Literal["all", "train"] = "train"
    """Items that rotation and codebooks are made from."""
    collisions: Literal["keep", "reassign", "number"] = "keep"
    """`keep`: items may share a code. `reassign`: items that share one get free values of the last digit (arXiv:2605.25330), as few of them
    as possible. `number`: one more digit, which only tells items of equal codes apart."""
    seed: NonNegativeInt = 0
    """Seed of the quantizer. Apart from the run's seed: runs of several seeds share their codes."""

    @model_validator(mode="after")
    def _digits_divide_width(self) -> Self:
        if self.width % self.n_digits:
            raise ValueError(f"width={self.width} is not a multiple of n_digits={self.n_digits}")
        return self
