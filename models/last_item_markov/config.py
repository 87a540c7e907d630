"""Settings of the last-item Markov chain."""

from pydantic import PositiveFloat

from recbench.core import PluginConfig


class LastItemMarkovConfig(PluginConfig):
    """How much popularity counts beside the pair counts."""

    backoff: PositiveFloat = 1e-6
    """Weight of an item's number of events against its number of times after the last item; small, so that it only breaks ties."""
