"""Trackers: libraries in which people watch runs, told about each step of one."""

from recbench.running.tracking.tracker import OpenTracker, State, TrackedRun, Tracker
from recbench.running.tracking.trackers import Trackers

__all__ = ["OpenTracker", "State", "TrackedRun", "Tracker", "Trackers"]
