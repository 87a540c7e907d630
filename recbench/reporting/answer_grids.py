"""The answer as tables of text, and what follows from them in sentences."""

from collections.abc import Sequence

from recbench.core.ranking import View
from recbench.core.records import Interval
from recbench.reporting.answers import CALL_OF_MANY, Agreement, Answer, Contestant
from recbench.reporting.grids import NOTHING, Grid, number
from recbench.reporting.leagues import FAMILIES, LeagueTable
from recbench.tasks import NEXT_ITEM
from recbench.tasks.leagues import leagues

_SECONDS = "CPU s"
_MOST_NAMES = 12
"""More missing models than so many are counted, not named."""


def league_table(table: LeagueTable) -> Grid:
    """The rows of a league on one board, best first, and the models that have no row yet."""
    views = NEXT_ITEM.views
    title = NEXT_ITEM.main_title
    header = ("#", "Model", "Family", "Seeds", *(f"{title} {view}" for view in views), f"Training, {_SECONDS}", "Users/s", "Parameters")
    rows = []
    for place, one in enumerate(table.rows, start=1):
        cost = [cost for run in one.row.runs if (cost := run.record.cost) is not None]
        cpu = [part.train_cpu_s for part in cost if part.train_cpu_s is not None]
        rows.append(
            (
                str(place),
                one.model + (f" ({one.row.undertrained})" if one.row.undertrained else ""),
                one.family,
                f"{len(one.row.runs)} of {one.n_seeds}",
                *(_with_std(one.row.mean(NEXT_ITEM.main_metric, view), one.row.std(NEXT_ITEM.main_metric, view)) for view in views),
                f"{sum(cpu) / len(cpu):,.1f}" if cpu else NOTHING,
                f"{sum(part.users_per_s for part in cost) / len(cost):,.0f}" if cost else NOTHING,
                f"{one.row.record.fit.parameters:,}",
            )
        )
    there = {one.model for one in table.rows}
    for model in dict.fromkeys(cell.entry for cell in table.missing if cell.entry not in there):
        n_seeds = sum(cell.entry == model for cell in table.missing)
        rows.append((NOTHING, model, "", f"0 of {n_seeds}", *(NOTHING for _ in views), NOTHING, NOTHING, NOTHING))
    return Grid(header, tuple(rows), words=("#", "Model", "Family", "Seeds"))


def _with_std(value: float | None, std: float | None) -> str:
    return number(value) + ("" if std is None else f" ± {std:.4f}")


def standing_line(table: LeagueTable) -> str:
    """How much of a league's part on a board stands, and what fills it."""
    n_there = sum(len(one.row.runs) for one in table.rows)
    n_all = n_there + len(table.missing)
    if not table.missing:
        return f"All {n_all:,} runs of it stand."
    return f"{n_there:,} of its {n_all:,} runs stand; `{table.command}` makes the others."


def coverage(tables: Sequence[LeagueTable]) -> Grid:
    """Of each data set and protocol of the leagues that have rows: runs that stand and that are missing."""
    rows = []
    groups: dict[tuple[str, str], list[LeagueTable]] = {}
    for table in tables:
        groups.setdefault((table.dataset, table.protocol), []).append(table)
    for (dataset, protocol), members in groups.items():
        n_there = sum(len(one.row.runs) for table in members for one in table.rows)
        n_missing = sum(len(table.missing) for table in members)
        models = {one.model for table in members for one in table.rows}
        without = dict.fromkeys(cell.entry for table in members for cell in table.missing if cell.entry not in models)
        named = ", ".join(list(without)[:_MOST_NAMES]) + (f" and {len(without) - _MOST_NAMES} more" if len(without) > _MOST_NAMES else "")
        rows.append(
            (
                dataset,
                members[0].league,
                members[0].budget,
                protocol,
                str(len(models)),
                f"{n_there} of {n_there + n_missing}",
                named or NOTHING,
            )
        )
    return Grid(
        ("Data set", "Class", "Budget", "Protocol", "Models", "Runs", "Models without a row"),
        tuple(rows),
        words=("Data set", "Class", "Budget", "Protocol", "Models without a row"),
    )


def strengths(answer: Answer) -> Grid:
    """The models of an answer, strongest first."""
    header = ("Model", "Family", "Data sets", "Strength [95 %]", "Mean rank [95 %]", *answer.datasets)
    rows = []
    for one in answer.models:
        values = (f"{number(one.values[name])} ({one.ranks[name]:g})" if name in one.values else NOTHING for name in answer.datasets)
        rows.append(
            (
                one.model,
                one.family,
                f"{len(one.values)} of {len(answer.datasets)}",
                _interval(one.strength, 2),
                _interval(one.mean_rank, 1),
                *values,
            )
        )
    return Grid(header, tuple(rows), words=("Model", "Family", "Data sets"))


