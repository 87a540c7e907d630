"""The loss of the generator: that of TIGER, with a temperature."""

from torch import Tensor, nn

from recbench.core.ragged import LongArray
from recbench.nn.blocks import CodeSeq2Seq, Examples


class TemperedTraining(nn.Module):
    """`module(rows)` gives the sum of the losses of windows `rows` and the number of their targets.

    Args:
        network: to train.
        examples: its windows.
        temperature: divides the logits; 1 is the plain cross-entropy.
    """

    def __init__(self, network: CodeSeq2Seq, examples: Examples, temperature: float) -> None:
        super().__init__()
        self.network = network
        self._examples, self._temperature = examples, temperature

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        network = self.network
        item_BT, user_B, target_BC, slot_BC = self._examples.tensors(rows, network.item_tokens.device)
        state_BCLD = network.decode(network.encode(item_BT, user_B), network.decoder_input(target_BC), slot_BC)
        # Logits are products of states and the tied table.
        return network.code_loss(state_BCLD / self._temperature, target_BC)
