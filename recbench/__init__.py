"""recbench: generative recommenders and their baselines on the same splits, with one evaluator.

`run`, `load` and `compare` are the command line's verbs as functions. They are looked up on first use, so that
`import recbench` (and with it `recbench --help`) stays free of torch, pandas and numpy.
"""

from typing import TYPE_CHECKING, Any

from recbench.about import VERSION

if TYPE_CHECKING:
    from recbench.running.api import compare, load, run

__all__ = ["__version__", "compare", "load", "run"]
__version__ = VERSION


def __getattr__(name: str) -> Any:
    if name in {"compare", "load", "run"}:
        from recbench.running import api

        return getattr(api, name)
    raise AttributeError(f"module 'recbench' has no attribute {name!r}")
