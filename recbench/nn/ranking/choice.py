"""Settings that validation chooses, for models that need no training to try one."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from recbench.core.plugin import FitContext, Ranker

Setting = TypeVar("Setting")


def best_by_validation(context: FitContext, ranker: Ranker, candidates: Sequence[Setting], apply: Callable[[Setting], None]) -> Setting:
    """The candidate under which `ranker` ranks the validation queries best, the first of equal ones; it is applied when this returns.

    Args:
        context: of the run.
        ranker: what is tried.
        candidates: at least one; a single one is applied without a look at the validation queries.
        apply: puts a candidate into the ranker.
    """
    chosen = candidates[0]
    if len(candidates) > 1:
        values = []
        for candidate in candidates:
            apply(candidate)
            result = context.validate(ranker)
            context.log.info("%s: validation %s %.4f", candidate, result.metric, result.value)
            values.append(result.value)
        chosen = candidates[values.index(max(values))]
    apply(chosen)
    return chosen
