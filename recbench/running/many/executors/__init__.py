"""Executors of the cells of a comparison: processes of this machine, or the machines of a cluster."""

from recbench.running.host.workplace import Workplace
from recbench.running.many.executors.executor import Executor, Report, Work
from recbench.running.many.executors.loop import work_through
from recbench.running.requests import CompareRequest

EXECUTORS = ("local", "ray")


def open_executor(request: CompareRequest, workplace: Workplace) -> Executor:
    """The executor that a comparison asks for; a library that only one of them needs is imported here."""
    if request.executor == "ray":
        from recbench.running.many.executors.ray import RayExecutor

        return RayExecutor(request, workplace)
    from recbench.running.many.executors.local import LocalExecutor

    return LocalExecutor(request, workplace)


__all__ = ["EXECUTORS", "Executor", "Report", "Work", "open_executor", "work_through"]
