"""Functions of `import recbench` that read data sets, runs and boards as frames of pandas."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recbench.api import cards_of, folder_of, load, workplace_with
from recbench.core.errors import BadRequest
from recbench.running.host.workplace import Workplace

if TYPE_CHECKING:
    import pandas as pd

    from recbench.data import Split
    from recbench.reporting import StoredRun

_FACTS = ("target_count", "history_length", "is_tied", "in_history", "follows_last", "history_popularity")
"""Facts about a target that any task may know."""


def board(dataset: str, *, boards: Path | str | None = None) -> "pd.DataFrame":
    """The leaderboard of a data set, one line per row, view and metric, with 95 % intervals.

    Args:
        dataset: name of a data set that has published records.
        boards: folder of the leaderboards; default: RECBENCH_BOARDS, or `leaderboards` in the current folder.

    Raises:
        BadRequest: there is no such folder, or no board of that name in it.
    """
    from recbench.reporting import published_board

    where = Workplace.from_environment().boards if boards is None else Path(boards)
    return published_board(where, dataset, cards_of(())).to_frame()


def check(dataset: str, *, data_dir: Path | str | None = None) -> "pd.DataFrame":
    """What holds of a data set, one line per finding with `what`, `is_good` and `detail`: files, columns, counts, split, item text.

    Nothing is downloaded, and nothing is raised: what is wrong is a line.

    Args:
        dataset: name of a card, or a path to a card or to a folder with interactions.parquet or .csv.
        data_dir: folder of ready data sets; default: RECBENCH_DATA.
    """
    import pandas as pd

    from recbench.running.run.splits import checked

    findings = checked(dataset, workplace_with(data_dir))
    return pd.DataFrame([(found.what, found.is_good, found.detail) for found in findings], columns=["what", "is_good", "detail"])


def shortcuts(dataset: str, *, protocol: str | None = None, ties: str = "source", data_dir: Path | str | None = None) -> "pd.DataFrame":
    """What solves the test of a data set without learning, one line per `fact` with its `value` as text.

    Args:
        dataset: name or path, as for `check`.
        protocol: how the data are divided; default: that of the data set.
        ties: order of events with equal times: `source` or `shuffle=SEED`.
        data_dir: folder of ready data sets; default: RECBENCH_DATA.

    Raises:
        RecbenchError: the data cannot be had, or cannot be divided so.
    """
    import pandas as pd

    from recbench.running.run.splits import divided

    task, _, split = divided(dataset, protocol, ties, workplace_with(data_dir))
    return pd.DataFrame(task.shortcut_card(split).rows(), columns=["fact", "value"])


def records() -> "pd.DataFrame":
    """All runs that can be read, those of ./runs and published ones each once: one line per run, view and metric."""
    import pandas as pd

    from recbench.running.run.folders import known_records

    lines = [line for record in known_records(Workplace.from_environment()) for line in record._lines()]
    return pd.DataFrame(lines, columns=["run", "dataset", "split", "model", "seed", "budget", "view", "metric", "value", "low", "high"])


def ranks(run: Path | str) -> "pd.DataFrame":
    """The ranks of all test targets of a run and what was known of each target before, one line per target.

    `user` and `target` are rows of the split, `rank_VIEW` is the rank in each view: 0 is best, -1 says that the target is not in the list.
    Then `target_count` (how often the target occurs in the train part), `history_length`, `is_tied`, `in_history`, `follows_last`,
    `history_popularity` and, for the task next-item, `relation` of the target to the last item of the history, as far as they are known;
    `item_id` and `title` of the target stand behind it where the run folder holds its catalogue, which published records do not.

    Args:
        run: a run folder, a run id or its unique start, or `last`; published records count too.

    Raises:
        BadRequest: there is no such run.
        BadData: a file of the run is not what the record says.
    """
    import numpy as np
    import pandas as pd

    from recbench.evaluation import RELATIONS
    from recbench.reporting import StoredRun

    stored = StoredRun.open(folder_of(run))
    table, facts = stored.ranks, stored.facts
    known = {name: getattr(facts, name) for name in _FACTS} | dict(facts.of_task)
    if "relation" in known:
        known["relation"] = pd.Categorical(np.array(RELATIONS)[known["relation"]], RELATIONS)
    ranks = {f"rank_{view}": rank for view, rank in table.rank.items()}
    found = {"user": table.user, "target": table.target, **ranks, **{name: of for name, of in known.items() if of is not None}}
    return _named(pd.DataFrame(found), "target", stored)


def histories(run: Path | str, *, dataset: str | None = None, data_dir: Path | str | None = None) -> "pd.DataFrame":
    """What the test users of a run had before their targets, one line per event, oldest first.

    `query` counts the questions of the test part, one per user unless the protocol asks users several times; `user` and `item` are rows of
    the split, `user_id`, `item_id` and `title` are the source's. The split of the run is read from the cache, or made again.

    Args:
        run: as for `ranks`.
        dataset: name or path of the data, where the record's name is not enough.
        data_dir: folder of ready data sets; default: RECBENCH_DATA.

    Raises:
        BadRequest: there is no such run, or its data are not here.
        SplitMismatch: the data here make another split.
    """
    import pandas as pd

    from recbench.core.records import RECORD_FILE, read_record
    from recbench.running.after.loaded import split_of

    split = split_of(read_record(folder_of(run) / RECORD_FILE), dataset, workplace_with(data_dir))
    asked = split.test.histories
    return _with_names(pd.DataFrame({"query": asked.row_of_entry(), "item": asked.item}), split)


def lists(
    run: Path | str,
    *,
    k: int = 10,
    dataset: str | None = None,
    plugins: Sequence[Path | str] = (),
    data_dir: Path | str | None = None,
) -> "pd.DataFrame":
    """The lists that a run's model gives the test users, one line per place: `rank` counts from 0, as in `ranks`.

    There is a list per query and `view`; lines are otherwise named as those of `histories`, and have the `score` of the item.

    Args:
        run: a run folder, a run id or its unique start, or `last`.
        k: length of the lists, which end with the catalogue.
        dataset: name or path of the data, where the record's name is not enough.
        plugins: folders of models that are not installed. Their code is run.
        data_dir: folder of ready data sets; default: RECBENCH_DATA.

    Raises:
        BadRequest: there is no such run, it holds no model, its data are not here, or k is below 1.
        SplitMismatch: the data here make another split.
        UnknownPlugin: its model is not installed; the sentence names the folder to pass.
    """
    import numpy as np
    import pandas as pd

    from recbench.running.after.loaded import split_of

    if k < 1:
        raise BadRequest(f"k={k}: at least one item must be asked for.")
    where = workplace_with(data_dir)
    model = load(run, plugins=plugins)
    split = split_of(model.record, dataset, where)
    views, k = tuple(model.record.metrics), min(k, len(model.item_ids))
    parts = []
    for first, answer in model.lists(split, where.progress, k=k, views=views):
        items_QVK, scores_QVK = answer.items.swapaxes(0, 1), answer.scores.swapaxes(0, 1)
        place = query, view, rank = np.nonzero(items_QVK >= 0)
        found = {"item": items_QVK[place], "score": scores_QVK[place]}
        parts.append(pd.DataFrame({"query": first + query, "view": np.array(answer.views)[view], "rank": rank, **found}))
    return _with_names(pd.concat(parts, ignore_index=True), split)


def codes(run: Path | str) -> "pd.DataFrame":
    """The item codes of a run's model, one line per item of the catalogue.

    `item` is the row of the catalogue, with its `item_id` and `title`; `level_1` and so on are the code, -1 where it has ended already;
    `sharing` says how many items have the same code once what only tells items apart is taken off, 1 where it is the item's own.

    Args:
        run: a run folder, a run id or its unique start, or `last`.

    Raises:
        BadRequest: there is no such run, or its model has no codes.
        BadData: a file of the run is missing, as in published records, or is not what the record says.
    """
    import numpy as np
    import pandas as pd

    from recbench.evaluation import CODES_FILE, code_groups, read_codes
    from recbench.reporting import StoredRun, code_report

    stored = StoredRun.open(folder_of(run))
    code_report(stored.record)  # says so where there are no codes
    table = read_codes(stored.path(CODES_FILE))
    group = code_groups(table)
    levels = {f"level_{level + 1}": table.code[:, level] for level in range(table.n_levels)}
    frame = pd.DataFrame({"item": np.arange(len(group)), **levels, "sharing": np.bincount(group)[group]})
    return _named(frame, "item", stored)


def _with_names(frame: "pd.DataFrame", split: "Split") -> "pd.DataFrame":
    """The frame with `user` and `user_id` behind `query`, its first column, and `item_id` and `title` behind `item`."""
    user = split.test.user[frame["query"]]
    item, titles = frame["item"], split.items.titles()
    frame.insert(1, "user", user)
    frame.insert(2, "user_id", split.user_ids[user])
    place = list(frame.columns).index("item") + 1
    frame.insert(place, "item_id", split.items.item_ids[item])
    frame.insert(place + 1, "title", [titles[row] for row in item])
    return frame


def _named(frame: "pd.DataFrame", rows: str, stored: "StoredRun") -> "pd.DataFrame":
    """The frame with `item_id` and `title` behind its column of catalogue rows, where the folder of the run holds the catalogue."""
    from recbench.running.run.catalogue import CATALOGUE_FILE, read_catalogue

    path = stored.folder / CATALOGUE_FILE
    if path.exists():
        item_ids, titles = read_catalogue(path, stored.record.dataset.n_items)
        place = list(frame.columns).index(rows) + 1
        for name, values in (("title", titles), ("item_id", item_ids)):
            frame.insert(place, name, [values[row] for row in frame[rows]])
    return frame
