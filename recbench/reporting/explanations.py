"""Columns and badges of the boards, each in one sentence for a reader who sees them for the first time."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from recbench.tasks import Task

_METRICS = {
    "ndcg": "How high the right items stand in the first {k} places of the list, 1 where they come first and 0 where none is there; "
    "mean over the test {units}.",
    "recall": "Share of the right items that stand in the first {k} places of the list; mean over the test {units}.",
    "hit_rate": "Share of the test {units} with a right item in the first {k} places of the list.",
    "mrr": "1 over the place of the first right item, 0 where none stands in the first {k} places; mean over the test {units}.",
}
_INTERVAL = " In brackets the 95 % interval: where the figure would lie with other {units} of the same kind."

_COLUMNS = {
    "#": "Place on this board by {main} in the view {view}; 1 is best.",
    "Model": "Name of the model, its preset after the colon, then what sets the row apart.",
    "Records": "The runs behind the row, one for each random seed; each opens as a section of this page.",
    "Notes": "What to know before comparing this row; each note opens.",
    "Published {main}": "{main} that somebody published for this model and data set, with what it compares and whether we reproduce it.",
    "Coverage@10": "Share of all items that appear in the first ten places of at least one list.",
    "Gini@10": "How unevenly the lists show the items: 0 all equally often, 1 always the same ones.",
    "Entropy@10": "How evenly the lists show the items, in bits; higher is more even.",
    "Popularity lift@10": "Mean popularity of the items shown over that of the items in the histories; 1 is as popular.",
    "Tail share@10": "Share of the places given to items outside the most popular fifth, which has the most events.",
    "Novelty@10": "How few {units} know the items shown, as minus the binary logarithm of their share.",
    "Machine": "Processor or graphics card, threads and number format of the run.",
    "Parameters": "How many numbers the model stores, trained or counted.",
    "Training s": "Seconds of everything between the split and the ranking, mean over seeds; † where several runs shared the machine.",
    "{Units}/s": "Test {units} ranked per second, all views together; † where several runs shared the machine.",
    "Training Wh": "Energy of the training in watt-hours, as codecarbon reads or estimates it, where it was measured.",
    "Training GFLOP": "Thousand millions of floating-point operations of the training in torch's products, convolutions and attention.",
    "Peak memory MiB": "Most memory that the run used at any time.",
    "Seeds": "How many random seeds the best row and this row have.",
    "Best − model": "{main} of the best row minus that of this row, in the view {view}, paired by {unit}.",
    "95 % interval": "Where the difference to the best row would lie with other {units}; one that holds 0 shows no difference.",
    "p": "Chance of so large a difference if both rows were equally good, before correction for many comparisons.",
    "p (Holm)": "The same chance, corrected for the number of rows on the board; below 0.05 the difference counts as real.",
    "Detectable": "Smallest difference that this many test {units} would show in four of five cases.",
    "Metric": "Which figure was published.",
    "View": "Whether items of the history may be recommended again (keep) or not (unseen).",
    "Level": "What a score compares with the target: the item, or its code (sid), which several items may share.",
    "Source": "Where the number was printed.",
    "Verdict": "Whether we reproduce the published number: within 5 % or within our interval, else above or below.",
    "Published": "The number as its source prints it.",
    "Measured": "Our figure in the same view and at the same level.",
    "Difference": "How far our figure is above or below the published one.",
    "At item level": "Our figure where the item itself must be found.",
    "At code level": "Our figure where an item with the same code counts too.",
    "Our row": "The row of this board that stands for the model.",
    "Repeat with": "The command that runs the model with the published settings.",
    "Items in groups": "Share of items whose code another item has too.",
    "Targets in groups": "Share of test targets whose code another item has too.",
    "Mean 1/g": "Mean over the targets of 1 divided by the number of items with the same code.",
    "Undecided": "Lists that end before they say whether the code of the target is hit.",
    "Data set": "Name of the data set; leads to its board.",
    "Title": "What the data set holds.",
    "Protocol": "How the data are divided into training and test.",
    "Test {units}": "How many {units} are asked.",
    "Items": "How many items there are to choose from.",
    "Interactions": "Events in the data set.",
    "Rows": "How many settings of models were measured.",
    "Best row": "Row with the highest {main} in the view {view}.",
    "Data sets": "On how many of the data sets of this table the model has a row.",
    "Mean rank": "Mean place over all data sets of the table, for models that stand on each of them; 1 is best.",
    "Wins": "Data sets on which no model has a higher {main}.",
    "Best rows": "The row with which the model stands on each data set.",
    "Family": "Untrained, sequential (trained, scores every item) or generative (trained, writes item codes or words).",
    "Strength [95 %]": "From who is above whom on each data set; 1 more means odds of 2.7 to 1 to win a data set; with its interval.",
    "Mean rank [95 %]": "Mean place over all data sets, only for models that stand on each of them; 1 is best; with its interval.",
}


@dataclass(frozen=True)
class Badge:
    """A kind of note at a row.

    Attributes:
        name: as a reader sees it.
        pattern: how such a note begins.
        sentence: what it says.
    """

    name: str
    pattern: str
    sentence: str


BADGES = (
    Badge("tuned-N", r"tuned-\d+", "The settings won a search of N trials on the validation part."),
    Badge("paper-config", "paper-config", "Settings as published: the preset paper, nothing changed, no bound on training."),
    Badge("cpu", "cpu", "A preset for two processor cores, smaller than the published setting."),
    Badge("foreign", "foreign", "Another toolkit made these lists; they were only measured here."),
    Badge("below baseline", "below ", "A baseline without training reaches a higher figure in this view."),
    Badge("changed settings", "not as its preset", "Settings differ from those of the preset."),
    Badge("seq adapter", "seq adapter", "A model of sequences was given sets, in several random orders."),
    Badge("undertrained", "undertrained", "The training ended before it saw each example once, or before its first validation."),
    Badge("N seeds", r"\d+ seeds?$", "N runs that differ only in the random seed; with one seed nothing is known about training anew."),
    Badge("mixed code versions", "mixed code versions", "Different versions of the code ran the seeds of the row."),
    Badge("uncommitted changes", "uncommitted changes", "The code held changes that no commit has."),
    Badge("plugin from X", "plugin from", "The model belongs to another package."),
)
"""Notes of rows, the first whose pattern fits tells what one means."""


def column_explanations(task: Task, titles: Iterable[str], datasets: Iterable[str]) -> dict[str, str]:
    """A sentence for each title of a column of a task's tables; `datasets` head columns too."""
    fixed = {_filled(title, task): _filled(sentence, task) for title, sentence in _COLUMNS.items()}
    found = {title: fixed.get(title) or _of_metric(title, task) for title in titles}
    return found | {name: f"{task.main_title} on {name}, in brackets the place there; 1 is best." for name in datasets}


def _filled(text: str, task: Task, **more: object) -> str:
    words = {"unit": task.words.unit, "units": task.words.units, "Units": task.words.units.capitalize()}
    return text.format(**words, main=task.main_title, view=task.main_view, **more)


def _of_metric(title: str, task: Task) -> str:
    """A sentence for a title such as `NDCG@10 [95 %]`, `Recall@10 at code level` or `NDCG@10, keep`."""
    found = re.match(r"(.+?)@(\d+)(.*)", title)
    if found is None:
        return ""
    name, k, rest = found[1], found[2], found[3].strip(" ,")
    kind = name.lower().replace(" ", "_")
    sentence = _METRICS.get(kind, f"{name} in the first {{k}} places of the list; mean over the test {{units}}.")
    more = {
        "[95 %]": _INTERVAL,
        "at item level": " The item itself must be found.",
        "at code level": " An item with the same code counts too.",
    }
    if rest == "inflation":
        return f"{name}@{k} at code level over {name}@{k} at item level, with the items of a code in random order; 1 is no difference."
    view = f" In the view {rest}." if rest in task.views else ""
    return _filled(sentence + more.get(rest, "") + view, task, k=k)
