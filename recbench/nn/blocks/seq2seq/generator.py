"""A recommender made of item codes and the encoder-decoder over them: trained on histories, asked by constrained beam search."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from recbench.core import FitContext, FitReport, Queries, Rankings, StageFailed
from recbench.core.ragged import LongArray, Ragged
from recbench.nn.blocks.seq2seq.examples import CodeTraining, Examples, user_numbers
from recbench.nn.blocks.seq2seq.model import EMPTY_HISTORY, FIRST_CODE, PAD, PADDED_SLOT, START, CodeSeq2Seq
from recbench.nn.blocks.seq2seq.settings import Seq2SeqSettings
from recbench.nn.blocks.t5_decoder import T5Decoder
from recbench.nn.blocks.t5_encoder import T5Encoder
from recbench.nn.blocks.t5_parameters import PrefixStates, T5DecoderParameters
from recbench.nn.codes.catalogue import ItemCodes
from recbench.nn.codes.search import batched_beam_search
from recbench.nn.codes.trie import CodeTrie
from recbench.nn.compute.weights import load_weights
from recbench.nn.training.determinism import torch_seeded
from recbench.nn.training.loop import train
from recbench.nn.training.settings import TrainingSettings

_WEIGHTS, _SIZES = "network.safetensors", "network.json"


class CodeGenerator:
    """Item codes, the network that writes them, and the trie that keeps the search to codes that exist.

    Args:
        settings: of the network.
        codes: of all items. They may be of unequal length, but none is empty.
        seed: for the first weights.
        may_collide: several items may have one code; the lists then hold them by their rows. Otherwise that is a `ValueError`.

    Raises:
        StageFailed: an item has an empty code.
    """

    def __init__(self, settings: Seq2SeqSettings, codes: ItemCodes, seed: int, *, may_collide: bool = False) -> None:
        if not codes.lengths.all():
            raise StageFailed(
                f"Item {int(codes.lengths.argmin())} of {len(codes)} has an empty code, which no search can find. Give it a token at least."
            )
        self.settings, self.codes = settings, codes
        token_IL = torch.from_numpy(codes.tokens(FIRST_CODE)).long()
        with torch_seeded(seed, "seq2seq", "initial weights"):
            self.network = CodeSeq2Seq(settings, token_IL, codes.n_tokens)
        self.network.eval()
        written = self.network.written_tokens[: len(codes)].numpy()
        lengths = (written != PAD).sum(1)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self._trie = CodeTrie.from_tokens(Ragged(written[written != PAD].astype(np.int32), offsets), may_collide=may_collide)

    def fit(
        self, context: FitContext, settings: TrainingSettings, around: Callable[[CodeSeq2Seq, Examples], nn.Module] = CodeTraining
    ) -> FitReport:
        """Train every prefix of the train part to write the code of what follows it.

        Args:
            context: of the run.
            settings: of the training loop.
            around: makes of network and examples what is trained; one that adds a loss of its own wraps both as `CodeTraining` does.
        """
        examples = Examples(self.settings, context.train, context.user_ids)
        if self.settings.compile and context.device.startswith("cuda"):
            self.network.compile_parts()
        return train(
            context,
            around(self.network, examples),
            batches=lambda epoch: examples.batches(context.generator("batches", epoch)),
            settings=settings,
            ranker=self,
            examples_possible=examples.n_possible,
        )

    def to(self, device: str) -> None:
        """Search and read histories on this device; the trie follows with the first question."""
        self.network.to(device)

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items whose codes the search likes best; scores are log-likelihoods of codes, in nats."""
        network = self.network.eval()
        self._trie = self._trie.to(network.item_tokens.device)
        reader, parameters = T5Encoder(network.t5), T5DecoderParameters(network.t5)
        prefixes = PrefixStates.of(parameters, self._trie, START, len(queries) * self.settings.n_beams)

        def decoder_of(rows: LongArray) -> T5Decoder:
            token_BM, slot_BM = network.memory_tokens(*self._read(queries.take(rows)))
            mask_BM = token_BM != PAD
            memory_BMD = reader(token_BM, mask_BM, network.seen_from(slot_BM), network.memory_places(slot_BM))
            return T5Decoder(parameters, memory_BMD, mask_BM, START, prefixes)

        return batched_beam_search(
            decoder_of,
            self._trie,
            queries,
            k,
            length_B=np.minimum(queries.histories.lengths, self.settings.max_history),
            n_beams=self.settings.n_beams,
            renormalise=self.settings.renormalise,
        )

    def _read(self, queries: Queries) -> tuple[Tensor, Tensor | None]:
        """Histories (B, T) and user tokens (B,) as the network wants them."""
        device = self.network.item_tokens.device
        newest = queries.histories.tail(self.settings.max_history)
        item_BT, length_B = torch.from_numpy(newest.padded(PADDED_SLOT)).long(), torch.from_numpy(newest.lengths)
        if item_BT.shape[1] == 0:
            item_BT = item_BT.new_full((len(queries), 1), PADDED_SLOT)
        item_BT[length_B == 0, 0] = EMPTY_HISTORY
        if not self.settings.user_tokens:
            return item_BT.to(device), None
        # Who is not in the data set has no id of its own: all such read the token of the empty id, which is not theirs alone.
        ids = np.where(queries.user >= 0, queries.user_ids, "")
        return item_BT.to(device), torch.from_numpy(user_numbers(ids, self.settings.user_tokens)).to(device)

    def save(self, folder: Path) -> None:
        """Write codes, weights and sizes."""
        self.codes.save(folder)
        # Parameters, not the state: the one table that head, encoder and decoder share is written once.
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.named_parameters()}
        save_file(weights, folder / _WEIGHTS)
        (folder / _SIZES).write_text(self.settings.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "CodeGenerator":
        """Read the folder that `save` wrote; `BadData` where weights and sizes do not fit each other."""
        settings = Seq2SeqSettings.model_validate(json.loads((folder / _SIZES).read_text(encoding="utf-8")))
        # Whether codes may collide was settled when they were made.
        loaded = cls(settings, ItemCodes.load(folder), seed=0, may_collide=True)
        load_weights(dict(loaded.network.named_parameters()), folder / _WEIGHTS)
        return loaded
