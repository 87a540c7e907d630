"""Guarded calls into a plugin's model: its arguments, its answers, its time.

Every call of `build`, `fit`, `generate`, `save`, `load`, `to` and `item_vectors` goes through here. A fault of the plugin becomes a
`PluginFailed` that names model and method; `recbench.core.containment` says what is put back after each call.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.ma import MaskedArray
from numpy.typing import NDArray

from recbench.core.budget import Budget
from recbench.core.config import PluginConfig
from recbench.core.containment import contained, tell
from recbench.core.errors import PluginFailed
from recbench.core.model_card import ModelCard
from recbench.core.plugin import Catalogue, FitContext, FitReport, Plugin
from recbench.core.ranking import Queries, Rankings
from recbench.evaluation import check_rankings
from recbench.running.run.fit_reports import checked_report
from recbench.running.run.saved_files import refuse_unfit_files
from recbench.running.stages.outside_modules import came_along, unknown_modules

_METHODS = ("fit", "generate", "save", "load")
_LEAST_MARGIN_S = 60.0
_MARGIN_SHARE = 0.5
_GRACE_S = 10.0
"""Seconds between interrupting a call that overruns and ending the process."""


class GuardedRanker:
    """Guard around anything with `generate`: it gets copies, and its answers are checked.

    Attributes:
        name: the plugin's, for sentences.
        raw: the plugin's own object; only measurements of time call it directly, within `calling`.
    """

    def __init__(self, card: ModelCard, raw: Any, budget: Budget | None = None) -> None:
        """`budget`: budget of the run; calls that overrun one of seconds are ended."""
        self.name, self.raw = card.name, raw
        self._reads_time = card.reads_time
        self._budget = budget or Budget()

    @contextmanager
    def calling(self, method: str) -> Iterator[None]:
        """Guard a block that calls this method of `raw`.

        Raises:
            PluginFailed: the plugin broke, or overran the budget by more than the margin.
        """
        with _bounded(self._budget, self.name, method), contained(f"model {self.name!r}", method):
            yield

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The model's answer to a copy of the queries; unchecked, so nothing but time may be read off it. See `answers`."""
        asked = self._copy(queries)
        with self.calling("generate"):
            rankings: Rankings = self.raw.generate(asked, k)
        return rankings

    def answers(self, queries: Queries, k: int, *, n_items: int, first_query: int = 0) -> Rankings:
        """Checked rankings, the views in the order asked for.

        Args:
            queries: the model gets a copy.
            k: length of the lists.
            n_items: size of the catalogue.
            first_query: number of the first query in the whole split, for sentences.

        Raises:
            PluginFailed: the lists break the contract; the sentence names the model and the query.
        """
        asked = self._copy(queries)
        with self.calling("generate"):
            returned = self.raw.generate(asked, k)
            try:
                return check_rankings(returned, queries, n_items=n_items, k=k, first_query=first_query)
            except PluginFailed as error:
                raise PluginFailed(f"Model {self.name!r} broke its contract in generate: {error}") from error

    def _copy(self, queries: Queries) -> Queries:
        """A copy without times where the card does not say that they are read: no key would know them."""
        return (queries if self._reads_time else replace(queries, timestamp=None)).sealed()


class GuardedModel(GuardedRanker):
    """A plugin's model with all its methods guarded."""

    def __init__(self, plugin: Plugin, config: PluginConfig, catalogue: Catalogue, budget: Budget | None = None) -> None:
        """Build the model.

        Raises:
            PluginFailed: `build` fails, or returns something without the four methods.
        """
        super().__init__(plugin.card, None, budget)
        self._n_items = catalogue.n_items
        with self.calling("build"):
            self.raw = plugin.build(config, catalogue)
            missing = [method for method in _METHODS if not self._has(method)]
            if missing:
                kind, needed = type(self.raw).__name__, ", ".join(_METHODS)
                raise PluginFailed(f"Model {self.name!r}: build returned a {kind} without a method {missing[0]}. It needs {needed}.")

    def fit(self, context: FitContext) -> FitReport:
        """Train, and return the report with every field checked."""
        with self.calling("fit"):
            return checked_report(self.raw.fit(context), self.name)

    def save(self, folder: Path) -> None:
        """Write the model into an empty folder, and refuse files that a record cannot keep."""
        with self.calling("save"):
            self.raw.save(folder)
        refuse_unfit_files(folder, self.name)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        with self.calling("load"):
            self.raw.load(folder)

    def to(self, device: str) -> None:
        """Move to a device; a model without the method `to` stays where it is."""
        with self.calling("to"):
            if self._has("to"):
                self.raw.to(device)

    def item_vectors(self, asker: str) -> NDArray[np.float32]:
        """Item vectors (n_items, d) for the model `asker`, as a copy: finite, one row per item."""
        with self.calling("item_vectors"):
            if not self._has("item_vectors"):
                raise PluginFailed(f"Model {self.name!r} has no method item_vectors(), which {asker!r} asks for. Use another one.")
            return self._checked_vectors(self.raw.item_vectors())

    def _has(self, method: str) -> bool:
        """Tell whether the model has this method; to be asked within `calling`, as looking it up may run code of the plugin."""
        return callable(getattr(self.raw, method, None))

    def _checked_vectors(self, vectors: object) -> NDArray[np.float32]:
        """Copy and check the item vectors."""
        if isinstance(vectors, MaskedArray):
            raise PluginFailed(f"Model {self.name!r}: item_vectors returned a masked array, whose mask would be lost. Use a plain one.")
        if not isinstance(vectors, np.ndarray) or vectors.dtype.kind != "f" or vectors.ndim != 2:
            what = f"an array {vectors.shape} of {vectors.dtype}" if isinstance(vectors, np.ndarray) else f"a {type(vectors).__name__}"
            raise PluginFailed(f"Model {self.name!r}: item_vectors returned {what}; floats of shape ({self._n_items}, d) are needed.")
        if vectors.shape[0] != self._n_items or vectors.shape[1] == 0:
            raise PluginFailed(f"Model {self.name!r} gave item vectors of shape {vectors.shape}; ({self._n_items}, d) is needed.")
        # Checked as they are kept: a plain array, as a subclass may answer as it likes, in which a large double has become infinite.
        with np.errstate(over="ignore"):
            copy = np.array(vectors, dtype=np.float32, subok=False)
        if not np.isfinite(copy).all():
            row = int((~np.isfinite(copy)).any(axis=1).argmax())
            raise PluginFailed(f"Model {self.name!r}: item_vectors returned a number that is not finite in row {row}.")
        return copy


