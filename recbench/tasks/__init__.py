"""Tasks by name: those of recbench, and those of installed distributions (entry points of the group `recbench.tasks`)."""

from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from recbench.core.errors import BadRequest, PluginFailed, nearest
from recbench.tasks.bundle import TASK as BUNDLE
from recbench.tasks.next_item import TASK as NEXT_ITEM
from recbench.tasks.shortcuts import Shortcuts
from recbench.tasks.task import Task, Words

if TYPE_CHECKING:
    from recbench.data import DatasetCard

_OWN = {task.name: task for task in (NEXT_ITEM, BUNDLE)}


@cache
def find_task(name: str) -> Task:
    """The task of that name.

    Raises:
        BadRequest: there is none.
        PluginFailed: the distribution that claims the name gives no task of that name.
    """
    if name in _OWN:
        return _OWN[name]
    claims = {entry.name: entry for entry in entry_points(group="recbench.tasks")}
    if name not in claims:
        known = [*_OWN, *claims]
        raise BadRequest(f"There is no task {name!r} here.{nearest(name, known)} Known: {', '.join(known)}. Install what defines it.")
    task = claims[name].load()
    if not isinstance(task, Task) or task.name != name:
        raise PluginFailed(f"The entry point {name!r} of recbench.tasks gives no Task of that name. Correct {claims[name].value}.")
    return task


def task_of(dataset: str) -> Task:
    """The task of a data set, named as in `--dataset`."""
    from recbench.data import dataset_card

    return task_of_card(dataset_card(dataset))


def task_of_card(card: "DatasetCard") -> Task:
    """The task of a data set; its default protocol is that of the card where this names one."""
    return find_task(card.task).with_default(card.protocol)


__all__ = ["BUNDLE", "NEXT_ITEM", "Shortcuts", "Task", "Words", "find_task", "task_of", "task_of_card"]
