"""Executors: where the runs of a comparison and the trials of a search are made, on this machine or on a cluster.

Another distribution adds one with an entry point of the group `recbench.executors` that names an `OpenExecutor`.
"""

from recbench.running.many.executors.executor import Executor, OpenExecutor, Report, Work
from recbench.running.many.executors.loop import work_through

__all__ = ["Executor", "OpenExecutor", "Report", "Work", "work_through"]
