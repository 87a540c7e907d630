"""The network, and its training."""

from recbench.core import Interactions
from recbench.nn.blocks import SequenceEncoder
from recbench.nn.training import NextItemTraining, Windows
from recbench_models.sasrec.config import NetworkSettings, SASRecConfig


def build_encoder(settings: NetworkSettings, n_items: int) -> SequenceEncoder:
    """The untrained network, initialised with torch's default generator."""
    return SequenceEncoder(
        n_items,
        settings,
        norm=settings.norm,
        activation=settings.activation,
        init=settings.init,
        embedding_scale=settings.width**0.5 if settings.embedding_scale == "root-width" else settings.embedding_scale,
        embedding_norm=settings.embedding_norm,
        inner_dropout=settings.inner_dropout,
        attention_output=settings.attention_output or None,
        layer_norm_eps=settings.layer_norm_eps,
    )


class SASRecTraining(NextItemTraining):
    """The network in training, with the loss and the batches that the settings of the model name."""

    def __init__(self, encoder: SequenceEncoder, config: SASRecConfig, train: Interactions, windows: Windows) -> None:
        super().__init__(encoder, config, train, windows, mixes_lengths=config.batch_order == "random")
