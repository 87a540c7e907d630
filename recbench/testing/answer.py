"""`python -m recbench.testing.answer`: saved models answer, in a process that has seen neither training nor data.

Each line of its input is a folder with a model and a question; the line comes back when the answer lies there too.
"""

import json
import os
import subprocess
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


def _answer(folder: Path) -> None:
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


def environment_without_data(folder: Path) -> dict[str, str]:
    """Variables of a process that knows of no data; its cache would lie in `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RECBENCH_")}
    return kept | {"RECBENCH_HOME": str(folder / "no-data-here")}


class Answerer:
    """The process, which works in `folder`: started when it is first asked, and again where a model ended it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def ask(self, folder: Path) -> None:
        """Have the question in `folder` answered.

        Raises:
            AssertionError: the process ended instead, with what it printed to stderr.
        """
        complaints = self._folder / "stderr.txt"
        if self._process is None:
            with complaints.open("w", encoding="utf-8") as stream:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "recbench.testing.answer"],
                    cwd=self._folder,
                    env=environment_without_data(self._folder),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stream,
                    text=True,
                )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        # A model may print lines of its own.
        if not any(line == f"{folder}\n" for line in self._process.stdout):
            self.close()
            raise AssertionError(complaints.read_text(encoding="utf-8"))

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate()
            self._process = None


def main() -> None:
    """Answer one question after the other."""
    for line in sys.stdin:
        _answer(Path(line.rstrip("\n")))
        sys.stdout.write(line)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
