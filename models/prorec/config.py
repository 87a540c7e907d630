"""Settings of PRORec. What the paper's public traces leave open is a setting here, never a constant in the code."""

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from recbench.core import PluginConfig
from recbench.nn.blocks import Seq2SeqSettings
from recbench.nn.codes import QuantizerSettings
from recbench.nn.text import TextSettings
from recbench.nn.training import Schedule, TrainingSettings

Fusion = Literal["concat", "collab", "mean", "naive-concat", "semantic", "collab-only"]
USES_ALIGNED: tuple[Fusion, ...] = ("concat", "collab", "mean")
USES_PLAIN: tuple[Fusion, ...] = ("naive-concat", "collab-only")


class DINSettings(PluginConfig):
    """Attention to the candidate."""

    windows: tuple[PositiveInt, ...] = (5, 4, 2, 2, 1, 1, 1, 1, 1, 1)
    """How many places of the history, oldest first, are added up into one vector each; together `collaborative.history`."""
    attention: tuple[PositiveInt, PositiveInt] = (64, 16)
    """Hidden widths of the network that weighs a place by the candidate."""
    network: tuple[PositiveInt, PositiveInt] = (200, 80)
    """Hidden widths of the network that scores."""
    negatives: PositiveInt = 60
    """Negatives of a target, drawn uniformly."""


class CausalSettings(PluginConfig):
    """Causal self-attention."""

    layers: PositiveInt = 2
    """Blocks of the causal encoder."""
    heads: PositiveInt = 2
    """Its attention heads; must divide `collaborative.width`."""


class CollaborativeSettings(PluginConfig):
    """The encoder of sequences."""

    encoder: Literal["din", "sasrec"] = "din"
    """Encoder that learns item vectors from sequences: attention to the candidate (DIN, as in EAGER's code), or causal self-attention."""
    width: PositiveInt = 96
    """Size of the collaborative vectors, and of the adapted text vectors."""
    history: PositiveInt = Field(default=19, ge=2)
    """Items of the history that the collaborative encoder reads, the newest ones."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of either encoder."""
    din: DINSettings = DINSettings()
    sasrec: CausalSettings = CausalSettings()

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        windows = self.din.windows
        if self.encoder == "din" and sum(windows) != self.history:
            raise ValueError(f"din.windows={windows} add up to {sum(windows)}, not to history={self.history}")
        if self.encoder == "sasrec" and self.width % self.sasrec.heads:
            raise ValueError(f"width={self.width} is not a multiple of sasrec.heads={self.sasrec.heads}")
        return self


class JointSettings(PluginConfig):
    """The training of stage 1."""

    batch_size: PositiveInt = 512
    """Targets of a batch of stage 1."""
    learning_rate: PositiveFloat = 1e-3
    """Learning rate of stage 1; its optimiser is AdamW."""
    weight_decay: NonNegativeFloat = 1e-4
    """Weight decay of stage 1, on matrices."""
    schedule: Schedule = "constant"
    """Schedule of stage 1's rate after the warm-up."""
    warmup_steps: NonNegativeInt = 0
    """Warm-up steps of stage 1."""
    max_epochs: PositiveInt = 100
    """Passes of stage 1."""
    max_steps: PositiveInt | None = None
    """Steps of stage 1; none: as many as its epochs hold."""
    patience: PositiveInt | None = 5
    """Validations of stage 1 without a gain. Encoder `din` is not validated: it would score every pair of a user and an item."""
    sequence_input: Literal["collab", "integrated"] = "collab"
    """Input of the collaborative encoder for an item: its collaborative vector, or the sum of that and the adapted text vector."""

    def training(self, of_stage_2: TrainingSettings) -> TrainingSettings:
        """Settings of the training loop; what both stages share is that of stage 2."""
        own = {name: getattr(self, name) for name in type(self).model_fields.keys() & TrainingSettings.model_fields.keys()}
        return TrainingSettings(clip_norm=of_stage_2.clip_norm, checkpoint_every_s=of_stage_2.checkpoint_every_s, **own)


