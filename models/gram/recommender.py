"""GRAM (arXiv:2506.01673)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5ForConditionalGeneration

from recbench.core import FitContext, FitReport, Queries, Rankings
from recbench.core.errors import BadConfig
from recbench.core.ragged import LongArray, Ragged
from recbench.nn.blocks import PrefixStates, T5Decoder, T5DecoderParameters, T5Encoder, new_t5
from recbench.nn.codes import CodeTrie, batched_beam_search
from recbench.nn.compute import load_weights
from recbench.nn.text import load_t5
from recbench.nn.training import torch_seeded, train
from recbench_models.gram.config import OWN, BackboneSettings, GRAMConfig
from recbench_models.gram.data import Examples
from recbench_models.gram.frozen import FrozenReader, frozen_encoder, prompt_states
from recbench_models.gram.item_states import ItemStates
from recbench_models.gram.network import START, GRAMNetwork, GRAMTraining
from recbench_models.gram.preparation import Prepared, prepare
from recbench_models.gram.prompts import UserPrompts
from recbench_models.gram.vocabulary import EOS, PAD

_WEIGHTS, _LISTS, _SIZES, _STATES = "network.safetensors", "prompts.safetensors", "network.json", "states.safetensors"
_FIRST_WORD = 2
"""First word of a vocabulary that holds pad, end and the words of IDs alone."""


@dataclass(frozen=True, eq=False)
class _Serving:
    """Parts that answer questions, made of one state of the weights."""

    weights_version: int
    parameters: T5DecoderParameters
    states: ItemStates


@dataclass(frozen=True, eq=False)
class _Texts:
    """All that the network reads and writes, in tokens."""

    ids: Ragged
    prompts: Ragged
    start: tuple[int, ...]
    separator: tuple[int, ...]
    end: tuple[int, ...]


class GRAM:
    """Names items by words, reads a user as a prompt per item and one of the whole history, and writes the next item's name."""

    def __init__(self, config: GRAMConfig) -> None:
        self.config = config
        self._network: GRAMNetwork | None = None
        self._serving: _Serving | None = None
        self._trie: CodeTrie

    def fit(self, context: FitContext) -> FitReport:
        """Name the items, write the prompts, and train every prefix of the train part to write the name of what follows it."""
        config = self.config
        # Before the tree of IDs and the similar items, which take minutes.
        pretrained = _pretrained(config.backbone)
        prepared = prepare(context, config)
        if config.backbone.is_frozen:
            self._begin_with_frozen(context, prepared)
        else:
            vocabulary = prepared.vocabulary
            fixed = (config.prompts.user_start, config.prompts.user_separator, config.prompts.user_end)
            texts = _Texts(prepared.ids.tokens, prepared.prompts, *(vocabulary.mark(text) for text in fixed))
            with torch_seeded(context.seed, "gram", "initial weights"):
                self._build(_backbone(config.backbone, vocabulary.size, pretrained), texts)
        network = self._trained
        examples = Examples(config, context.train, self._user_prompts)
        report = train(
            context,
            GRAMTraining(network, examples),
            batches=lambda epoch: examples.batches(context.generator("batches", epoch)),
            settings=config.training,
            ranker=self,
            examples_possible=examples.n_possible,
        )
        # Old places are seen seldom; second-hand reports say that their vectors grow.
        norms = network.places.weight.detach().norm(dim=1)
        context.log.info("norms of the place vectors, user prompt first: %s", " ".join(f"{norm:.2f}" for norm in norms.tolist()))
        report.artefacts = {**report.artefacts, "codes": prepared.codes_file}
        return report

    def _begin_with_frozen(self, context: FitContext, prepared: Prepared) -> None:
        """Read the item prompts with the frozen encoder, and build the rest over the words that IDs consist of.

        No other word can be written, so a head over the whole vocabulary would only add to the cost of the softmax.
        """
        settings = self.config.backbone
        encoder = frozen_encoder(settings)
        prompts = encoder.prompts(prepared.prompts)
        states = prompt_states(context, settings, encoder, prompts)
        word_V, place = np.unique(prepared.ids.tokens.item, return_inverse=True)
        ids = Ragged((place.reshape(-1) + _FIRST_WORD).astype(np.int32), prepared.ids.tokens.offsets)
        n_tokens = len(word_V) + _FIRST_WORD
        context.log.info("frozen encoder: %d prompts of %.1f tokens, %d words in IDs", len(prompts), prompts.lengths.mean(), len(word_V))
        with torch_seeded(context.seed, "gram", "initial weights"):
            frozen = FrozenReader(states, prompts.offsets, settings.width)
            t5 = _backbone(settings, n_tokens)
            frozen.begin_with(encoder.words(word_V.astype(np.int64)), t5.shared, _FIRST_WORD)
            self._build(t5, _Texts(ids, prompts, (), (), ()), frozen)

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items whose IDs are the likeliest by the search; scores are log-likelihoods, divided as `length_norm` says."""
        config, network = self.config, self._trained
        self._trie = self._trie.to(network.label_IY.device)
        serving = self._served()
        read = queries.histories.tail(config.prompts.max_history if config.prompts.items else 0)
        with torch.inference_mode():
            serving.states.ensure(read.item)
            place_PD = network.places.weight.detach()
        prefixes = PrefixStates.of(serving.parameters, self._trie, START, len(queries) * config.search.n_beams)

        def decoder_of(rows: LongArray) -> T5Decoder:
            newest = queries.histories.take(rows).tail(config.prompts.max_history)
            users = self._user_prompts(newest) if config.prompts.user else None
            memory_UMD, is_real_UM = serving.states.memory(read.take(rows), users, place_PD)
            return T5Decoder(serving.parameters, memory_UMD, is_real_UM, START, prefixes)

        return batched_beam_search(
            decoder_of,
            self._trie,
            queries,
            k,
            length_B=np.minimum(queries.histories.lengths, config.prompts.max_history),
            n_beams=config.search.n_beams,
            batching="even",
            length_norm=config.search.length_norm,
            length_power=config.search.length_power,
        )

    def save(self, folder: Path) -> None:
        """Write IDs, prompts and network."""
        network, texts = self._trained, self._texts
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.named_parameters()}
        save_file(weights, folder / _WEIGHTS)
        lists = {"ids": texts.ids, "prompts": texts.prompts}
        tensors = {
            f"{name}.{part}": torch.from_numpy(getattr(value, part)) for name, value in lists.items() for part in ("item", "offsets")
        }
        save_file(tensors, folder / _LISTS)
        if network.frozen is not None:
            save_file({"states": torch.from_numpy(np.array(network.frozen.state_SE))}, folder / _STATES)
        sizes = {"t5": network.t5.config.to_dict(), "user_prompt": [texts.start, texts.separator, texts.end]}
        (folder / _SIZES).write_text(json.dumps(sizes, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read IDs, prompts and network; `BadData` where weights and sizes do not fit each other."""
        sizes = json.loads((folder / _SIZES).read_text(encoding="utf-8"))
        tensors = load_file(folder / _LISTS)
        ids, prompts = (Ragged(*(tensors[f"{name}.{part}"].numpy() for part in ("item", "offsets"))) for name in ("ids", "prompts"))
        t5 = T5ForConditionalGeneration(T5Config.from_dict(sizes["t5"]))
        frozen = None
        if self.config.backbone.is_frozen:
            frozen = FrozenReader(load_file(folder / _STATES)["states"].numpy(), prompts.offsets, t5.config.d_model)
        self._build(t5, _Texts(ids, prompts, *map(tuple, sizes["user_prompt"])), frozen)
        load_weights(dict(self._trained.named_parameters()), folder / _WEIGHTS)
        self._trained.eval()

    def to(self, device: str) -> None:
        """Move the network; the trie follows with the first question."""
        self._trained.to(device)
        self._serving = None

    def _build(self, t5: Any, texts: _Texts, frozen: FrozenReader | None = None) -> None:
        """The network over these texts, and what belongs to it."""
        labels = Ragged.from_lists([[*texts.ids[item].tolist(), EOS] for item in range(len(texts.ids))])
        self._texts = texts
        self._user_prompts = UserPrompts(texts.ids, texts.start, texts.separator, texts.end, self.config.prompts.user_max_len)
        self._trie = CodeTrie.from_tokens(labels)
        self._network = GRAMNetwork(self.config, t5, texts.prompts, labels, frozen).eval()
        self._serving = None

    def _served(self) -> _Serving:
        """Parts that answer questions; made anew when the weights have changed."""
        network = self._trained
        if network.training:
            network.eval()
        if self._serving is None or self._serving.weights_version != network.weights_version:
            width, device = network.places.weight.shape[1], network.label_IY.device
            states = ItemStates(T5Encoder(network.t5), self._texts.prompts, width, device, network.frozen)
            self._serving = _Serving(network.weights_version, T5DecoderParameters(network.t5), states)
        return self._serving

    @property
    def _trained(self) -> GRAMNetwork:
        if self._network is None:
            raise RuntimeError("GRAM has no network before fit or load.")
        return self._network


