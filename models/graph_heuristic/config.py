"""Settings of the graph heuristic."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, model_validator

from recbench.core import PluginConfig
from recbench.nn.text import TextSettings

Weights = Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)]


class GraphSettings(PluginConfig):
    """The transition graph: an edge from each item to those that come soon after it in the train part."""

    gap_weights: Weights = (1.0, 0.5, 0.3)
    """What a pair of events of one user adds to its edge: the first for neighbours, the second for two places apart, and so on."""
    back: NonNegativeFloat = 0.1
    """Share of every edge's weight that its reverse is given."""

    @model_validator(mode="after")
    def _some_pair_counts(self) -> Self:
        if not any(self.gap_weights):
            raise ValueError(f"gap_weights={self.gap_weights} leave the graph without edges; one of them must be above 0")
        return self


class WalkSettings(PluginConfig):
    """Scores of `method = "walk"`; `rings` does not read them."""

    last_weights: Weights = (1.0, 0.3)
    """How much the newest item of the history counts as a start of the walk, then the one before it, and so on."""
    two_hop: NonNegativeFloat = 0.05
    """Weight of a second step beside the first."""
    text_weight: NonNegativeFloat = 5.0
    """How much a neighbour with the same text is raised above one with nothing in common."""
    text_floor: NonNegativeFloat = 0.0
    """Score of the same text alone; above 0, text ranks the items that the walk does not reach."""
    backoff: NonNegativeFloat = 1e-4
    """Score of the most popular item for that; small, so that it orders items whose scores are else equal. Below 1e-5 the last places of
    float32 lose it."""

    @model_validator(mode="after")
    def _the_walk_starts_somewhere(self) -> Self:
        if not any(self.last_weights):
            raise ValueError(f"last_weights={self.last_weights} let the walk start nowhere; one of them must be above 0")
        return self

    @property
    def reads_text(self) -> bool:
        """Whether any score depends on text."""
        return self.text_weight > 0 or self.text_floor > 0


class RingSettings(PluginConfig):
    """Places of `method = "rings"`; `walk` does not read them."""

    newest: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1, max_length=3)] = (7, 2, 1)
    """Places of the list for the newest item's successors, for their successors, and for those of these."""
    second: Annotated[tuple[NonNegativeInt, ...], Field(max_length=3)] = ()
    """The same for the item before the newest, behind the places of `newest`."""
    count_bonus: NonNegativeFloat = 0.5
    """What the most frequent successor gains beside the cosine of the texts; others by the logarithm of their counts."""


class GraphHeuristicConfig(PluginConfig):
    """Graph, scores and text of the graph heuristic."""

    method: Literal["walk", "rings"] = "walk"
    """`walk`: probability of one or two steps from the newest items, times a boost for like texts. `rings`: a fixed number of places for
    each distance from the newest item, in each the most like texts (TGH-1 and TGH-2 of arXiv:2605.07125)."""
    graph: GraphSettings = GraphSettings()
    walk: WalkSettings = WalkSettings()
    rings: RingSettings = RingSettings()
    text: TextSettings = TextSettings(
        fields=("title", "brand", "categories"), optional_fields=("brand", "categories"), encoder="tfidf-svd", labels=False
    )
    rule: Literal["no-repeats"] | None = None
    """`no-repeats`: items of the history stand behind all others, so that `keep` ranks as `unseen` does, for data in which nobody takes an
    item twice. For `walk`."""

    @model_validator(mode="after")
    def _the_rule_is_for_walks(self) -> Self:
        if self.rule is not None and self.method == "rings":
            raise ValueError('rule="no-repeats" goes with method="walk"; the rings have no scores to set to 0')
        return self

    @property
    def reads_text(self) -> bool:
        """Whether the items' texts are needed."""
        return self.method == "rings" or self.walk.reads_text