def reveal_imports(plugin: Plugin, config: PluginConfig, catalogue: Catalogue) -> None:
    """Build a plugin that is no part of recbench once: modules that it finds by a changed `sys.path` are then known to its hash."""
    if not came_along(plugin.folder):
        with suppress(PluginFailed):  # it fails again, and is written down, where it is trained
            GuardedModel(plugin, config, catalogue)


def refuse_unknown_modules(plugin: Plugin, before: frozenset[str]) -> None:
    """Refuse a training that read modules which its key does not know: the cache would answer with it after they have changed.

    Args:
        plugin: plugin of the model.
        before: modules that were loaded before.

    Raises:
        PluginFailed: names the modules and their files.
    """
    if came_along(plugin.folder):
        return
    unknown = unknown_modules(plugin.folder, before)
    if unknown:
        named = ", ".join(f"{name} ({file})" for name, file in list(unknown.items())[:3])
        raise PluginFailed(
            f"Model {plugin.card.name!r} imported {named} in fit by a name that its sources do not state, so that no key would know of "
            "changes there. Import it with an import statement, move it into the plugin's folder or install it."
        )


class _Overrun(BaseException):
    """Interrupts a call that took too long. No `Exception`, so that no handler of the plugin swallows it by accident."""


def margin_s(budget: Budget) -> float:
    """Seconds by which one call may overrun a budget: half of it, a minute at least, and twice the time kept back for ranking."""
    return max(_LEAST_MARGIN_S, _MARGIN_SHARE * budget.amount) + 2 * budget.ledger.reserve_s


@contextmanager
def _bounded(budget: Budget, name: str, method: str) -> Iterator[None]:
    """End the block where it overruns a budget of time: first by an exception in it, then, if that has no effect, with the process."""
    # Processor time covers training alone.
    is_covered = budget.unit == "seconds" or (budget.unit == "cpu-seconds" and method == "fit")
    if not is_covered or threading.current_thread() is not threading.main_thread():
        yield
        return
    over, ended = threading.Event(), threading.Event()
    # A call that begins after the end of the budget, such as the ranking of a slow model, has the margin for itself.
    ends_at = budget.now() + max(budget.amount - budget.used_s(), 0.0)

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if not ended.is_set():
            raise _Overrun

    def watch() -> None:
        # The margin grows while a model trains: the harness learns how long a ranking takes.
        while (left := ends_at + margin_s(budget) - budget.now()) > 0 and not ended.wait(min(left, 1.0)):
            pass
        if ended.is_set():
            return
        over.set()
        signal.pthread_kill(main, signal.SIGALRM)
        if not ended.wait(_GRACE_S):
            text = f"{_overran(name, method, budget)} It could not be interrupted; the process is ended."
            tell(text)
            os.write(2, f"Error: {text}\n".encode())
            os._exit(1)

    main = threading.main_thread().ident or 0
    before = signal.signal(signal.SIGALRM, interrupt)
    threading.Thread(target=watch, name="recbench-watchdog", daemon=True).start()
    try:
        yield
    except BaseException as error:
        if over.is_set():
            raise PluginFailed(_overran(name, method, budget)) from error
        raise
    else:
        if over.is_set():  # the plugin swallowed the exception that should have ended the call
            raise PluginFailed(_overran(name, method, budget))
    finally:
        ended.set()
        signal.signal(signal.SIGALRM, before)


def _overran(name: str, method: str, budget: Budget) -> str:
    return (
        f"Model {name!r} was still in {method} {margin_s(budget):.0f} s after the budget of {budget} had ended. "
        "Make the method ask context.budget.is_spent(), or raise --budget."
    )
