"""The card of a shared model: its README.md, for people, with the figures at its head in the form that hubs read (`model-index`)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recbench.core.model_card import ModelCard
from recbench.core.records import Interval, RunRecord
from recbench.evaluation.metrics import METRICS
from recbench.reporting.board import protocol_title
from recbench.reporting.grids import Grid
from recbench.reporting.markdown import environment
from recbench.reporting.rows import code_version, machine, tuned_mark
from recbench.tasks import find_task

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_TEMPLATE = "hub_page.md.jinja"
_CITATION = """@software{recbench,
  title = {recbench: generative recommenders and their baselines on the same splits, with one evaluator},
  author = {{The recbench authors}}
}"""


@dataclass(frozen=True)
class DataTerms:
    """What the card of a data set says of it; empty where there is no card.

    Attributes:
        terms: licence and conditions of use.
        citation: BibTeX.
    """

    terms: str = ""
    citation: str = ""


def shared_card(
    record: RunRecord,
    card: ModelCard,
    data: DataTerms,
    *,
    address: str,
    has_items: bool,
    has_ranks: bool,
    licence: str | None = None,
) -> str:
    """The text of README.md: front matter and page. Equal records give equal texts.

    Args:
        record: of the run that trained the model.
        card: of the model.
        data: of the data set.
        address: what `recbench pull` is given: OWNER/NAME, or a folder.
        has_items: whether ids and titles of the items went along.
        has_ranks: whether the figures can be computed again from what went along.
        licence: of the weights, such as `mit`; None: nobody said.
    """
    from huggingface_hub import ModelCardData

    task = find_task(record.task)
    head = ModelCardData(
        model_name=record.model.row_name,
        library_name="recbench",
        license=licence,
        tags=["recommender-system", task.name, record.model.family, record.model.name, f"dataset:{record.dataset.name}"],
        eval_results=eval_results(record),
    )
    views = [view for view in task.views if view in record.metrics]
    rows = tuple(
        (METRICS.title(name), *(_with_interval(record.metrics[view][name]) for view in views))
        for name in dict.fromkeys([*task.board_metrics, *task.interval_metrics])
        if all(name in record.metrics[view] for view in views)
    )
    page = (
        environment()
        .get_template(_TEMPLATE)
        .render(
            record=record,
            card=card,
            data=data,
            task=task,
            protocol=protocol_title(record.protocol),
            figures=Grid(("Metric", *(f"{view} [95 %]" for view in views)), rows, words=("Metric",)),
            machine=machine(record),
            code=code_version(record),
            tuned="" if record.tuned is None else tuned_mark(record, record.tuned),
            address=address,
            has_items=has_items,
            has_ranks=has_ranks,
            licence=licence,
            recbench_citation=_CITATION,
        )
    )
    return f"---\n{head.to_yaml()}\n---\n{page}"


def eval_results(record: RunRecord) -> "list[EvalResult]":
    """Every figure of a record with its interval, as the hub's index of results has them: a view is a configuration of the data set."""
    from huggingface_hub import EvalResult

    task = find_task(record.task)
    return [
        EvalResult(
            task_type=task.name,
            task_name=task.title,
            dataset_type=record.dataset.name,
            dataset_name=record.dataset.title,
            dataset_config=f"{protocol_title(record.protocol)}, view {view}",
            dataset_split="test",
            dataset_revision=record.fingerprints.test,
            metric_type=name,
            metric_name=f"{METRICS.title(name)} ({view})",
            metric_value=interval.value,
            metric_args={"bootstrap_interval_95": [interval.low, interval.high], "users": record.targets.n_users},
        )
        for view, metrics in record.metrics.items()
        for name, interval in metrics.items()
    ]


def _with_interval(figure: Interval) -> str:
    return f"{figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}]"
