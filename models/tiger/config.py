"""Settings of TIGER."""

from recbench.core import PluginConfig
from recbench.nn.blocks import Seq2SeqSettings
from recbench.nn.codes import QuantizerSettings
from recbench.nn.text import TextSettings
from recbench.nn.training import TrainingSettings


class TIGERConfig(PluginConfig):
    """Item text to codes, codes to lists."""

    text: TextSettings = TextSettings()
    codes: QuantizerSettings = QuantizerSettings()
    generator: Seq2SeqSettings = Seq2SeqSettings()
    training: TrainingSettings = TrainingSettings()
