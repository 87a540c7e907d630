"""Settings of PRORec. What the paper's public traces leave open is a setting here, never a constant in the code."""

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from recbench.nn.blocks import Seq2SeqSettings
from recbench.nn.codes import QuantizerSettings
from recbench.nn.text import TextSettings
from recbench.nn.training import Schedule, TrainingSettings

Fusion = Literal["concat", "collab", "mean", "naive-concat", "semantic", "collab-only"]
USES_ALIGNED: tuple[Fusion, ...] = ("concat", "collab", "mean")
USES_PLAIN: tuple[Fusion, ...] = ("naive-concat", "collab-only")


class PRORecConfig(TrainingSettings, Seq2SeqSettings, QuantizerSettings, TextSettings):
    """Both stages, beside the settings of text vectors, quantizer, encoder-decoder and the training of stage 2."""

    collab_encoder: Literal["din", "sasrec"] = "din"
    """Encoder that learns item vectors from sequences: attention to the candidate (DIN, as in EAGER's code), or causal self-attention."""
    collab_width: PositiveInt = 96
    """Size of the collaborative vectors, and of the adapted text vectors."""
    collab_history: PositiveInt = Field(default=19, ge=2)
    """Items of the history that the collaborative encoder reads, the newest ones."""
    collab_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of either encoder."""
    din_windows: tuple[PositiveInt, ...] = (5, 4, 2, 2, 1, 1, 1, 1, 1, 1)
    """How many places of the history, oldest first, are added up into one vector each; together `collab_history`."""
    din_attention: tuple[PositiveInt, PositiveInt] = (64, 16)
    """Hidden widths of the network that weighs a place by the candidate."""
    din_network: tuple[PositiveInt, PositiveInt] = (200, 80)
    """Hidden widths of the network that scores."""
    din_negatives: PositiveInt = 60
    """Negatives of a target, drawn uniformly."""
    sasrec_layers: PositiveInt = 2
    """Blocks of the causal encoder."""
    sasrec_heads: PositiveInt = 2
    """Its attention heads; must divide `collab_width`."""

    joint_batch_size: PositiveInt = 512
    """Targets of a batch of stage 1."""
    joint_learning_rate: PositiveFloat = 1e-3
    """Learning rate of stage 1; its optimiser is AdamW."""
    joint_weight_decay: NonNegativeFloat = 1e-4
    """Weight decay of stage 1, on matrices."""
    joint_schedule: Schedule = "constant"
    """Schedule of stage 1's rate after the warm-up."""
    joint_warmup_steps: NonNegativeInt = 0
    """Warm-up steps of stage 1."""
    joint_max_epochs: PositiveInt = 100
    """Passes of stage 1."""
    joint_max_steps: PositiveInt | None = None
    """Steps of stage 1; none: as many as its epochs hold."""
    joint_patience: PositiveInt | None = 5
    """Validations of stage 1 without a gain. Encoder `din` is not validated: it would score every pair of a user and an item."""
    sequence_input: Literal["collab", "integrated"] = "collab"
    """Input of the collaborative encoder for an item: its collaborative vector, or the sum of that and the adapted text vector."""

    adapter: Literal["adaln", "linear", "mlp"] = "adaln"
    """What brings text vectors into the collaborative space; `adaln`: a matrix, then layer normalisation whose scale and shift follow
    from `adaln_condition`."""
    adaln_condition: Literal["self", "collab", "none"] = "self"
    """From what: the text vector itself, the collaborative vector (without gradient), or nothing, a learnt scale and shift."""
    align_weight: NonNegativeFloat = 1.0
    """Weight of the alignment beside the next-item loss."""
    align_temperature: PositiveFloat = 0.07
    """Temperature that divides its cosines."""
    align_symmetric: bool = True
    """Whether text is also asked for its behaviour, not only behaviour for its text."""
    align_max_items: PositiveInt = Field(default=1024, ge=2)
    """Most distinct items of a batch that are aligned; of more, so many are drawn."""
    align_detach_collab: bool = False
    """Whether the alignment leaves the collaborative vectors alone."""

    fusion: Fusion = "concat"
    """What becomes a code. `concat`: collaborative and adapted text vector side by side; `collab`: the collaborative one, after alignment;
    `mean` of both; `naive-concat`: the plain collaborative and the plain text vector; `semantic`: the plain text vector; `collab-only`."""
    block_norm: Literal["l2", "center-l2", "none"] = "l2"
    """What is done to each vector before `concat`, `collab` and `mean` make one of them: length 1, the same after the mean over items is
    taken off, or nothing."""
    fill_untrained: bool = True
    """Give items without an event in the train part their adapted text vector in place of the collaborative one, which is chance."""
    domination: bool = True
    """Whether collaborative vectors without alignment are trained too, for the comparison of the spaces (`recbench show --domination`)."""

    kd_weight: NonNegativeFloat = 1.0
    """Weight of the distillation beside the mean loss of a code's tokens; 0: plain training on the codes."""
    kd_loss: Literal["infonce", "cosine", "mse"] = "infonce"
    """How the student's vector is held against the teacher's."""
    kd_position: Literal["after", "before", "encoder"] = "after"
    """Where the student's vector comes from: a summary token behind the target's code, the same alone before it, or the mean of the
    encoder's states."""
    kd_targets: Literal["integrated", "both"] = "integrated"
    """The teacher: the vectors that became codes, or collaborative and adapted text vector apart, with the mean of both losses."""
    kd_temperature: PositiveFloat = 0.3
    """Temperature of `infonce`."""
    kd_negatives: PositiveInt = 2048
    """Items of the catalogue that a batch's teachers are held against, under `infonce`."""

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        if self.collab_encoder == "din" and sum(self.din_windows) != self.collab_history:
            raise ValueError(
                f"din_windows={self.din_windows} add up to {sum(self.din_windows)}, not to collab_history={self.collab_history}"
            )
        if self.collab_encoder == "sasrec" and self.collab_width % self.sasrec_heads:
            raise ValueError(f"collab_width={self.collab_width} is not a multiple of sasrec_heads={self.sasrec_heads}")
        if self.kd_targets == "both" and self.kd_weight and self.fusion not in USES_ALIGNED:
            raise ValueError(f"kd_targets=both asks for adapted text vectors, which fusion={self.fusion} does not make")
        return self

    @property
    def joint_settings(self) -> TrainingSettings:
        """The training of stage 1."""
        return TrainingSettings(
            learning_rate=self.joint_learning_rate,
            weight_decay=self.joint_weight_decay,
            schedule=self.joint_schedule,
            warmup_steps=self.joint_warmup_steps,
            max_epochs=self.joint_max_epochs,
            max_steps=self.joint_max_steps,
            patience=self.joint_patience,
            clip_norm=self.clip_norm,
            checkpoint_every_s=self.checkpoint_every_s,
        )
