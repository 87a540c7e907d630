"""recbench: generative recommenders and their baselines on the same splits, with one evaluator.

The functions here are the command line's verbs, and frames of what they made. They are looked up on first use, so that
`import recbench` (and with it `recbench --help`) stays free of torch, pandas and numpy.
"""

from typing import TYPE_CHECKING, Any

from recbench.about import VERSION

if TYPE_CHECKING:
    from recbench.api import compare, compare_runs, load, run, tune
    from recbench.frames import board, check, codes, histories, lists, ranks, records, shortcuts

__all__ = [
    "__version__",
    "board",
    "check",
    "codes",
    "compare",
    "compare_runs",
    "histories",
    "lists",
    "load",
    "ranks",
    "records",
    "run",
    "shortcuts",
    "tune",
]
__version__ = VERSION


def __getattr__(name: str) -> Any:
    if name in __all__:
        from recbench import api, frames

        return getattr(api if hasattr(api, name) else frames, name)
    raise AttributeError(f"module 'recbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
