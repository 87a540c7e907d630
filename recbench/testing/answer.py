"""`python -m recbench.testing.answer FOLDER`: a saved model answers, in a process that has seen neither training nor data."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from recbench import registry
from recbench.core import Catalogue, Histories, Plugin, Queries

MODEL = "model"
_QUESTION = "question.json"
_ANSWER = "answer.npz"


def write_question(folder: Path, plugin: Plugin, config: dict[str, Any], catalogue: Catalogue, queries: Queries, k: int) -> None:
    """Write what the other process must know; the model itself is expected in `folder/model`."""
    question = {
        "plugin": plugin.card.name,
        "folder": str(plugin.folder),
        "config": config,
        "n_items": catalogue.n_items,
        "n_users": catalogue.n_users,
        "item": queries.histories.item.tolist(),
        "offsets": queries.histories.offsets.tolist(),
        "user": queries.user.tolist(),
        "user_ids": list(queries.user_ids),
        "views": list(queries.views),
        "timestamp": None if queries.timestamp is None else queries.timestamp.tolist(),
        "k": k,
    }
    (folder / _QUESTION).write_text(json.dumps(question), encoding="utf-8")


def read_answer(folder: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Items and scores that the other process gave, as in `Rankings`."""
    with np.load(folder / _ANSWER, allow_pickle=False) as arrays:
        return arrays["items"], arrays["scores"]


def _plugin(name: str, folder: Path) -> Plugin:
    installed = registry.models()
    if name in installed and installed.load(name).folder == folder:
        return installed.load(name)
    return registry.models([folder]).load(name)


def main(folder: Path) -> None:
    """Answer the question in `folder`."""
    question = json.loads((folder / _QUESTION).read_text(encoding="utf-8"))
    plugin = _plugin(question["plugin"], Path(question["folder"]))
    config = plugin.config.model_validate(question["config"])
    recommender = plugin.build(config, Catalogue(question["n_items"], question["n_users"]))
    recommender.load(folder / MODEL)
    timestamp = question["timestamp"]
    queries = Queries(
        Histories(np.array(question["item"], np.int32), np.array(question["offsets"], np.int64)),
        np.array(question["user"], np.int32),
        np.array(question["user_ids"], object),
        tuple(question["views"]),
        None if timestamp is None else np.array(timestamp, np.int64),
    )
    rankings = recommender.generate(queries, question["k"])
    np.savez(folder / _ANSWER, items=rankings.items, scores=rankings.scores)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
