"""Executors of the cells of a comparison: processes of this machine, or the machines of a cluster."""

from recbench.running.host.places import Places
from recbench.running.many.executors.executor import Executor, Report, Work
from recbench.running.many.executors.loop import work_through
from recbench.running.requests import CompareRequest

EXECUTORS = ("local", "ray")


def open_executor(request: CompareRequest, places: Places) -> Executor:
    """The executor that a comparison asks for; a library that only one of them needs is imported here."""
    if request.executor == "ray":
        from recbench.running.many.executors.ray import RayExecutor

        return RayExecutor(request, places)
    from recbench.running.many.executors.local import LocalExecutor

    return LocalExecutor(request, places)


__all__ = ["EXECUTORS", "Executor", "Report", "Work", "open_executor", "work_through"]