def _pretrained(settings: BackboneSettings) -> Any | None:
    """The pretrained T5 that the settings name; None where they name none.

    Raises:
        BadRequest: the folder holds no whole T5, or one with other tokens for padding, end and start.
    """
    if settings.name == OWN or settings.is_frozen:
        return None
    folder = settings.located().folder
    t5 = load_t5(folder)
    found = (t5.config.pad_token_id, t5.config.eos_token_id, t5.config.decoder_start_token_id)
    if found != (PAD, EOS, START):
        raise BadConfig(
            f"The backbone in {folder} pads, ends and starts with the tokens {found}; GRAM needs {(PAD, EOS, START)}, as T5 has them. "
            "Name the folder of a T5."
        )
    return t5


def _backbone(settings: BackboneSettings, n_tokens: int, pretrained: Any | None = None) -> Any:
    """The pretrained T5 with a row for every token, or one with random weights and the sizes that the settings give."""
    if pretrained is not None:
        if n_tokens > pretrained.config.vocab_size:  # numbers that tell IDs apart and that no piece stands for
            pretrained.resize_token_embeddings(n_tokens)
        return pretrained
    distances = {
        "relative_attention_num_buckets": settings.relative_buckets,
        "relative_attention_max_distance": settings.relative_distance,
    }
    return new_t5(settings, n_tokens, pad=PAD, start=START, end=EOS, **distances)
