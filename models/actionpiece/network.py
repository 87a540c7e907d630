"""The network: the encoder-decoder over item codes, with an encoder that reads a history as tokens which may span items."""

import numpy as np
import torch
from torch import Tensor

from recbench.core.seeds import generator
from recbench.nn.blocks import FIRST_CODE, NEVER_SEEN, PAD, START, CodeSeq2Seq, Seq2SeqSettings
from recbench_models.actionpiece.vocabulary import GONE, Vocabulary

# B rows, T items of a history, I items, F features of an item, M tokens of a memory


class SegmentedSeq2Seq(CodeSeq2Seq):
    """Reads the features of a history as tokens, writes the code of the next item.

    In training the features of every item of a history are shuffled anew whenever it is read, by torch's default generator. Otherwise each
    item has as many fixed orders as histories are read times, and `reading` says which of them is taken.

    Args:
        settings: sizes.
        vocabulary: of the tokens that are read and written.
        across_items: whether tokens of neighbouring items are merged.
        n_readings: how many fixed orders there are.
        seed: of the fixed orders.

    Attributes:
        reading: which of the fixed orders is read outside training, from 0.
    """

    def __init__(self, settings: Seq2SeqSettings, vocabulary: Vocabulary, *, across_items: bool, n_readings: int, seed: int) -> None:
        codes = vocabulary.codes()
        super().__init__(settings, torch.from_numpy(codes.tokens(FIRST_CODE)).long(), codes.n_tokens)
        self.vocabulary, self.across_items = vocabulary, across_items
        self.reading = 0
        random = generator(seed, "actionpiece", "orders outside training")
        self._feature_EIF = np.stack([random.permuted(vocabulary.feature_IF, axis=1) for _ in range(n_readings)])

    def memory_tokens(self, item_BT: Tensor, user_B: Tensor | None) -> tuple[Tensor, Tensor]:  # noqa: ARG002 (there are no user tokens)
        """Tokens that the encoder reads: the start, those of the history, and the end where codes have one. All belong to one slot, which
        every target may see; arguments and result are those of `CodeSeq2Seq.memory_tokens`."""
        token_BM = self._segmented(item_BT)
        read_BM = np.where(token_BM == GONE, PAD, token_BM + FIRST_CODE)
        read_BM = np.pad(read_BM, ((0, 0), (1, 0)), constant_values=START)
        if self.end is not None:
            read_BM = np.pad(read_BM, ((0, 0), (0, 1)), constant_values=PAD)
            read_BM[np.arange(len(read_BM)), (token_BM != GONE).sum(1) + 1] = self.end
        token = torch.from_numpy(read_BM).to(item_BT.device)
        return token, torch.where(token == PAD, NEVER_SEEN, 0)

    def _segmented(self, item_BT: Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """The tokens of the histories, (B, most tokens of one), `GONE` behind the end."""
        item = item_BT.cpu().numpy()
        if self.training:
            order_BTF = torch.rand(*item.shape, self.vocabulary.n_features).argsort(2).numpy()
            feature_BTF = np.take_along_axis(self.vocabulary.feature_IF[item], order_BTF, 2)
        else:
            feature_BTF = self._feature_EIF[self.reading][item]
        feature_BTF[item < 0] = GONE
        if not self.across_items:
            # A place between items, so that no tokens of two are neighbours.
            feature_BTF = np.pad(feature_BTF, ((0, 0), (0, 0), (0, 1)), constant_values=GONE)
        return self.vocabulary.segmented(feature_BTF.reshape(len(item), -1))
