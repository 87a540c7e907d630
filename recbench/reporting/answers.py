"""The answer: which model is better across data sets, by how much and at what cost, from the rows of the leagues alone."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recbench.core.latency import BatchLatency, Latency
from recbench.core.model_card import ModelCard
from recbench.core.ranking import View
from recbench.core.records import Interval
from recbench.reporting.board import Board
from recbench.reporting.leagues import FAMILIES, LeagueRow, LeagueTable, LeagueTables
from recbench.reporting.rows import Row
from recbench.tasks import NEXT_ITEM
from recbench.tasks.leagues import leagues

if TYPE_CHECKING:
    import numpy as np

    from recbench.evaluation import Contests, CriticalDifference
    from recbench.reporting.workers import Workers

CALL_OF_MANY = 256
"""Users of a call whose throughput is shown."""
LIST_OF_CALL = 10
"""Length of the lists of the calls that are shown; those of others take another time."""
LEAST_MODELS = 5
"""Fewer models that two protocols share have no order to speak of."""


@dataclass(frozen=True, eq=False)
class Contest:
    """The models of a league on one data set under one protocol of the league, in one view.

    Attributes:
        dataset, protocol, view: which.
        rows: a row of each model, by name; of the first split where the protocol has several.
        value: main metric of each model, mean over the splits.
        drawn: the same in each drawing of the users, (R,).
    """

    dataset: str
    protocol: str
    view: View
    rows: Mapping[str, LeagueRow]
    value: Mapping[str, float]
    drawn: "Mapping[str, np.ndarray]"

    def best(self, family: str) -> str | None:
        """The model of a family with the highest value; None where there is none."""
        of_family = [name for name, row in self.rows.items() if row.family == family]
        return max(of_family, key=lambda name: (self.value[name], name), default=None)


@dataclass(frozen=True)
class Contestant:
    """A model across data sets.

    Attributes:
        model, family: who.
        values: main metric by data set.
        ranks: by data set, among all that stand there; 1 is best.
        strength: Bradley-Terry, with its interval over users and data sets.
        mean_rank: with its interval; None where the model is not on every data set.
        share_of_best: its value over that of the best model, mean over those of its data sets where a model finds anything; None where
            none does on any of them.
        train_cpu_s: processor seconds of training by class of data sets, whose budgets differ, medians over data sets and seeds; classes
            where no record says are absent.
        users_per_s: test users ranked a second, median over its data sets.
        call_ms: what a call for one user takes, 50th and 95th percentile, medians over the data sets where it was measured; None: nowhere.
        served_per_s: users a second in calls of 256, likewise.
        parameters: most on any of its data sets.
    """

    model: str
    family: str
    values: Mapping[str, float]
    ranks: Mapping[str, float]
    strength: Interval
    mean_rank: Interval | None
    share_of_best: float | None
    train_cpu_s: Mapping[str, float]
    users_per_s: float | None
    call_ms: tuple[float, float] | None
    served_per_s: float | None
    parameters: int


@dataclass(frozen=True)
class Lead:
    """How far the best model of one family is before that of another on a data set; a negative difference: behind."""

    dataset: str
    one: str
    other: str
    difference: Interval


@dataclass(frozen=True)
class Answer:
    """Models across the data sets of one protocol in one view.

    Attributes:
        protocol: its name in the league.
        view: which.
        datasets: those with rows.
        models: by falling strength.
        critical: tests over the models that stand on all data sets; None where there are fewer than three, or one data set.
        alike: runs of models, by mean rank, that Nemenyi's test does not tell apart.
        predicted: by data set, how many pairs of models come in the order of the strengths that the other data sets give, and of how many.
        best: by data set, the best model of each family that has one.
        leads: best generative against best sequential and best untrained model.
    """

    protocol: str
    view: View
    datasets: tuple[str, ...]
    models: tuple[Contestant, ...]
    critical: "CriticalDifference | None"
    alike: tuple[tuple[str, ...], ...]
    predicted: Mapping[str, tuple[int, int]]
    best: Mapping[str, Mapping[str, str]]
    leads: tuple[Lead, ...]


@dataclass(frozen=True)
class Agreement:
    """Whether two protocols, or two views, order the models of a data set alike.

    Attributes:
        dataset: which.
        one, other: protocol and view.
        n_models: that stand under both.
        tau: Kendall's, with its interval over drawings of the users of both.
    """

    dataset: str
    one: tuple[str, View]
    other: tuple[str, View]
    n_models: int
    tau: Interval


@dataclass(frozen=True)
class Answers:
    """All answers.

    Attributes:
        tables: what stands and what is missing, by board, protocol and split.
        answers: of every protocol with two or more data sets, in each view.
        agreements: between protocols and between views.
        machines: where calls of the models were timed.
    """

    tables: tuple[LeagueTable, ...]
    answers: tuple[Answer, ...]
    agreements: tuple[Agreement, ...]
    machines: tuple[str, ...] = ()

    def tables_of(self, section: object) -> list[LeagueTable]:
        """The league's table of a section of a board, if any."""
        return [table for table in self.tables if table.section is section]


