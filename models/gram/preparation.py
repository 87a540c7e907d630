"""Preparation of a catalogue before GRAM is trained: vocabulary, lexical IDs, similar items, item prompts."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbench.core import FitContext, Histories
from recbench.core.codes_file import CODES_FILE, ENDED
from recbench.core.errors import BadData
from recbench.core.ragged import IntArray, Ragged
from recbench.nn.codes import ItemCodes, hierarchical_kmeans
from recbench.nn.text import held_fields, read_t5_config, text_vectors
from recbench_models.gram.config import OWN, GRAMConfig
from recbench_models.gram.lexical_ids import LexicalIds, keyword_ids, lexical_ids, tfidf
from recbench_models.gram.neighbours import nearest_items
from recbench_models.gram.prompts import item_lines, item_prompts, marks
from recbench_models.gram.published import read_ids, read_neighbours
from recbench_models.gram.vocabulary import Vocabulary

_VOCABULARY, _IDS = "vocabulary", "ids"
_OF_VOCABULARY = ("vocabulary_size", "user_prompt_start", "user_prompt_separator", "user_prompt_end")
_OF_IDS = ("hierarchy", "n_clusters", "n_levels", "unique_siblings", "id_text_tokens", "tree_seed", "tree_restarts")


@dataclass(frozen=True, eq=False)
class Prepared:
    """Parts that the network is built on.

    Attributes:
        vocabulary: of the language model.
        ids: of all items.
        codes_file: the IDs as a `codes.parquet`.
        prompts: of all items.
    """

    vocabulary: Vocabulary
    ids: LexicalIds
    codes_file: Path
    prompts: Ragged


def prepare(context: FitContext, config: GRAMConfig) -> Prepared:
    """Everything, from the cache or made now.

    Raises:
        BadRequest: no item has text, or the data set lacks a column that is not optional.
        DataUnavailable: the text encoder or the backbone is not here.
        BadData: a file of IDs or neighbours does not fit the data set.
    """
    # An own vocabulary has a token for the name of every column, those that the data set lacks included.
    fixed = marks(config)
    config = config.model_copy(update={"text_fields": held_fields(context.items, config, context.log)})
    folder = _named(context, config, fixed)
    vocabulary, ids = Vocabulary.load(folder / _VOCABULARY), LexicalIds.load(folder / _IDS)
    neighbours = _neighbours(context, config) if config.n_neighbours and config.item_prompts else None
    prompts = item_prompts(context.items, ids.tokens, neighbours, vocabulary, config)
    n_cut = int(np.count_nonzero(prompts.lengths == config.item_prompt_max_len))
    context.log.info("item prompts: %.1f tokens on average, %d of %d cut", prompts.lengths.mean(), n_cut, len(prompts))
    return Prepared(vocabulary, ids, folder / CODES_FILE, prompts)


def _named(context: FitContext, config: GRAMConfig, fixed: list[str]) -> Path:
    """The folder of the stage that holds vocabulary and IDs; events have no part in it."""
    lines = item_lines(context.items, config)
    values = config.model_dump(mode="json")
    settings: dict[str, object] = {"lines": hashlib.sha256("\0".join(lines).encode()).hexdigest(), "marks": fixed}
    inputs: list[str | Path] = []
    if config.backbone == OWN:
        settings |= {name: values[name] for name in _OF_VOCABULARY}
        backbone = None
    else:
        backbone = config.located_backbone()
        settings["backbone"] = backbone.name
        inputs += [backbone.folder] if backbone.is_known_by_content else []
    published = None
    if config.ids is not None:
        published = read_ids(config.ids.expanduser(), context.items.item_ids)
        inputs.append(config.ids.expanduser())
        settings["item_ids"] = hashlib.sha256("\0".join(context.items.item_ids).encode()).hexdigest()
    else:
        settings |= {name: values[name] for name in _OF_IDS}
        if config.hierarchy:
            vectors = text_vectors(context, config)
            inputs.append(vectors.folder)

    def build(folder: Path) -> None:
        with context.progress.task("lexical IDs", 4) as task:
            extra = sorted({piece for pieces in published or [] for piece in pieces})
            if backbone is None:
                vocabulary = Vocabulary.own(lines, n_pieces=config.vocabulary_size, marks=fixed, extra_pieces=extra)
            else:
                vocabulary = Vocabulary.of_backbone(backbone.folder, int(read_t5_config(backbone.folder).vocab_size), lines)
            task.advance()
            if published is not None:
                ids = _imported(published, vocabulary, config.ids)
            else:
                weight = tfidf(vocabulary.encode(lines), size=vocabulary.size, max_tokens=config.id_text_tokens)
                task.advance()
                if config.hierarchy:
                    path_IL = hierarchical_kmeans(
                        np.asarray(vectors.vectors),
                        n_children=config.n_clusters,
                        n_levels=config.n_levels,
                        seed=config.tree_seed,
                        restarts=config.tree_restarts,
                    )
                    task.advance()
                    ids = lexical_ids(path_IL, weight, vocabulary, unique_siblings=config.unique_siblings)
                else:
                    ids = keyword_ids(weight, vocabulary, n_levels=config.n_levels)
            for name, part in ((_VOCABULARY, vocabulary), (_IDS, ids)):
                (folder / name).mkdir()
                part.save(folder / name)
            codes_of(ids).save(folder)

    return context.common_stage("lexical-ids", build, config=settings, inputs=inputs)


def _imported(published: list[list[str]], vocabulary: Vocabulary, path: Path | None) -> LexicalIds:
    """IDs that somebody made, in this vocabulary."""
    lists = []
    for item, pieces in enumerate(published):
        found = [vocabulary.token(piece) for piece in pieces]
        lacking = [piece for piece, token in zip(pieces, found, strict=True) if token is None]
        if lacking:
            raise BadData(
                f"{path}: the ID of item row {item} holds {lacking[0]!r}, which the vocabulary of the backbone does not have. "
                "Name the backbone that the IDs were made for with --set backbone=..."
            )
        lists.append([token for token in found if token is not None])
    tokens = Ragged.from_lists(lists)
    lengths = tokens.lengths
    n_levels = int(np.bincount(lengths).argmax())
    # A number stands behind the levels, where items would share an ID.
    last = np.array([pieces[-1].removeprefix("\u2581") for pieces in published], dtype=object)
    is_numbered = (lengths == n_levels + 1) & np.array([piece.isdecimal() for piece in last], dtype=bool)
    return LexicalIds(tokens, n_levels, is_numbered, 0)


def _neighbours(context: FitContext, config: GRAMConfig) -> IntArray:
    """The similar items that prompts name, (n_items, k)."""
    if config.neighbours is not None:
        found = read_neighbours(config.neighbours.expanduser(), context.items.item_ids)
        if found.shape[1] < config.n_neighbours:
            raise BadData(
                f"{config.neighbours} names {found.shape[1]} similar items of each item and n_neighbours={config.n_neighbours} are asked "
                "for. Lower that setting."
            )
        return found[:, : config.n_neighbours]
    vectors = context.item_vectors(
        "sasrec", preset=config.neighbour_preset, overrides=config.neighbour_settings, seed=config.neighbour_seed
    )
    n_unseen = int(np.count_nonzero(context.train.item_counts() == 0))
    context.log.info("similar items: %d of %d items do not occur in the train part; their neighbours are arbitrary", n_unseen, len(vectors))
    return nearest_items(vectors, config.n_neighbours)


def codes_of(ids: LexicalIds) -> ItemCodes:
    """The IDs as item codes: the number of each token among those that occur, the same on every level."""
    occurring, code = np.unique(ids.tokens.item, return_inverse=True)
    code_IL = Histories(code.reshape(-1).astype(np.int32), ids.tokens.offsets).padded(ENDED)
    sizes = (len(occurring),) * code_IL.shape[1]
    n_extra = int(code_IL.shape[1] > ids.n_levels)
    return ItemCodes(code_IL, sizes, n_extra=n_extra, is_numbered=ids.is_numbered, shared_tokens=True)
