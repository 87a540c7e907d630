"""Processor seconds of ActionPiece's vocabulary, and of a pass of training with its part for cutting histories into tokens.

    RECBENCH_DATA=... python benchmarks/actionpiece_vocabulary.py [--dataset beauty] [--threads 1] [--batches 40]

Everything is that of preset `cpu`, but that the digits come from TF-IDF vectors of the titles, so that no pretrained weights are needed.
Batches are drawn at random from those of a pass, and their seconds are multiplied up to the whole pass. The first two do not count.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from recbench.core import ConsoleProgress, Interactions, SilentProgress
from recbench.core.interactions import ItemTable
from recbench.data import locate, make_split, read_dataset
from recbench.nn.blocks import CodeTraining, Examples
from recbench.nn.codes.quantize.product import product_quantization
from recbench.nn.codes.quantize.whitening import whitened
from recbench.nn.text.tfidf import tfidf_svd
from recbench.tasks import NEXT_ITEM
from recbench_models.actionpiece import PLUGIN
from recbench_models.actionpiece.config import ActionPieceConfig
from recbench_models.actionpiece.features import feature_tokens
from recbench_models.actionpiece.merges import learn_vocabulary
from recbench_models.actionpiece.network import SegmentedSeq2Seq
from recbench_models.actionpiece.vocabulary import Vocabulary


def vocabulary_of(config: ActionPieceConfig, train: Interactions, items: ItemTable) -> Vocabulary:
    """The vocabulary of a train part; prints what it took."""
    codes = config.codes
    vectors, _ = tfidf_svd(items.text(("title",)), width=codes.width)
    white = whitened(vectors, codes.width, fit_rows=None, unit_length=codes.unit_length)
    digits = product_quantization(
        white, n_digits=codes.n_digits, size=codes.codebook_size, seed=codes.seed, rotation=codes.rotation, train_rows=np.unique(train.item)
    )
    # Titles may be equal, as descriptions of a kind are: as many hash values as the largest group needs.
    largest = int(np.unique(digits.codes, axis=0, return_counts=True)[1].max())
    hash_size = max(config.vocabulary.hash_size, largest)
    features, sizes = feature_tokens(digits.codes, digits.level_sizes, hash_size, config.vocabulary.seed)
    start = time.process_time()
    vocabulary = learn_vocabulary(
        features, sizes, train, size=config.vocabulary.size, across_items=config.vocabulary.across_items, progress=ConsoleProgress()
    )
    merges = f"{vocabulary.n_values:,} values, {len(vocabulary.parts_M2):,} merges"
    print(f"vocabulary           {time.process_time() - start:8.1f} s   {merges}, {vocabulary.codes().lengths.mean():.2f} tokens an item")
    return vocabulary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="beauty")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", type=int, default=40)
    options = parser.parse_args()
    if "RECBENCH_DATA" not in os.environ:
        sys.exit("RECBENCH_DATA is not set. Point it at a folder that holds NAME/interactions.parquet.")
    torch.set_num_threads(options.threads)
    home, progress = Path.home() / ".cache" / "recbench", SilentProgress()
    located = locate(options.dataset, data_dir=Path(os.environ["RECBENCH_DATA"]), home=home, progress=progress, fetch=False)
    split = make_split(read_dataset(located, progress), NEXT_ITEM.protocol())
    config = PLUGIN.resolve("cpu")
    assert isinstance(config, ActionPieceConfig)
    print(f"{options.dataset}: {len(split.train.item):,} events of {split.train.n_users:,} users, {options.threads} threads")
    vocabulary = vocabulary_of(config, split.train, split.items)

    torch.manual_seed(0)
    network = SegmentedSeq2Seq(config.generator, vocabulary, across_items=config.vocabulary.across_items, n_readings=1, seed=0)
    examples = Examples(config.generator, split.train, split.user_ids)
    module = CodeTraining(network, examples).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.training.learning_rate, fused=True)
    batches = examples.batches(np.random.default_rng(0))
    drawn = np.random.default_rng(1).permutation(len(batches))[: options.batches + 2]
    cutting, steps = [], []
    for number in drawn:
        item_BT = examples.tensors(batches[number], torch.device("cpu"))[0]
        start = time.process_time()
        network.memory_tokens(item_BT, None)
        cutting.append(time.process_time() - start)
        start = time.process_time()
        loss, n_targets = module(batches[number])
        optimizer.zero_grad()
        (loss / n_targets).backward()
        optimizer.step()
        steps.append(time.process_time() - start)
    print(f"pass of training     {np.mean(steps[2:]) * len(batches):8.1f} s   {len(batches):,} steps")
    print(f"of it for cutting    {np.mean(cutting[2:]) * len(batches):8.1f} s")


if __name__ == "__main__":
    main()
