"""Settings of the loss over next items. Imports no torch, so that a plugin's config may hold them."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from recbench.core.config import PluginConfig


class NextItemLossSettings(PluginConfig):
    """The loss of models that score every item by its vector; a config inherits these settings."""

    loss: Literal["bce", "ce", "gbce", "ssm"] = "bce"
    """`bce`: one sampled negative per target, as published. `ce`: softmax over all items. `gbce`: calibrated sampled loss of
    arXiv:2308.07192. `ssm`: softmax over sampled items."""
    n_negatives: PositiveInt = 256
    """How many negatives `gbce` and `ssm` draw; `bce` draws one, `ce` none."""
    calibration: float = Field(default=0.75, ge=0, le=1)
    """`t` of `gbce`: 0 leaves the probabilities overconfident, 1 corrects them wholly."""
    negatives_from: Literal["auto", "unseen", "all"] = "auto"
    """`unseen`: items that the user does not have in the train part. `all`: any item, the target and the user's own included. `auto`: all
    for `gbce` and for negatives of a batch, else unseen."""
    negatives_per: Literal["auto", "slot", "sequence", "batch"] = "auto"
    """What negatives are drawn anew for. `slot`: every target. `sequence`: all targets of a sequence share them. `batch`: all targets of a
    batch do, which is many times faster and lets `n_negatives` be thousands. `auto`: a sequence for `ssm`, a slot for the others."""
    mask_hits: bool = False
    """Leave out a negative that is the target."""
    normalise: bool = False
    """Score by the cosine of state and item vector, in training and in ranking."""
    temperature: PositiveFloat = 1.0
    """Scores are divided by it; 0.05 suits cosines."""

    @property
    def draws_from(self) -> Literal["unseen", "all"]:
        """`negatives_from` with `auto` resolved."""
        if self.negatives_from != "auto":
            return self.negatives_from
        return "all" if self.loss == "gbce" or self.negatives_per == "batch" else "unseen"

    @property
    def draws_per(self) -> Literal["slot", "sequence", "batch"]:
        """`negatives_per` with `auto` resolved."""
        if self.negatives_per != "auto":
            return self.negatives_per
        return "sequence" if self.loss == "ssm" else "slot"

    @model_validator(mode="after")
    def _a_batch_has_many_users(self) -> Self:
        if self.negatives_per == "batch" and self.negatives_from == "unseen":
            raise ValueError("negatives_per=batch shares negatives among users, so negatives_from=unseen is impossible; set it to all")
        return self
