"""Samples per second of training GRAM: padded slots as published, only real tokens, and all targets of a user in one pass.

    RECBENCH_DATA=... python benchmarks/gram_batches.py [--dataset beauty] [--users 1500] [--batch 128] [--threads 2] [--repeats 3]
                                                        [--most-batches 20] [--clock wall]

A sample is a history and the item that follows it. All rows train the same network (preset `cpu`'s sizes, random weights, the data set's
own texts) on the same samples of the train part of the same users, with dropout 0 so that their losses can be compared: making the
batch, forward pass, backward pass, AdamW. Texts are tokens already, which the published code makes them anew in each step.

padded slots          As the published code does it: random batches of `--batch` samples; each has a slot for the user prompt and one for
                      each item of the longest history of the batch, and each slot is padded to the longest text. All slots, empty ones
                      too, pass through the library's encoder, and all that is real is read by its decoder. Layers are torch's own.
  oneDNN              The same with the products of `recbench.nn.compute.projection`.
flat slots            `packing = "none"`: one sample per stretch, stretches of like length together. A text is encoded once for all samples
                      of a batch that read it, and no empty slot is.
user-packed           `packing = "user"`, the default: stretches of users, whose targets share the texts of their items.

Before anything is trained the mean loss per token over all samples and the gradient of the summed loss over the samples of the first 16
users are compared. Every repeat starts from the same weights and runs the rows one after the other; no row runs more than
`--most-batches`, the first of which is not timed. The median of the repeats is printed.

Measured on 2026-11-27, two cores of an AMD EPYC, 300 users, 8 batches, 3 repeats, samples per second: padded slots 170 (with oneDNN 228),
flat slots 510, user-packed 828.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration

from recbench.core import Histories, Interactions, SilentProgress
from recbench.core.ragged import LongArray, flat_index
from recbench.data import locate, make_split, read_dataset
from recbench.data.split import Split
from recbench.nn.compute.projection import replace_linear
from recbench.nn.training.windows import Windows
from recbench.tasks import NEXT_ITEM
from recbench.testing import LightContext
from recbench_models.gram import PLUGIN
from recbench_models.gram.data import Examples
from recbench_models.gram.network import GRAMTraining, padded_tokens
from recbench_models.gram.preparation import prepare
from recbench_models.gram.recommender import GRAM, _backbone, _Texts
from recbench_models.gram.vocabulary import PAD

N_USERS_OF_GRADIENT = 16

# B samples, N slots, L tokens of a slot, M tokens of a memory, D width, P places, I items, Y tokens of an ID


def divided(dataset: str) -> Split:
    """The data set's train, validation and test part."""
    if "RECBENCH_DATA" not in os.environ:
        sys.exit("RECBENCH_DATA is not set. Point it at a folder that holds NAME/interactions.parquet.")
    progress, home = SilentProgress(), Path.home() / ".cache" / "recbench"
    located = locate(dataset, data_dir=Path(os.environ["RECBENCH_DATA"]), home=home, progress=progress, fetch=False)
    return make_split(read_dataset(located, progress), NEXT_ITEM.protocol())


def untrained(split: Split, **changes: Any) -> GRAM:
    """GRAM of preset `cpu` over the data set's texts, with random weights; the similar items that prompts name are any others."""
    with TemporaryDirectory() as name:
        context = LightContext(split.train, Path(name), texts=split.items.columns)
        neighbours, item_ids = Path(name) / "neighbours.txt", context.items.item_ids
        config = PLUGIN.resolve("cpu", None, {"text.encoder": "tfidf-svd", "neighbours.file": str(neighbours), **changes})
        step = np.random.default_rng(0).choice(np.arange(1, len(item_ids)), config.neighbours.count, replace=False)
        lines = [" ".join([item, *item_ids[(row + step) % len(item_ids)]]) for row, item in enumerate(item_ids)]
        neighbours.write_text("\n".join(["anchor similar", *lines]) + "\n", encoding="utf-8")
        prepared = prepare(context, config)
    fixed = (config.prompts.user_start, config.prompts.user_separator, config.prompts.user_end)
    gram = GRAM(config)
    torch.manual_seed(0)
    texts = _Texts(prepared.ids.tokens, prepared.prompts, *(prepared.vocabulary.mark(text) for text in fixed))
    gram._build(_backbone(config.backbone, prepared.vocabulary.size), texts)
    return gram


