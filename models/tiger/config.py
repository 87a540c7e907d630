"""Settings of TIGER."""

from recbench.nn.blocks import Seq2SeqSettings
from recbench.nn.codes import QuantizerSettings
from recbench.nn.text import TextSettings
from recbench.nn.training import TrainingSettings


class TIGERConfig(TrainingSettings, Seq2SeqSettings, QuantizerSettings, TextSettings):
    """Text encoder, quantizer, encoder-decoder and training loop, each with the settings of the shared part."""
