"""HLLM (arXiv:2409.12740)."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from recbench.core import Catalogue, FitContext, FitReport, Parameters, Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.nn.compute import load_weights
from recbench.nn.training import count_parameters, is_sharded, joined, shard_weights, torch_seeded, train, whole
from recbench_models.hllm.answers import Answers
from recbench_models.hllm.bodies import body_from, item_body, layer_list
from recbench_models.hllm.catalogue import item_vectors, store_lower_states
from recbench_models.hllm.collapse import warn_of_alike_items
from recbench_models.hllm.config import HLLMConfig
from recbench_models.hllm.data import batches_of, sequences_of
from recbench_models.hllm.item_text import item_tokens
from recbench_models.hllm.item_tower import ItemTower
from recbench_models.hllm.network import CachedItems, HLLMTraining
from recbench_models.hllm.released import begin_with_released
from recbench_models.hllm.user_side import UserSide, unspread

_USER, _VECTORS, _ITEM_TOWER, _SIZES = "user.safetensors", "items.safetensors", "item_tower.safetensors", "hllm.json"


class HLLM:
    """Ranks items by the cosine of their text's vector with what the user tower makes of the vectors of the history."""

    def __init__(self, config: HLLMConfig, catalogue: Catalogue) -> None:
        self.config = config
        self.n_items = catalogue.n_items
        self._user: UserSide | None = None
        self._vectors: NDArray[np.float32] | None = None
        """(n_items + 1, width of the item tower); None while the item tower is trained."""
        self._training: HLLMTraining | None = None
        self._tuned: dict[str, Tensor] = {}
        self._answers: Answers | None = None

    def fit(self, context: FitContext) -> FitReport:
        """Read the items' texts and train the towers: both together, the user tower alone, or one after the other."""
        config = self.config
        self.n_items = context.train.n_items
        self._vectors = self._answers = None
        tokens = item_tokens(context, config)
        n_full = int(np.count_nonzero(tokens.lengths == config.text.max_tokens))
        context.log.info("item texts: %.1f tokens on average, %d of %d as long as may be", tokens.lengths.mean(), n_full, self.n_items)
        with torch_seeded(context.seed, "hllm", "initial weights"):
            tower = ItemTower(item_body(config), tokens, config)
            self._user = UserSide(config, tower.width)
        checkpoint = config.located_checkpoint()
        if checkpoint is not None:
            begin_with_released(checkpoint, tower, self._user)
        of_tower = count_parameters(tower)
        tower.to(context.device)
        warn_of_alike_items(tower, self.n_items, config.negatives, context.generator("alike items"), context.log)
        if tower.can_store:
            store_lower_states(context, tower, config)
        towers, budget = None, context.budget
        if tower.n_trained and config.joint.steps is not None:
            towers = self._train(
                context,
                tower,
                config.of_both_towers,
                name="towers",
                budget=budget.part(config.joint.budget_share),
            )
            budget = budget.without(steps=towers.steps, examples=towers.examples_seen)
        if tower.n_trained and config.joint.steps is None:
            report = self._train(context, tower, config, ranker=self)
            vectors_file = self._read_catalogue(context, tower)
        else:
            vectors_file = self._read_catalogue(context, tower)
            report = self._train(
                context, CachedItems(self._known_vectors(), torch.device(context.device)), config, ranker=self, budget=budget
            )
            self._end_training(tower)
        self._tuned = tower.trained_weights() if tower.n_trained else {}
        of_user = count_parameters(self._trained)
        parameters = Parameters(
            total=of_user.total + of_tower.total,
            trainable=of_user.trainable + sum(tensor.numel() for tensor in self._tuned.values()),
            embedding=of_user.embedding + of_tower.embedding,
        )
        report = report if towers is None else joined(towers, report)
        return replace(report, parameters=parameters, artefacts={**report.artefacts, "vectors": vectors_file})

    def _read_catalogue(self, context: FitContext, tower: ItemTower) -> Path:
        """The file with the vectors of the catalogue by the tower as it is now, which is trained no more."""
        with whole(self._training) if self._training is not None else nullcontext():
            file = item_vectors(context, tower, self.config)
        self._vectors = np.load(file, mmap_mode="r")
        self._end_training(tower)
        if not any(map(is_sharded, tower.parameters())):
            tower.cpu()  # a language model of billions of weights would stand in the way of what comes
        return file

    def _end_training(self, tower: ItemTower) -> None:
        self._user = unspread(self._trained, self.config, tower.width)
        self._training = self._answers = None

    def _train(self, context: FitContext, items: ItemTower | CachedItems, config: HLLMConfig, **more: Any) -> FitReport:
        """One training of the user side, and of the item tower where that makes the items' vectors."""
        windows = sequences_of(context.train, config.sequences)
        self._training = HLLMTraining(items, self._trained, windows, self.n_items, config, context.world, context.log).to(context.device)
        self._answers = None
        if config.sharding == "full":
            bodies = [self._trained.tower.body, *([items.body] if isinstance(items, ItemTower) else [])]
            shard_weights(
                self._training, [layer for body in bodies for layer in layer_list(body)], context.world, torch.device(context.device)
            )
        n_shares = context.world.size * config.training.accumulate

        def batches(epoch: int) -> list[LongArray]:
            return batches_of(
                windows, config.sequences.batch_size, context.generator("batches", type(items).__name__, epoch), n_shares=n_shares
            )

        factors = {"items.": config.item.learning_rate / config.training.learning_rate} if config.item.learning_rate is not None else {}
        n_possible = int(windows.n_targets.sum())
        return train(
            context, self._training, batches=batches, settings=config.training, examples_possible=n_possible, rate_factors=factors, **more
        )

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items with the largest cosine, or the largest logit where the task is discriminative; of the whole catalogue, exactly. An
        empty history is read as one item without text."""
        version = -1 if self._training is None else self._training.weights_version
        if self._answers is None or self._answers.weights_version != version:
            user = self._trained.eval()
            self._answers = Answers(user, self._known_vectors(), self.config, version)
        return self._answers.rank(queries, k)

    def item_vectors(self) -> NDArray[np.float32]:
        """The vectors of the items' texts by the item tower, (n_items, D) float32."""
        return np.array(self._known_vectors()[:-1])

    def save(self, folder: Path) -> None:
        """Write the items' vectors, everything beside the item tower, and what of the item tower was trained."""
        user = self._trained
        save_file({"vectors": torch.from_numpy(np.array(self._known_vectors()))}, folder / _VECTORS)
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in user.state_dict().items()}, folder / _USER)
        if self._tuned:
            save_file(self._tuned, folder / _ITEM_TOWER)
        sizes = {"n_items": self.n_items, "user_tower": user.tower.body.config.to_dict()}
        (folder / _SIZES).write_text(json.dumps(sizes, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what answering needs; `BadData` where weights and sizes do not fit each other. The item tower is not read."""
        sizes = json.loads((folder / _SIZES).read_text(encoding="utf-8"))
        self.n_items = int(sizes["n_items"])
        self._vectors = load_file(folder / _VECTORS)["vectors"].numpy()
        with torch.random.fork_rng(devices=[]):
            user = UserSide(self.config, self._vectors.shape[1], body_from(sizes["user_tower"]))
        load_weights(user.state_dict(), folder / _USER)
        self._user, self._answers, self._training = user.eval(), None, None

    def to(self, device: str) -> None:
        """Move what answers."""
        self._trained.to(device)
        self._answers = None

    def _known_vectors(self) -> NDArray[np.float32]:
        """The vectors of all items and of the empty text; read anew by the item tower while that is trained."""
        if self._vectors is not None:
            return self._vectors
        if self._training is None:
            raise RuntimeError("HLLM has no item vectors before fit or load.")
        tower = self._training.items
        assert isinstance(tower, ItemTower)
        every = np.arange(self.n_items + 1, dtype=np.int64)
        vectors = np.empty((len(every), tower.width), np.float32)
        with torch.inference_mode():
            for rows in tower.batches(every):
                vectors[rows] = tower.vectors(rows).cpu().numpy()
        return vectors

    @property
    def _trained(self) -> UserSide:
        if self._user is None:
            raise RuntimeError("HLLM has no user tower before fit or load.")
        return self._user
