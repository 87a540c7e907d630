"""Items' texts to a memory-mapped matrix of vectors, as a stage that all models share."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import BadRequest
from recbench.core.interactions import ItemTable
from recbench.core.matrix import new_matrix
from recbench.core.plugin import FitContext
from recbench.nn.text.fields import held_fields
from recbench.nn.text.location import locate_encoder
from recbench.nn.text.names import TFIDF_SVD
from recbench.nn.text.settings import TextSettings

STAGE = "text-vectors"
VECTORS_FILE, FACTS_FILE = "vectors.npy", "facts.json"
_ROWS_PER_BLOCK = 65_536
_WORD = re.compile(r"\w")


@dataclass(frozen=True, eq=False)
class TextVectors:
    """Vectors of the items' texts.

    Attributes:
        vectors: (n_items, d) float32, memory-mapped, not writable; zeros where an item has no text.
        folder: of the stage; may be an input of further stages.
        encoder: as the settings name it.
    """

    vectors: NDArray[np.float32]
    folder: Path
    encoder: str


def item_texts(items: ItemTable, settings: TextSettings) -> list[str]:
    """One text per item; empty where none of the fields holds a letter or digit."""
    bare = items.text(settings.fields)
    labelled = items.text(settings.fields, labels=True) if settings.labels else bare
    texts = [text if _WORD.search(value) else "" for text, value in zip(labelled, bare, strict=True)]
    if settings.shuffle_seed is None:
        return texts
    return [texts[row] for row in np.random.default_rng(settings.shuffle_seed).permutation(len(texts))]


def text_vectors(context: FitContext, settings: TextSettings) -> TextVectors:
    """The vectors of the catalogue's texts, from the cache or computed now; equal texts have equal vectors.

    Raises:
        BadRequest: no item has any text in the fields asked for, or the encoder is not to be had here. Another encoder is never
            taken in its place.
    """
    held = held_fields(context.items, settings, context.log)
    texts = item_texts(context.items, settings)
    distinct = sorted(set(texts) - {""})
    if not distinct:
        raise BadRequest(
            f"Item text is read from {', '.join(held)}, and no item of this data set has a word in any of them. "
            "Choose other columns with --set text.fields=[...], or a model that needs no text."
        )
    n_without = texts.count("")
    if n_without:
        context.log.info("%d of %d items have no text in %s: their vector is zero", n_without, len(texts), ", ".join(held))
    config: dict[str, object] = {
        "texts": hashlib.sha256("\0".join(texts).encode()).hexdigest(),
        "unit_length": settings.unit_length,
    }
    inputs: list[Path] = []
    if settings.encoder == TFIDF_SVD:
        config |= {"encoder": TFIDF_SVD, "width": settings.svd_width}
        located = None
    else:
        located = locate_encoder(settings.encoder)
        config |= {"encoder": located.name, "pooling": settings.pooling, "max_tokens": settings.max_tokens}
        inputs = [located.folder] if located.is_known_by_content else []

    def build(folder: Path) -> None:
        if located is None:
            from recbench.nn.text.tfidf import tfidf_svd

            vectors, facts = tfidf_svd(distinct, width=settings.svd_width)
        else:
            from recbench.nn.text.transformer import encode

            shared, facts = encode(
                context.together(), located.folder, distinct, pooling=settings.pooling, max_tokens=settings.max_tokens, title=STAGE
            )
            if shared is None:
                return
            vectors = shared
        _write(vectors, distinct, texts, folder / VECTORS_FILE, unit_length=settings.unit_length)
        facts |= {"encoder": settings.encoder, "n_items": len(texts), "n_texts": len(distinct), "n_without_text": n_without}
        (folder / FACTS_FILE).write_text(json.dumps(facts, indent=1, sort_keys=True), encoding="utf-8")

    folder = context.common_stage(STAGE, build, config=config, inputs=inputs, together=located is not None)
    return TextVectors(np.load(folder / VECTORS_FILE, mmap_mode="r"), folder, settings.encoder)


def _write(vectors: NDArray[np.float32], distinct: list[str], texts: list[str], path: Path, *, unit_length: bool) -> None:
    """One row per item, from the rows of the distinct texts."""
    row_of = {text: row for row, text in enumerate(distinct)}
    row_I = np.array([row_of.get(text, -1) for text in texts], np.int64)
    out = new_matrix(path, np.float32, (len(texts), vectors.shape[1]))
    for start in range(0, len(texts), _ROWS_PER_BLOCK):
        row = row_I[start : start + _ROWS_PER_BLOCK]
        block = np.where(row[:, None] >= 0, vectors[row], np.float32(0))
        if unit_length:
            block /= np.maximum(np.linalg.norm(block, axis=1, keepdims=True), np.float32(1e-12))
        out[start : start + len(row)] = block
    out.flush()
