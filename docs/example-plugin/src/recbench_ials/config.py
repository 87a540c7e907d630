"""Settings of iALS."""

from pydantic import PositiveFloat, PositiveInt

from recbench.core import PluginConfig


class IALSConfig(PluginConfig):
    """Every field is an option: --set width=128."""

    width: PositiveInt = 64
    """Size of the vectors."""
    epochs: PositiveInt = 15
    """How often both sides are solved for."""
    unobserved: PositiveFloat = 0.1
    """Weight of all pairs of user and item, against 1 for each event."""
    regularisation: PositiveFloat = 1.0
    """Weight of the squared vectors."""
