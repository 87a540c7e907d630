"""LC-Rec (arXiv:2311.09049)."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from recbench.core import FitContext, FitReport, Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.nn.blocks import CausalDecoder
from recbench.nn.codes import CodeTrie, ItemCodes, batched_beam_search, unique_codes
from recbench.nn.compute import load_weights
from recbench.nn.text import text_vectors
from recbench.nn.training import torch_seeded, train
from recbench_models.lc_rec.config import LCRecConfig
from recbench_models.lc_rec.data import Examples, LCRecTraining
from recbench_models.lc_rec.network import CodeLanguageModel, language_model_from, new_language_model
from recbench_models.lc_rec.prompts import TokenList, read_prompts

# B queries of a batch, M tokens of a prompt, N items, L tokens of a code

_WEIGHTS, _SIZES = "network.safetensors", "network.json"
_WORDS = "table.words.weight"


class LCRec:
    """Item text -> vectors -> codes; the language model reads a prompt and the history's codes, a search over all codes makes the list."""

    def __init__(self, config: LCRecConfig) -> None:
        self.config = config
        self._network: CodeLanguageModel | None = None

    def fit(self, context: FitContext) -> FitReport:
        """Make the codes, which no event shapes, and teach the language model to write them: after histories, and after names.

        Raises:
            BadRequest: files of the text encoder or of the language model are not here or damaged, or no item has text.
        """
        config = self.config
        codes = unique_codes(context, text_vectors(context, config.text).vectors, config.codes, config.last_level)
        prompts = read_prompts(context, config, codes.codes.n_tokens)
        with torch_seeded(context.seed, "lc-rec", "initial weights"):
            settings = config.language_model
            network = CodeLanguageModel(
                new_language_model(settings),
                codes.codes.n_tokens,
                trains_words=settings.trains_words,
                code_spread=settings.code_spread,
            )
        self._use(codes.codes, prompts.sequence[0], network)
        examples = Examples(config, context.train, self._code_NL, prompts)
        context.log.info("%d tokens of %d targets in a pass", examples.n_tokens, examples.n_possible)
        report = train(
            context,
            LCRecTraining(network, examples),
            batches=lambda epoch: examples.batches(context.generator("batches", epoch)),
            settings=config.training,
            ranker=self,
            examples_possible=examples.n_possible,
        )
        report.artefacts = {**report.artefacts, "codes": codes.file}
        return report

    def _use(self, codes: ItemCodes, prompt: TokenList, network: CodeLanguageModel) -> None:
        """Answer with this network from now on, in the wording `prompt`."""
        self._codes, self._prompt, self._network = codes, prompt, network
        self._code_NL = codes.tokens(0)
        self._trie = CodeTrie.from_tokens(self._code_NL)

    @property
    def network(self) -> CodeLanguageModel:
        """The language model, which `fit` or `load` has set."""
        if self._network is None:
            raise RuntimeError("LCRec has no language model before fit or load.")
        return self._network

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items whose codes the search likes best; scores are log-likelihoods of codes among codes, in nats."""
        network = self.network.eval()
        self._trie = self._trie.to(network.device)
        newest = queries.histories.tail(self.config.max_history)

        def decoder_of(rows: LongArray) -> CausalDecoder:
            histories = newest.take(rows)
            item_BT = torch.from_numpy(histories.padded(0)).long()
            code_BM = torch.from_numpy(self._code_NL).long()[item_BT].flatten(1)
            prompt_M = torch.tensor(self._prompt)
            token_BM = torch.cat([prompt_M.expand(len(rows), -1), code_BM], 1)
            length_B = len(self._prompt) + torch.from_numpy(histories.lengths) * self._code_NL.shape[1]
            is_real_BM: Tensor = torch.arange(token_BM.shape[1]) < length_B[:, None]
            return CausalDecoder(network.model, token_BM.to(network.device), is_real_BM.to(network.device))

        return batched_beam_search(decoder_of, self._trie, queries, k, length_B=newest.lengths, n_beams=self.config.n_beams)

    def to(self, device: str) -> None:
        """Search and read on this device; the trie follows with the first question."""
        self.network.to(device)

    def save(self, folder: Path) -> None:
        """Write codes, configuration and weights; of the vectors of words those that the prompt needs."""
        network = self.network
        self._codes.save(folder)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.named_parameters()}
        weights.pop("written_words", None)
        weights[_WORDS] = weights[_WORDS][torch.tensor(self._prompt) - network.n_codes]
        save_file(weights, folder / _WEIGHTS)
        sizes = {"n_words": len(self._prompt), "language_model": network.model.config.to_dict()}
        (folder / _SIZES).write_text(json.dumps(sizes, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; `BadData` where weights and sizes do not fit each other. The language model's folder is not read."""
        sizes = json.loads((folder / _SIZES).read_text(encoding="utf-8"))
        codes, n_words = ItemCodes.load(folder), int(sizes["n_words"])
        with torch.random.fork_rng(devices=[]):
            network = CodeLanguageModel(language_model_from(sizes["language_model"], n_words), codes.n_tokens, trains_words=False)
        # No name is written any more.
        network.written_words = None
        load_weights(dict(network.named_parameters()), folder / _WEIGHTS)
        prompt = np.arange(codes.n_tokens, codes.n_tokens + n_words).tolist()
        self._use(codes, prompt, network)