def library_model(gram: GRAM) -> Any:
    """The library's own T5 with GRAM's weights; GRAM's has other layers in the places of some of torch's."""
    t5 = gram._trained.t5
    copy = T5ForConditionalGeneration(T5Config.from_dict(t5.config.to_dict()))
    copy.load_state_dict(t5.state_dict())
    return copy.eval()


class Slots:
    """Histories as rectangles of texts: the user prompt, then the item prompts from the newest item on."""

    def __init__(self, gram: GRAM) -> None:
        prompt_IL = padded_tokens(gram._texts.prompts)
        # A row more, for slots without an item.
        self._prompt_IL = np.concatenate([prompt_IL, np.full_like(prompt_IL[:1], PAD)])
        self._user_prompts, self._max_history = gram._user_prompts, gram.config.prompts.max_history

    def __call__(self, histories: Histories) -> Tensor:
        """Tokens (B, N, L), N by the longest history and L by the longest text; `PAD` where there is nothing."""
        histories = histories.tail(self._max_history)
        user_BL = padded_tokens(self._user_prompts(histories))
        item_BNL = self._prompt_IL[histories.padded(-1, side="left")[:, ::-1]]
        longest = max(user_BL.shape[1], item_BNL.shape[2])
        token_BNL = np.full((len(histories), item_BNL.shape[1] + 1, longest), PAD)
        token_BNL[:, 0, : user_BL.shape[1]] = user_BL
        token_BNL[:, 1:, : item_BNL.shape[2]] = item_BNL
        return torch.from_numpy(token_BNL[:, :, : int((token_BNL != PAD).sum(2).max())])


def library_memory(t5: Any, token_BNL: Tensor, place_PD: Tensor) -> tuple[Tensor, Tensor]:
    """The memory of slots, (B, M, D), encoded by the library, and where it is real, (B, M)."""
    token_SL = token_BNL.flatten(0, 1)
    state_SLD = t5.encoder(input_ids=token_SL, attention_mask=(token_SL != PAD).long()).last_hidden_state
    return laid_end_to_end(state_SLD, token_BNL, place_PD)


def laid_end_to_end(state_SLD: Tensor, token_BNL: Tensor, place_PD: Tensor) -> tuple[Tensor, Tensor]:
    """The memory of encoded slots, vectors of their places added, (B, M, D), and where it is real, (B, M)."""
    state_BNLD = state_SLD.unflatten(0, token_BNL.shape[:2]) + place_PD[: token_BNL.shape[1], None]
    return state_BNLD.flatten(1, 2), (token_BNL != PAD).flatten(1)


class PaddedSlots(nn.Module):
    """The published way: `module(rows)` gives the loss of samples `rows` times their number, and that number, as `GRAMTraining` does."""

    def __init__(self, gram: GRAM, windows: Windows) -> None:
        super().__init__()
        self.t5, self.places = library_model(gram), deepcopy(gram._trained.places)
        self._label_IY, self._slots, self._windows = gram._trained.label_IY, Slots(gram), windows

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        windows = self._windows
        index, _ = flat_index(np.stack([windows.start, windows.start + windows.length], 1).flatten(), 2 * rows)
        offsets = np.concatenate([[0], np.cumsum(windows.length[rows])]).astype(np.int64)
        memory_BMD, is_real_BM = library_memory(self.t5, self._slots(Histories(windows.item[index], offsets)), self.places.weight)
        label_BY = self._label_IY[windows.trained(rows)[0][:, 0]]
        label_BY = label_BY.masked_fill(label_BY == PAD, -100)
        out = self.t5(encoder_outputs=(memory_BMD,), attention_mask=is_real_BM.long(), labels=label_BY, use_cache=False)
        return out.loss * len(rows), len(rows)


