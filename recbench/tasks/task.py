"""What a task assumes: the question put to a model, how it is measured, and the words for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recbench.core.errors import BadRequest, nearest
from recbench.core.ranking import BOTH, UNSEEN, View
from recbench.core.records import Interval, ProtocolPart, TargetsPart
from recbench.data.protocol import SplitProtocol, SplitRule
from recbench.evaluation.measures import Measures
from recbench.evaluation.metrics import METRICS
from recbench.tasks.shortcuts import Shortcuts

if TYPE_CHECKING:
    from recbench.data import Split
    from recbench.evaluation import ShortcutCard, TargetFacts


@dataclass(frozen=True)
class Words:
    """How boards, pages and the terminal speak of a task.

    Attributes:
        unit, units: whoever is asked, such as `user` and `users`.
        views: per view what its lists may hold, in a sentence or two.
        groups: what the names of groups mean, in a sentence or two.
        split: how the data are divided, in a sentence or two.
        seen: what sets the views apart, in a sentence.
        targets: size and peculiarities of a test part, in sentences.
        clusters: which of them are resampled together where the split knows it, as the end of a sentence; empty: none.
        divided: what the notes of a split say about its test part, in sentences; empty: nothing.
        scoring: what trained models that give every item a score are called, as an adjective.
    """

    unit: str
    units: str
    views: Mapping[View, str]
    groups: str
    split: str
    seen: str
    targets: Callable[[TargetsPart], str]
    clusters: str = ""
    divided: Callable[[Mapping[str, int | float | str]], str] = lambda notes: ""  # noqa: ARG005 (most splits have nothing to say)
    scoring: str = "scoring"


@dataclass(frozen=True, eq=False)
class Task:
    """A kind of question: what is split, what is asked, how lists are measured. The harness asks it wherever tasks could differ.

    Attributes:
        name: as cards and records have it, such as `next-item`.
        title: heading of its boards.
        rules: ways to divide the data, the default first.
        views: in which lists are ranked, the main one first: rows are sorted, compared and chosen by it.
        list_length: items of a list; no figure looks further.
        measures: figures of a record.
        main_metric: what rows are sorted and compared by, such as `ndcg@10`.
        validation_metrics: what `FitContext.validate` gives, the one that settings and epochs are chosen by first.
        validation_view: the view that it ranks.
        board_metrics: columns of boards, in order.
        interval_metrics: those of them that are shown with their 95 % interval, the main metric among them.
        paper_metrics: columns of a table for a paper.
        facts: facts about the test targets of a split.
        words: how to speak of it.
        knows_sets: whether what a query knows is a set, which stands in ascending order of rows, each item once.
        shortcuts: how its targets could be found without learning; None: nobody looked, and boards say nothing about it.
    """

    name: str
    title: str
    rules: tuple[SplitRule, ...]
    views: tuple[View, ...]
    list_length: int
    measures: Measures
    main_metric: str
    validation_metrics: tuple[str, ...]
    validation_view: View
    board_metrics: tuple[str, ...]
    interval_metrics: tuple[str, ...]
    paper_metrics: tuple[str, ...]
    facts: "Callable[[Split], TargetFacts]"
    words: Words
    knows_sets: bool = False
    shortcuts: Shortcuts | None = None

    def __post_init__(self) -> None:
        for name in (self.main_metric, self.validation_metrics[0]):
            if not METRICS.parse(name)[0].higher_is_better:
                raise ValueError(f"{name} cannot sort rows or choose settings: higher is not better")

    @property
    def main_view(self) -> View:
        """The view that rows are sorted and compared by."""
        return self.views[0]

    @property
    def serving_view(self) -> View:
        """The view of lists for a person, who has no use for what is known already."""
        return UNSEEN if UNSEEN in self.views else self.main_view

    @property
    def main_title(self) -> str:
        """The main metric as tables print it, such as `NDCG@10`."""
        return METRICS.title(self.main_metric)

    def headline(self, metrics: Mapping[View, Mapping[str, Interval]]) -> str:
        """The main metric of a record in the first view that was ranked, such as `NDCG@10 keep 0.0469`."""
        view = next(view for view in self.views if view in metrics)
        return f"{self.main_title} {view} {metrics[view][self.main_metric].value:.4f}"

    @property
    def main_cutoff(self) -> int:
        """How many places the main metric looks at."""
        return METRICS.parse(self.main_metric)[1]

    @property
    def validation_cutoff(self) -> int:
        """How long the lists are that a validation ranks."""
        return max(METRICS.parse(name)[1] for name in self.validation_metrics)

    def with_default(self, protocol: str) -> "Task":
        """The task whose default protocol is this one; empty: as it is.

        Raises:
            BadConfig: there is no such protocol.
        """
        if not protocol:
            return self
        rule = self.protocol(protocol).rule
        return replace(self, rules=(rule, *(other for other in self.rules if other is not rule)))

    def protocol(self, text: str | None = None, ties: str = "source") -> SplitProtocol:
        """The protocol that `--protocol` and `--ties` ask for; None: the default.

        Raises:
            BadConfig: there is no such protocol or option.
        """
        rules = {rule.name: rule for rule in self.rules}
        return SplitProtocol.parse(self.rules[0].name if text is None else text, rules, ties)

    def protocol_of(self, part: ProtocolPart) -> SplitProtocol:
        """The protocol of a record."""
        rule = self.protocol(part.split).rule
        return SplitProtocol(rule, part.split_options, part.ties)

    def is_default(self, part: ProtocolPart) -> bool:
        """Whether a record follows the default way to divide the data, whatever the order of ties."""
        return part.split == self.rules[0].name and dict(part.split_options) == dict(self.rules[0].defaults)

    def shortcut_card(self, split: "Split") -> "ShortcutCard":
        """What the test part of a split can be solved by without learning.

        Raises:
            BadRequest: the task knows no shortcuts.
        """
        if self.shortcuts is None:
            raise BadRequest(f"The task {self.name} says nothing about shortcuts. Choose a data set of another task.")
        from recbench.evaluation import dealt_anew, shortcut_card

        test = split.test
        facts = self.facts(split)
        dealt = self.facts(replace(split, test=replace(test, targets=dealt_anew(test.targets))))
        relation, by_chance = (self.shortcuts.holds(self.measures.groups(found), len(found)) for found in (facts, dealt))
        return shortcut_card(split.train, test.histories, test.targets, facts, relation, by_chance)

    def views_of(self, seen: str) -> tuple[View, ...]:
        """The views that `--seen` asks for.

        Raises:
            BadRequest: the task has no such view.
        """
        if seen == BOTH:
            return self.views
        if seen not in self.views:
            known = (*self.views, BOTH)
            raise BadRequest(f"--seen {seen!r} is not known for {self.name}.{nearest(seen, known)} Use {', '.join(self.views)} or {BOTH}.")
        return tuple(view for view in self.views if view == seen)