NO_ANSWERS = Answers((), (), ())


def make_answers(boards: Sequence[Board], cards: Mapping[str, ModelCard], workers: "Workers") -> Answers:
    """The answers that boards give; no figure but of the ranks goes in.

    Args:
        boards: all of them.
        cards: of the models known here, by name.
        workers: what draws users and computes means of the drawings.
    """
    of_boards = LeagueTables(cards)
    tables = tuple(table for board in boards for table in of_boards.of_board(board))
    contests = _contests(tables, workers)
    answers = []
    for protocol in leagues().protocols:
        for view in NEXT_ITEM.views:
            mine = [contest for contest in contests if (contest.protocol, contest.view) == (protocol, view)]
            if len(mine) > 1:
                answers.append(_answer(protocol, view, mine))
    machines = sorted({found.machine for found in _times([row.row for table in tables for row in table.rows])})
    return Answers(tables, tuple(answers), tuple(_agreements(contests)), tuple(machines))


def _contests(tables: Sequence[LeagueTable], workers: "Workers") -> list[Contest]:
    """A contest of each data set, protocol and view in which two models stand under every split that has a row."""
    import numpy as np

    from recbench.reporting.workers import DrawJob

    groups: dict[tuple[str, str], list[LeagueTable]] = {}
    for table in tables:
        if table.rows:
            groups.setdefault((table.dataset, table.protocol), []).append(table)
    wanted = []
    for (dataset, protocol), members in groups.items():
        # A row that saw less than one pass of its examples says what its time was too short for, not how good the model is.
        trained = [{row.model for row in table.rows if not row.row.undertrained} for table in members]
        models = [row.model for row in members[0].rows if all(row.model in there for there in trained)]
        wanted += [(dataset, protocol, view, members, models) for view in NEXT_ITEM.views if len(models) > 1]
    by_name = {id(table): {row.model: row for row in table.rows} for table in tables}
    drawn = workers.answers(
        DrawJob(rows=[by_name[id(table)][model].row.files for model in models], metric=NEXT_ITEM.main_metric, view=view)
        for _, _, view, members, models in wanted
        for table in members
    )
    contests = []
    for dataset, protocol, view, members, models in wanted:
        parts = [next(drawn) for _ in members]
        value_M = np.mean([part.mean for part in parts], axis=0)
        drawn_RM = np.mean([part.drawn for part in parts], axis=0)
        rows = by_name[id(members[0])]
        contests.append(
            Contest(
                dataset,
                protocol,
                view,
                {model: rows[model] for model in models},
                dict(zip(models, value_M.tolist(), strict=True)),
                dict(zip(models, drawn_RM.T, strict=True)),
            )
        )
    return contests


def _table(contests: Sequence[Contest], models: Sequence[str]) -> "Contests":
    import numpy as np

    from recbench.evaluation import Contests

    value_CM = np.array([[contest.value.get(model, np.nan) for model in models] for contest in contests])
    n_drawings = len(next(iter(contests[0].drawn.values())))
    nothing_R = np.full(n_drawings, np.nan)
    drawn_CRM = np.stack([np.stack([contest.drawn.get(model, nothing_R) for model in models], axis=1) for contest in contests])
    return Contests(value_CM, drawn_CRM)


def _answer(protocol: str, view: View, contests: Sequence[Contest]) -> Answer:
    from recbench.evaluation import critical_difference, groups_within

    models = sorted({model for contest in contests for model in contest.value})
    everywhere = [model for model in models if all(model in contest.value for contest in contests)]
    together = _table(contests, models)
    strengths = dict(zip(models, together.strengths(), strict=True))
    complete = _table(contests, everywhere) if len(everywhere) > 1 else None
    mean_ranks = {} if complete is None else dict(zip(everywhere, complete.mean_ranks(), strict=True))
    has_test = complete is not None and len(everywhere) > 2
    critical = critical_difference(complete.value_CM) if complete is not None and has_test else None
    by_rank = sorted(mean_ranks, key=lambda model: (mean_ranks[model].value, model))
    alike = groups_within([mean_ranks[model].value for model in by_rank], critical.difference) if critical is not None else []
    best = {contest.dataset: {family: model for family in FAMILIES if (model := contest.best(family)) is not None} for contest in contests}
    found = [_contestant(model, contests, strengths[model], mean_ranks.get(model)) for model in models]
    return Answer(
        protocol,
        view,
        tuple(contest.dataset for contest in contests),
        tuple(sorted(found, key=lambda one: (-one.strength.value, one.model))),
        critical,
        tuple(tuple(by_rank[first : last + 1]) for first, last in alike),
        dict(zip((contest.dataset for contest in contests), together.predicted_orders(), strict=True)),
        best,
        tuple(lead for contest in contests for lead in _leads(contest, best[contest.dataset])),
    )


