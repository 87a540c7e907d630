"""The work of a run: data, split, training, ranking, each a stage of the cache."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

from recbench.about import VERSION
from recbench.core.config import by_dotted_name
from recbench.core.elapsed import Elapsed
from recbench.running.host.workplace import Workplace
from recbench.running.run.consumption import Consumption
from recbench.running.run.fit_context import Listener
from recbench.running.run.folders import RunName
from recbench.running.run.guard import reveal_imports
from recbench.running.run.ranking import RankedTest, rank_test
from recbench.running.run.resolve import Resolved
from recbench.running.run.splits import LoadedSplit, load_split
from recbench.running.run.training import TrainedModel, Trainer, check_needs
from recbench.running.stages.store import StageStore
from recbench.running.tracking import Trackers


@dataclass(frozen=True)
class Prepared:
    """A resolved request with its data, before the training.

    Attributes:
        resolved: resolved request.
        workplace: folders of the run.
        loaded: data and split.
        trainer: trains models on this split.
        consumption: measures the training of the model; None: nobody asked.
    """

    resolved: Resolved
    workplace: Workplace
    loaded: LoadedSplit
    trainer: Trainer
    consumption: Consumption | None = None

    @cached_property
    def name(self) -> RunName:
        """Name of the run, with the hash of all that a finished record must share to be the answer."""
        return self.resolved.name(self.loaded)

    @contextmanager
    def followed(self, trackers: Trackers, run_id: str, **facts: str) -> Iterator[None]:
        """A block that trackers follow, under an id that the same work would have after a stop too.

        Args:
            trackers: they are opened now; what that takes is no processor time of the run's budget.
            run_id: the run's, or the trial's.
            facts: what is told beside what the request says.
        """
        resolved, began = self.resolved, Elapsed.now()
        facts |= {
            "model": resolved.plugin.card.name,
            "preset": resolved.preset,
            "dataset": self.loaded.card.name,
            "protocol": str(resolved.protocol),
            "seed": str(resolved.request.seed),
            "budget": resolved.budget.text or "none",
            "device": resolved.machine.name,
            "version": VERSION,
        }
        with trackers.following(run_id, facts, by_dotted_name(resolved.settings, resolved.plugin.config)):
            self.trainer.budget.excuse(Elapsed.now() - began)
            yield

    def train(self) -> TrainedModel:
        """The trained model, from the cache or now."""
        resolved = self.resolved
        # The references of the run are trained by the same trainer, and not measured.
        trainer = replace(self.trainer, consumption=self.consumption)
        return trainer.train(resolved.plugin, resolved.config, resolved.request.seed, resolved.budget.text)

    def rank(self, trained: TrainedModel) -> RankedTest:
        """Lists of all test users, from the cache or now."""
        resolved = self.resolved
        return rank_test(self.trainer, trained, resolved.final_ranking, reads_time=resolved.plugin.card.reads_time)


def prepare(
    resolved: Resolved,
    workplace: Workplace,
    store: StageStore,
    *,
    ranks_test: bool = True,
    listeners: Sequence[Listener] = (),
    consumption: Consumption | None = None,
) -> Prepared:
    """Read and split the data, and refuse a model that they cannot serve.

    Args:
        resolved: resolved request.
        workplace: folders of data and cache, and the display of progress.
        store: the stages of this run.
        ranks_test: True where the test users are ranked after the training, so that a budget of seconds keeps time for it.
        listeners: are told how far the model's own training is.
        consumption: measures the training; None: nobody asked.

    Raises:
        BadRequest: the model needs something that the data set does not have.
    """
    loaded = load_split(resolved.request.dataset, resolved.protocol, workplace, store)
    trainer = Trainer(
        task=resolved.task,
        split=loaded.split,
        machine=resolved.machine,
        store=store,
        progress=workplace.progress,
        budget=resolved.budget.from_now(),
        world=resolved.world,
        load_plugin=resolved.load_plugin,
        final_ranking=resolved.final_ranking if ranks_test else None,
        listeners=tuple(listeners),
    )
    # Before the run has its name, which asks for what the settings name: nothing is fetched for data that the model cannot read.
    check_needs(resolved.plugin, loaded.split)
    reveal_imports(resolved.plugin, resolved.config, trainer.catalogue)
    return Prepared(resolved, workplace, loaded, trainer, consumption)
