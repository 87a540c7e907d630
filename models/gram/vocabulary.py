"""The tokens that GRAM reads and writes: a vocabulary of its own, trained on the items' texts, or that of a pretrained model.

An own vocabulary: 0 pad, 1 end, 2 unknown, then numbers that tell equal IDs apart, then one token for each mark (a fixed text of the
prompts), then pieces that only imported IDs use, then the trained pieces. A backbone's vocabulary: its tokenizer's, and above it the
rows of the embedding table that no piece has. Numbers that neither has stand above all, in rows that are added for them.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from recbench.core.errors import BadData, BadRequest, refuse_exhaustion
from recbench.core.ragged import IntArray, Ragged
from recbench.nn.text import read_tokenizer, refuse_unknown_words

PAD, EOS, UNKNOWN = 0, 1, 2
"""The pad is also what the decoder starts with."""
WORD_MARK = "\N{LOWER ONE EIGHTH BLOCK}"
"""Stands for the space before a word."""
_TOKENIZER, _LAYOUT = "tokenizer.json", "vocabulary.json"
_CONTROL = ("<pad>", "</s>", "<unk>")
_BATCH = 4096


@dataclass(frozen=True)
class _Layout:
    """Origin of the rows of the embedding table, as it stands in `vocabulary.json`.

    Attributes:
        own: whether the vocabulary was trained here.
        n_rows: of the embedding table.
        unknown: the row of what no piece covers.
        continuation: begins pieces that go on within a word, which name nothing; empty where pieces begin with a word mark instead.
        special: rows of a backbone that stand for no text.
        n_numbers: own only, as the two that follow.
        marks: fixed texts.
        extra_pieces: pieces that the training did not give.
    """

    own: bool
    n_rows: int
    unknown: int = UNKNOWN
    continuation: str = ""
    special: tuple[int, ...] = (PAD, EOS, UNKNOWN)
    n_numbers: int = 0
    marks: tuple[str, ...] = ()
    extra_pieces: tuple[str, ...] = ()


class Vocabulary:
    """Texts to tokens; made by `own`, `of_backbone`, `of_word_pieces` or `load`."""

    def __init__(self, tokenizer: Tokenizer, layout: _Layout) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # A text that says "</s>" says just that; it ends nothing.
        tokenizer.encode_special_tokens = True
        self._tokenizer, self._layout = tokenizer, layout
        id_of = tokenizer.get_vocab(with_added_tokens=True)
        row_of = np.full(max(id_of.values()) + 1, layout.unknown, dtype=np.int32)
        if layout.own:
            numbers = [str(n) for n in range(layout.n_numbers)]
            self._pieces = [*_CONTROL, *numbers, *layout.marks, *layout.extra_pieces]
            # The tokenizer's 0 is its unknown token; the rest follow on the reserved rows.
            row_of[1:] = np.arange(len(self._pieces), len(self._pieces) + len(row_of) - 1)
            self._pieces += sorted(id_of, key=id_of.__getitem__)[1:]
        else:
            row_of[:] = np.arange(len(row_of))
            row_of[[PAD, EOS]] = layout.unknown
            self._pieces = [""] * len(row_of)
            for piece, row in id_of.items():
                self._pieces[row] = piece
        self._row_of = row_of
        if layout.own:
            first = len(self._pieces) - len(row_of) + 1 - len(layout.extra_pieces)
            self._token_of = {piece: row for row, piece in enumerate(self._pieces[first:], first)}
        else:
            self._token_of = id_of
        self._mark_of = {text: len(_CONTROL) + layout.n_numbers + n for n, text in enumerate(layout.marks)}

    @classmethod
    def own(
        cls, texts: Sequence[str], *, n_pieces: int, marks: Sequence[str], n_numbers: int = 32, extra_pieces: Sequence[str] = ()
    ) -> Self:
        """A vocabulary trained on the texts; equal texts give equal vocabularies.

        Byte-pair encoding of words, each with its word mark; punctuation stands alone, or a word before a comma would be another
        piece, and another name, than the word elsewhere.

        Args:
            texts: of the items, lower-case.
            n_pieces: tokens in all, about: small texts give fewer, and every character of the texts is a piece in any case.
            marks: fixed texts of the prompts, each with a token of its own.
            n_numbers: tokens that tell items of equal IDs apart.
            extra_pieces: get a token even if the training gives them none.
        """
        from tokenizers import models, pre_tokenizers, trainers

        marks = tuple(dict.fromkeys(text for text in marks if text))
        unknown = _CONTROL[UNKNOWN]
        tokenizer = Tokenizer(models.BPE(unk_token=unknown, fuse_unk=True))
        metaspace = pre_tokenizers.Metaspace(replacement=WORD_MARK, prepend_scheme="always")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace, pre_tokenizers.Punctuation()])
        n_trained = max(1, n_pieces - len(_CONTROL) - n_numbers - len(marks))
        trainer = trainers.BpeTrainer(vocab_size=n_trained + 1, special_tokens=[unknown], show_progress=False)
        tokenizer.train_from_iterator(texts, trainer, length=len(texts))
        given = tokenizer.get_vocab()
        extra = tuple(piece for piece in dict.fromkeys(extra_pieces) if piece not in given)
        n_rows = len(_CONTROL) + n_numbers + len(marks) + len(extra) + len(given) - 1
        return cls(tokenizer, _Layout(own=True, n_rows=n_rows, n_numbers=n_numbers, marks=marks, extra_pieces=extra))

    @classmethod
    def of_backbone(cls, folder: Path, n_rows: int, texts: Sequence[str] = ()) -> Self:
        """The vocabulary of a pretrained model.

        Args:
            folder: with the tokenizer's files.
            n_rows: of the model's embedding table, `vocab_size` in its config.
            texts: of the items, whose words the tokenizer must know.

        Raises:
            BadRequest: the folder holds no such tokenizer, one that pads and ends with other tokens than T5's, or one that knows less
                than half of the words of the texts.
        """
        pretrained = read_tokenizer(folder, "backbone", n_rows=n_rows)
        if not pretrained.is_fast:
            raise BadRequest(f"{folder} holds a tokenizer without tokenizer.json. Save it once as a fast tokenizer of transformers.")
        found = (pretrained.pad_token_id, pretrained.eos_token_id)
        if found != (PAD, EOS) or pretrained.unk_token_id is None:
            raise BadRequest(
                f"The tokenizer in {folder} has pad and end tokens {found} and unknown token {pretrained.unk_token_id}; "
                f"GRAM needs {PAD}, {EOS} and any. Name the folder of a pretrained T5."
            )
        refuse_unknown_words(pretrained, texts, folder, "backbone")
        tokenizer = Tokenizer.from_str(pretrained.backend_tokenizer.to_str())
        added = [token for token, what in tokenizer.get_added_tokens_decoder().items() if what.special]
        special = tuple(sorted({*pretrained.all_special_ids, *added}))
        return cls(tokenizer, _Layout(own=False, n_rows=n_rows, unknown=pretrained.unk_token_id, special=special))

    @classmethod
    def of_word_pieces(cls, folder: Path, texts: Sequence[str] = ()) -> Self:
        """The vocabulary of an encoder with WordPieces, such as BERT's; `texts` are of the items, whose words it must know.

        Raises:
            BadRequest: the folder holds no such tokenizer, or one that knows less than half of the words of the texts.
        """
        pretrained = read_tokenizer(folder, "backbone", n_rows=None)
        refuse_unknown_words(pretrained, texts, folder, "backbone")
        model = json.loads(pretrained.backend_tokenizer.to_str())["model"]
        special, n_rows = tuple(sorted(pretrained.all_special_ids)), max(pretrained.get_vocab().values()) + 1
        layout = _Layout(False, n_rows, pretrained.unk_token_id, model["continuing_subword_prefix"], special)
        return cls(Tokenizer.from_str(pretrained.backend_tokenizer.to_str()), layout)

    @property
    def size(self) -> int:
        """Rows that the embedding table needs."""
        return self._layout.n_rows

    def encode(self, texts: Sequence[str]) -> Ragged:
        """The tokens of each text as it stands, nothing put before or behind; never the pad or the end token."""
        parts: list[IntArray] = []
        lengths = []
        for start in range(0, len(texts), _BATCH):
            for encoding in self._tokenizer.encode_batch_fast(list(texts[start : start + _BATCH]), add_special_tokens=False):
                parts.append(np.array(encoding.ids, dtype=np.int32))
                lengths.append(len(parts[-1]))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        flat = np.concatenate(parts) if parts else np.empty(0, np.int32)
        return Ragged(self._row_of[flat], offsets)

    def mark(self, text: str) -> tuple[int, ...]:
        """The tokens of a fixed text that stands between two parts of a prompt; none for an empty one.

        Raises:
            ValueError: an own vocabulary was made without that mark.
        """
        if not text:
            return ()
        if self._layout.own:
            if text not in self._mark_of:
                raise ValueError(f"The vocabulary has no mark {text!r}, only {sorted(self._mark_of)}. Name it when the vocabulary is made.")
            return (self._mark_of[text],)
        # What follows brings the blank before it along, as its word mark.
        first, *rest = self.encode([text.rstrip()])[0].tolist()
        if not text[0].isspace() and not text[0].isalnum():
            # The comma of "red, blue" belongs to the word before it, so it has no word mark.
            bare = self.piece(first).removeprefix(WORD_MARK)
            token = self.token(bare)
            return (*([] if not bare else [first if token is None else token]), *rest)
        return (first, *rest)

    def number(self, n: int) -> int:
        """The token of a number that tells items of equal IDs apart.

        Raises:
            ValueError: there is none for it; `ensure_numbers` makes room.
        """
        token = self._number(n)
        if not 0 <= token < self.size:
            raise ValueError(f"The vocabulary has no token for the number {n}. Ask ensure_numbers for it.")
        return token

    def ensure_numbers(self, n: int) -> None:
        """Add rows to the embedding table until there is a token for each of the numbers 0 to n - 1."""
        n_rows = max([self.size, *(self._number(number) + 1 for number in range(n))])
        self._layout = replace(self._layout, n_rows=n_rows)
        self.__dict__.pop("may_name", None)

    def _number(self, n: int) -> int:
        """Row of a number, whether the table has it yet or not; -1 for one that is none."""
        if n < 0:
            return -1
        if self._layout.own:
            reserved = self._layout.n_numbers
            return len(_CONTROL) + n if n < reserved else len(self._pieces) + n - reserved
        for piece in (f"{WORD_MARK}{n}", str(n)):
            if piece in self._token_of:
                return self._token_of[piece]
        return len(self._row_of) + n

    def piece(self, token: int) -> str:
        """Meaning of the token, for people to read; a number for a number."""
        if token < len(self._pieces):
            return self._pieces[token]
        return str(token - len(self._pieces) + self._layout.n_numbers)

    def token(self, piece: str) -> int | None:
        """The token of exactly this piece, word mark included; None where there is none."""
        return self._token_of.get(piece)

    @cached_property
    def may_name(self) -> NDArray[np.bool_]:
        """Which tokens may stand in an ID, (size,): pieces of two characters or more, of which the word mark may be one."""
        may = np.zeros(self.size, dtype=np.bool_)
        for piece, token in self._token_of.items():
            # One of two characters at least is not the mark, so the bare mark is out, too.
            may[token] = len(piece) >= 2 and not (self._layout.continuation and piece.startswith(self._layout.continuation))
        may[list(self._layout.special)] = False
        return may

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and `vocabulary.json`; a backbone's folder is not needed any more."""
        (folder / _TOKENIZER).write_text(self._tokenizer.to_str(), encoding="utf-8")
        (folder / _LAYOUT).write_text(json.dumps(asdict(self._layout), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the file that `save` wrote; `BadData` where it is something else."""
        try:
            written = json.loads((folder / _LAYOUT).read_text(encoding="utf-8"))
            values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in written.items()}
            return cls(Tokenizer.from_str((folder / _TOKENIZER).read_text(encoding="utf-8")), _Layout(**values))
        # The tokenizers library raises bare exceptions.
        except Exception as error:
            refuse_exhaustion(error, folder)
            raise BadData(f"{folder} holds no vocabulary: {error}. Delete that folder and give the command again.") from None