def _contestant(model: str, contests: Sequence[Contest], strength: Interval, mean_rank: Interval | None) -> Contestant:
    there = [contest for contest in contests if model in contest.value]
    ranks = {}
    for contest in there:
        others, own = list(contest.value.values()), contest.value[model]
        ranks[contest.dataset] = 1 + sum(other > own for other in others) + (sum(other == own for other in others) - 1) / 2
    rows = [contest.rows[model] for contest in there]
    records = [run.record for row in rows for run in row.row.runs]
    costs = [cost for record in records if (cost := record.cost) is not None]
    timed = _times([row.row for row in rows])
    alone = [line for one in timed if (line := one.of(1)) is not None and line.p50_ms is not None and line.p95_ms is not None]
    together = [line.users_per_s for one in timed if (line := one.of(CALL_OF_MANY)) is not None]
    shares = [contest.value[model] / best for contest in there if (best := max(contest.value.values())) > 0]
    return Contestant(
        model,
        rows[0].family,
        {contest.dataset: contest.value[model] for contest in there},
        ranks,
        strength,
        mean_rank,
        statistics.fmean(shares) if shares else None,
        _train_cpu_s(dict(zip((contest.dataset for contest in there), rows, strict=True))),
        statistics.median(cost.users_per_s for cost in costs) if costs else None,
        _medians(alone) if alone else None,
        statistics.median(together) if together else None,
        max(record.fit.parameters for record in records),
    )


def _train_cpu_s(rows: Mapping[str, LeagueRow]) -> dict[str, float]:
    """Median processor seconds of training by class, from a row per data set."""
    seconds: dict[str, list[float]] = {name: [] for name in leagues().classes}
    for dataset, row in rows.items():
        costs = [cost for run in row.row.runs if (cost := run.record.cost) is not None]
        league = leagues().class_of(dataset)
        if league is not None:
            seconds[league] += [cost.train_cpu_s for cost in costs if cost.train_cpu_s is not None]
    return {name: statistics.median(found) for name, found in seconds.items() if found}


def _times(rows: Sequence[Row]) -> list[Latency]:
    """The times of their runs that may stand beside each other: of lists of one length and in the view for a person."""
    found = [run.latency for row in rows for run in row.runs]
    return [one for one in found if one is not None and (one.k, one.view) == (LIST_OF_CALL, NEXT_ITEM.serving_view)]


def _medians(calls: Sequence[BatchLatency]) -> tuple[float, float]:
    p50, p95 = ([getattr(line, name) for line in calls] for name in ("p50_ms", "p95_ms"))
    return statistics.median(p50), statistics.median(p95)


def _leads(contest: Contest, best: Mapping[str, str]) -> list[Lead]:
    from recbench.evaluation import drawn_difference

    *others, own = FAMILIES
    return [
        Lead(
            contest.dataset,
            best[own],
            best[other],
            drawn_difference(contest.drawn[best[own]], contest.drawn[best[other]], contest.value[best[own]] - contest.value[best[other]]),
        )
        for other in reversed(others)
        if own in best and other in best
    ]


def _agreements(contests: Sequence[Contest]) -> list[Agreement]:
    """Of each data set: its protocols with each other in each view, and its views with each other under each protocol."""
    import numpy as np

    from recbench.evaluation import agreement

    found = []
    for place, one in enumerate(contests):
        for other in contests[place + 1 :]:
            if one.dataset != other.dataset or (one.view == other.view) == (one.protocol == other.protocol):
                continue
            models = [model for model in one.value if model in other.value]
            if len(models) < LEAST_MODELS:
                continue
            values = [np.array([contest.value[model] for model in models]) for contest in (one, other)]
            drawn = [np.stack([contest.drawn[model] for model in models], axis=1) for contest in (one, other)]
            tau = agreement(*values, *drawn)
            if tau is not None:
                found.append(Agreement(one.dataset, (one.protocol, one.view), (other.protocol, other.view), len(models), tau))
    return found
