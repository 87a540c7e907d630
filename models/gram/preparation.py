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
from recbench_models.gram.config import OWN, GRAMConfig, NeighbourSettings
from recbench_models.gram.lexical_ids import LexicalIds, keyword_ids, lexical_ids, tfidf
from recbench_models.gram.neighbours import nearest_items
from recbench_models.gram.prompts import item_lines, item_prompts, marks
from recbench_models.gram.published import read_ids, read_neighbours
from recbench_models.gram.vocabulary import Vocabulary

_VOCABULARY, _IDS = "vocabulary", "ids"


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
    fixed = marks(config.text, config.prompts)
    text = config.text.model_copy(update={"fields": held_fields(context.items, config.text, context.log)})
    config = config.model_copy(update={"text": text})
    folder = _named(context, config, fixed)
    vocabulary, ids = Vocabulary.load(folder / _VOCABULARY), LexicalIds.load(folder / _IDS)
    neighbours = _neighbours(context, config.neighbours) if config.neighbours.count and config.prompts.items else None
    prompts = item_prompts(context.items, ids.tokens, neighbours, vocabulary, text, config.prompts)
    n_cut = int(np.count_nonzero(prompts.lengths == config.prompts.item_max_len))
    context.log.info("item prompts: %.1f tokens on average, %d of %d cut", prompts.lengths.mean(), n_cut, len(prompts))
    return Prepared(vocabulary, ids, folder / CODES_FILE, prompts)


def _named(context: FitContext, config: GRAMConfig, fixed: list[str]) -> Path:
    """The folder of the stage that holds vocabulary and IDs; events have no part in it."""
    lines = item_lines(context.items, config.text)
    settings: dict[str, object] = {"lines": hashlib.sha256("\0".join(lines).encode()).hexdigest(), "marks": fixed}
    inputs: list[str | Path] = []
    if config.backbone.name == OWN:
        settings["vocabulary_size"] = config.backbone.vocabulary_size
        backbone = None
    else:
        backbone = config.backbone.located()
        settings["backbone"] = backbone.name
        inputs += [backbone.folder] if backbone.is_known_by_content else []
    published = None
    if config.ids.file is not None:
        published = read_ids(config.ids.file.expanduser(), context.items.item_ids)
        inputs.append(config.ids.file.expanduser())
        settings["item_ids"] = hashlib.sha256("\0".join(context.items.item_ids).encode()).hexdigest()
    else:
        settings["ids"] = config.ids.model_dump(mode="json", exclude={"file"})
        if config.ids.hierarchy:
            vectors = text_vectors(context, config.text)
            inputs.append(vectors.folder)

    def build(folder: Path) -> None:
        with context.progress.task("lexical IDs", 4) as task:
            extra = sorted({piece for pieces in published or [] for piece in pieces})
            if backbone is None:
                vocabulary = Vocabulary.own(lines, n_pieces=config.backbone.vocabulary_size, marks=fixed, extra_pieces=extra)
            elif config.backbone.is_frozen:
                vocabulary = Vocabulary.of_word_pieces(backbone.folder, lines)
            else:
                vocabulary = Vocabulary.of_backbone(backbone.folder, int(read_t5_config(backbone.folder).vocab_size), lines)
            task.advance()
            if published is not None:
                ids = _imported(published, vocabulary, config.ids.file)
            else:
                weight = tfidf(vocabulary.encode(lines), size=vocabulary.size, max_tokens=config.ids.text_tokens)
                task.advance()
                if config.ids.hierarchy:
                    path_IL = hierarchical_kmeans(
                        np.asarray(vectors.vectors),
                        n_children=config.ids.n_clusters,
                        n_levels=config.ids.n_levels,
                        seed=config.ids.seed,
                        restarts=config.ids.restarts,
                    )
                    task.advance()
                    ids = lexical_ids(path_IL, weight, vocabulary, unique_siblings=config.ids.unique_siblings)
                else:
                    ids = keyword_ids(weight, vocabulary, n_levels=config.ids.n_levels)
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
                "Name the backbone that the IDs were made for with --set backbone.name=..."
            )
        lists.append([token for token in found if token is not None])
    tokens = Ragged.from_lists(lists)
    lengths = tokens.lengths
    n_levels = int(np.bincount(lengths).argmax())
    # A number stands behind the levels, where items would share an ID.
    last = np.array([pieces[-1].removeprefix("\u2581") for pieces in published], dtype=object)
    is_numbered = (lengths == n_levels + 1) & np.array([piece.isdecimal() for piece in last], dtype=bool)
    return LexicalIds(tokens, n_levels, is_numbered, 0)


def _neighbours(context: FitContext, settings: NeighbourSettings) -> IntArray:
    """The similar items that prompts name, (n_items, k)."""
    if settings.file is not None:
        found = read_neighbours(settings.file.expanduser(), context.items.item_ids)
        if found.shape[1] < settings.count:
            raise BadData(
                f"{settings.file} names {found.shape[1]} similar items of each item and neighbours.count={settings.count} are asked for. "
                "Lower that setting."
            )
        return found[:, : settings.count]
    vectors = context.item_vectors("sasrec", preset=settings.preset, overrides=settings.settings, seed=settings.seed)
    n_unseen = int(np.count_nonzero(context.train.item_counts() == 0))
    context.log.info("similar items: %d of %d items do not occur in the train part; their neighbours are arbitrary", n_unseen, len(vectors))
    return nearest_items(vectors, settings.count)


def codes_of(ids: LexicalIds) -> ItemCodes:
    """The IDs as item codes: the number of each token among those that occur, the same on every level."""
    occurring, code = np.unique(ids.tokens.item, return_inverse=True)
    code_IL = Histories(code.reshape(-1).astype(np.int32), ids.tokens.offsets).padded(ENDED)
    sizes = (len(occurring),) * code_IL.shape[1]
    n_extra = int(code_IL.shape[1] > ids.n_levels)
    return ItemCodes(code_IL, sizes, n_extra=n_extra, is_numbered=ids.is_numbered, shared_tokens=True)
