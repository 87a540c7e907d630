"""A pretrained T5 as the start of the network: its layers, and of its table of pieces the rows that phrases use."""

from collections.abc import Sequence
from pathlib import Path

import torch

from recbench.core import BadConfig
from recbench.nn.blocks import FIRST_CODE, START, CodeSeq2Seq, Seq2SeqSettings
from recbench.nn.text import load_t5, read_t5_config, refuse_unknown_words, tokenizer_of
from recbench_models.idgenrec.phrases import Cut

_ROLE = "backbone"
_FIELDS = {
    "width": "d_model",
    "n_encoder_layers": "num_layers",
    "n_decoder_layers": "num_decoder_layers",
    "n_heads": "num_heads",
    "head_width": "d_kv",
    "hidden": "d_ff",
}
"""Settings of the generator that the backbone has too, and what its config.json calls them."""


def pieces_of(folder: Path) -> Cut:
    """Cuts phrases into the pieces of a backbone's tokenizer.

    Raises:
        BadRequest: in one sentence, whatever is missing, damaged or of another kind.
    """
    tokenizer = tokenizer_of(folder, _ROLE, read_t5_config(folder, _ROLE))

    def cut(phrases: Sequence[str]) -> Sequence[Sequence[int]]:
        refuse_unknown_words(tokenizer, phrases, folder, _ROLE)
        found: Sequence[Sequence[int]] = tokenizer(list(phrases), add_special_tokens=False)["input_ids"]
        return found

    return cut


def refuse_other_sizes(folder: Path, settings: Seq2SeqSettings) -> None:
    """Nothing, if a backbone has the sizes of the generator and its kind of layers.

    Raises:
        BadConfig: names the setting to change, or the kind of T5 to choose.
    """
    config = read_t5_config(folder, _ROLE)
    for setting, field in _FIELDS.items():
        ours, theirs = getattr(settings, setting), getattr(config, field)
        if ours != theirs:
            raise BadConfig(
                f"generator.{setting}={ours} and the backbone in {folder} has {theirs}. Write --set generator.{setting}={theirs}, or "
                "choose another backbone."
            )
    if config.feed_forward_proj != "relu" or not config.tie_word_embeddings:
        raise BadConfig(
            f"The backbone in {folder} has other layers than the generator (feed_forward_proj={config.feed_forward_proj!r}, "
            f"tie_word_embeddings={config.tie_word_embeddings}). Choose a T5 of the first release, such as hf:google-t5/t5-small."
        )


@torch.no_grad()
def start_from(network: CodeSeq2Seq, folder: Path, pieces: Sequence[int]) -> None:
    """Put the weights of a backbone into an untrained network; rows of tokens that no piece stands for keep their random ones.

    Args:
        network: of the same sizes.
        folder: of the backbone.
        pieces: number of the piece that each code token stands for.
    """
    backbone = load_t5(folder, _ROLE)
    given = dict(backbone.named_parameters())
    table = network.t5.shared.weight
    for name, parameter in network.t5.named_parameters():
        if parameter is not table:
            parameter.copy_(given[name])
    row_of, config = backbone.shared.weight, backbone.config
    table[START] = row_of[config.decoder_start_token_id]
    table[FIRST_CODE : FIRST_CODE + len(pieces)] = row_of[torch.tensor(pieces)]
    if network.end is not None:
        table[network.end] = row_of[config.eos_token_id]