class AdapterSettings(PluginConfig):
    """What brings text vectors into the collaborative space."""

    kind: Literal["adaln", "linear", "mlp"] = "adaln"
    """What brings text vectors into the collaborative space; `adaln`: a matrix, then layer normalisation whose scale and shift follow
    from `condition`."""
    condition: Literal["self", "collab", "none"] = "self"
    """From what: the text vector itself, the collaborative vector (without gradient), or nothing, a learnt scale and shift."""


class AlignmentSettings(PluginConfig):
    """The alignment of behaviour and text in stage 1."""

    weight: NonNegativeFloat = 1.0
    """Weight of the alignment beside the next-item loss."""
    temperature: PositiveFloat = 0.07
    """Temperature that divides its cosines."""
    symmetric: bool = True
    """Whether text is also asked for its behaviour, not only behaviour for its text."""
    max_items: PositiveInt = Field(default=1024, ge=2)
    """Most distinct items of a batch that are aligned; of more, so many are drawn."""
    detach_collab: bool = False
    """Whether the alignment leaves the collaborative vectors alone."""


class FusionSettings(PluginConfig):
    """What becomes a code."""

    kind: Fusion = "concat"
    """What becomes a code. `concat`: collaborative and adapted text vector side by side; `collab`: the collaborative one, after alignment;
    `mean` of both; `naive-concat`: the plain collaborative and the plain text vector; `semantic`: the plain text vector; `collab-only`."""
    block_norm: Literal["l2", "center-l2", "none"] = "l2"
    """What is done to each vector before `concat`, `collab` and `mean` make one of them: length 1, the same after the mean over items is
    taken off, or nothing."""
    fill_untrained: bool = True
    """Give items without an event in the train part their adapted text vector in place of the collaborative one, which is chance."""


class DistillationSettings(PluginConfig):
    """The distillation in stage 2."""

    weight: NonNegativeFloat = 1.0
    """Weight of the distillation beside the mean loss of a code's tokens; 0: plain training on the codes."""
    loss: Literal["infonce", "cosine", "mse"] = "infonce"
    """How the student's vector is held against the teacher's."""
    position: Literal["after", "before", "encoder"] = "after"
    """Where the student's vector comes from: a summary token behind the target's code, the same alone before it, or the mean of the
    encoder's states."""
    targets: Literal["integrated", "both"] = "integrated"
    """The teacher: the vectors that became codes, or collaborative and adapted text vector apart, with the mean of both losses."""
    temperature: PositiveFloat = 0.3
    """Temperature of `infonce`."""
    negatives: PositiveInt = 2048
    """Items of the catalogue that a batch's teachers are held against, under `infonce`."""


class PRORecConfig(PluginConfig):
    """Both stages: collaborative encoder, adapter and alignment; fusion, codes, encoder-decoder and distillation."""

    text: TextSettings = TextSettings()
    collaborative: CollaborativeSettings = CollaborativeSettings()
    adapter: AdapterSettings = AdapterSettings()
    align: AlignmentSettings = AlignmentSettings()
    joint: JointSettings = JointSettings()
    fusion: FusionSettings = FusionSettings()
    domination: bool = True
    """Whether collaborative vectors without alignment are trained too, for the comparison of the spaces (`recbench show --domination`)."""
    codes: QuantizerSettings = QuantizerSettings()
    generator: Seq2SeqSettings = Seq2SeqSettings()
    distillation: DistillationSettings = DistillationSettings()
    training: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _teachers_are_made(self) -> Self:
        if self.distillation.targets == "both" and self.distillation.weight and self.fusion.kind not in USES_ALIGNED:
            raise ValueError(f"distillation.targets=both asks for adapted text vectors, which fusion.kind={self.fusion.kind} does not make")
        return self