@dataclass
class Row:
    """One way to train: fresh modules with the same weights, and batches of window numbers."""

    windows: Windows
    module: Callable[[], nn.Module]
    batches: Callable[[int], list[LongArray]]
    label_length_I: LongArray

    def summed_loss(self, module: nn.Module, rows: LongArray) -> tuple[Tensor, int]:
        """The loss summed over tokens, and how many these are."""
        loss, n_samples = module(rows)
        target_BC, _ = self.windows.trained(rows)
        n_tokens = int(self.label_length_I[target_BC[target_BC >= 0]].sum())
        return loss * (n_tokens / n_samples), n_tokens

    @torch.no_grad()
    def mean_loss(self) -> float:
        """Per token, over all samples."""
        module = self.module()
        parts = [self.summed_loss(module, rows) for rows in self.batches(0)]
        return sum(loss.item() for loss, _ in parts) / sum(n_tokens for _, n_tokens in parts)

    def gradients(self) -> dict[str, Tensor]:
        """Of the summed loss over the samples of some users."""
        module = self.module()
        self.summed_loss(module, np.flatnonzero(self.windows.user < N_USERS_OF_GRADIENT))[0].backward()
        return {name.removeprefix("network."): parameter.grad for name, parameter in module.named_parameters()}

    def samples_per_second(self, learning_rate: float, repeat: int, most_batches: int, now: Callable[[], float]) -> float:
        module = self.module().train()
        optimizer = torch.optim.AdamW(module.parameters(), lr=learning_rate, fused=True)
        seconds, n_total = 0.0, 0
        for number, rows in enumerate(self.batches(repeat)[:most_batches]):
            start = now()
            loss, n_samples = module(rows)
            optimizer.zero_grad()
            (loss / n_samples).backward()
            optimizer.step()
            if number > 0:  # the first batch pays for memory that later ones find ready
                seconds += now() - start
                n_total += n_samples
        if not n_total:
            raise SystemExit("All users fit one batch, which is not timed. Ask for more --users, a smaller --batch or more --most-batches.")
        return n_total / seconds


def rows_of(gram: GRAM, train: Interactions) -> dict[str, Row]:
    cut = gram.config.examples
    size, label_length_I = cut.batch_targets, (gram._trained.label_IY != PAD).sum(1).numpy()
    packed, flat = (
        Examples(gram.config.model_copy(update={"examples": cut.model_copy(update={"packing": packing})}), train, gram._user_prompts)
        for packing in ("user", "none")
    )

    def shuffled(seed: int) -> list[LongArray]:
        order = np.random.default_rng(seed).permutation(len(flat.windows))
        return np.split(order, np.arange(size, len(order), size))

    def padded(*, has_our_products: bool) -> nn.Module:
        module = PaddedSlots(gram, flat.windows)
        if has_our_products:
            replace_linear(module.t5)
        return module

    def ours(examples: Examples) -> Row:
        return Row(
            examples.windows,
            lambda: GRAMTraining(deepcopy(gram._trained), examples),
            lambda seed: list(examples.batches(np.random.default_rng(seed))),
            label_length_I,
        )

    return {
        "padded slots": Row(flat.windows, lambda: padded(has_our_products=False), shuffled, label_length_I),
        "  oneDNN": Row(flat.windows, lambda: padded(has_our_products=True), shuffled, label_length_I),
        "flat slots": ours(flat),
        "user-packed": ours(packed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="beauty")
    parser.add_argument("--users", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--most-batches", type=int, default=20)
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: the process's own seconds, where others use the machine"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    split = divided(options.dataset)
    examples = {"windows_per_user": None, "batch_targets": options.batch}
    gram = untrained(split, backbone={"dropout": 0.0, "attention_dropout": 0.0}, examples=examples)
    train = split.train.take(np.arange(min(options.users, split.train.n_users)))
    rows = rows_of(gram, train)
    n_samples = int(np.maximum(train.lengths - 1, 0).sum())
    print(f"{options.dataset}: {n_samples:,} samples of {len(train):,} users, about {options.batch} in a batch")
    print(f"{options.threads} threads, {options.clock} clock, median of {options.repeats}")

    expected, losses = rows["padded slots"].gradients(), {name: row.mean_loss() for name, row in rows.items()}
    worst = {}
    for name, row in rows.items():
        found = row.gradients()
        worst[name] = max(float((found[key] - value).norm() / value.norm()) for key, value in expected.items())

    now = time.perf_counter if options.clock == "wall" else time.process_time
    rates: dict[str, list[float]] = {name: [] for name in rows}
    for repeat in range(options.repeats):
        for name, row in rows.items():
            rates[name].append(row.samples_per_second(gram.config.training.learning_rate, repeat, options.most_batches, now))
    rate = {name: statistics.median(values) for name, values in rates.items()}
    print(f"\n{'':14} samples/s      x   loss per token   gradient differs by")
    for name in rows:
        print(f"{name:14} {rate[name]:9,.1f} {rate[name] / rate['padded slots']:6.1f} {losses[name]:16.6f} {worst[name]:21.0e}")
    if any(abs(loss / losses["padded slots"] - 1) > 1e-4 for loss in losses.values()) or max(worst.values()) > 1e-3:
        sys.exit("The rows do not train the same: losses or gradients differ.")


if __name__ == "__main__":
    main()