def _interval(found: Interval | None, digits: int) -> str:
    if found is None:
        return NOTHING
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def leads(answer: Answer) -> Grid:
    """The best model of each family on every data set, and the best generative one against the others."""
    header = ("Data set", *(f"Best {family}" for family in FAMILIES), *(f"Generative − {family}" for family in reversed(FAMILIES[:-1])))
    rows = []
    values = {one.model: one.values for one in answer.models}
    for dataset in answer.datasets:
        best = answer.best[dataset]
        of_family = {model: family for family, model in best.items()}
        found = {of_family[lead.other]: lead.difference for lead in answer.leads if lead.dataset == dataset}
        cells = (f"{best[family]} {number(values[best[family]][dataset])}" if family in best else NOTHING for family in FAMILIES)
        rows.append((dataset, *cells, *(_signed(found.get(family)) for family in reversed(FAMILIES[:-1]))))
    return Grid(header, tuple(rows), words=header[: 1 + len(FAMILIES)])


def _signed(found: Interval | None) -> str:
    return NOTHING if found is None else f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def costs(answer: Answer) -> Grid:
    """What the quality of each model costs, medians over its data sets; times of training apart by class, as the budgets differ."""
    calls = ("A call, p50 ms", "p95 ms", f"Users/s in calls of {CALL_OF_MANY}")
    classes = [name for name in leagues().classes if any(leagues().class_of(dataset) == name for dataset in answer.datasets)]
    training = (f"Training, {_SECONDS}, {name}" for name in classes)
    header = ("Model", "Family", "Share of the best", *training, "Users/s", *calls, "Parameters")
    rows = [_cost(one, classes) for one in sorted(answer.models, key=lambda one: (-(one.share_of_best or 0.0), one.model))]
    return Grid(header, tuple(rows), words=("Model", "Family"))


def _cost(one: Contestant, classes: Sequence[str]) -> tuple[str, ...]:
    return (
        one.model,
        one.family,
        NOTHING if one.share_of_best is None else f"{one.share_of_best:.0%}",
        *(f"{one.train_cpu_s[name]:,.1f}" if name in one.train_cpu_s else NOTHING for name in classes),
        NOTHING if one.users_per_s is None else f"{one.users_per_s:,.0f}",
        *((NOTHING, NOTHING) if one.call_ms is None else (f"{ms:,.1f}" if ms >= 1 else f"{ms:.2f}" for ms in one.call_ms)),
        NOTHING if one.served_per_s is None else f"{one.served_per_s:,.0f}",
        f"{one.parameters:,}",
    )


ONLY_WHERE_BOTH_STAND = (
    "A strength rests on the data sets where the model stands. Two models without a data set in common were never held against each other: "
    "the difference of their strengths is reckoned through third models and is no comparison."
)
"""Warning beside strengths, as not every model stands on every data set."""


def predicted_line(answer: Answer) -> str:
    """How many orders of pairs the strengths of the other data sets predict."""
    right, of = (sum(pair[place] for pair in answer.predicted.values()) for place in (0, 1))
    each = ", ".join(f"{dataset} {pair[0]} of {pair[1]}" for dataset, pair in answer.predicted.items())
    share = f" ({right / of:.0%})" if of else ""
    return f"Strengths fitted without a data set predict the order of {right:,} of its {of:,} pairs{share}: {each}."


def alike_line(answer: Answer) -> str:
    """Friedman's and Nemenyi's tests in words."""
    if answer.critical is None:
        return "Fewer than three models stand on all of these data sets; there is no test over them."
    n_models = sum(one.mean_rank is not None for one in answer.models)
    p = "below 0.0001" if answer.critical.p < 0.0001 else f"{answer.critical.p:.4f}"
    test = (
        f"Friedman's test that all {n_models} models on all data sets are equally good: p {p}. "
        f"Nemenyi's critical difference of two mean ranks at 5 %: {answer.critical.difference:.1f}."
    )
    runs = "; ".join(f"{run[0]} to {run[-1]} ({len(run)} models)" for run in answer.alike)
    return f"{test} Not told apart, by mean rank: {runs}." if runs else f"{test} All differ by more."


def agreements(found: Sequence[Agreement], view: View | None) -> Grid:
    """Kendall's tau of each data set: between protocols in one view or, for None, between the two views under each protocol."""
    rows = []
    for one in found:
        if view is None and one.one[0] == one.other[0]:
            rows.append((one.dataset, one.one[0], f"{one.one[1]}, {one.other[1]}", str(one.n_models), _interval(one.tau, 2)))
        elif view is not None and one.one[1] == one.other[1] == view:
            rows.append((one.dataset, one.one[0], one.other[0], str(one.n_models), _interval(one.tau, 2)))
    header = ("Data set", "Protocol", "Views" if view is None else "Other protocol", "Models", "Kendall's tau [95 %]")
    return Grid(header, tuple(rows), words=header[:3])
