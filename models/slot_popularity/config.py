"""Settings of slot-popularity."""

from pydantic import Field

from recbench.core import PluginConfig
from recbench.nn.text import AttributeFields


class SlotPopularityConfig(PluginConfig):
    """What the slots of a bundle are, and how sure they must be."""

    categories: AttributeFields = AttributeFields(fields=("categories",), optional_fields=())
    most_repeats: float = Field(default=0.05, ge=0, le=1)
    """Data are refused where more than this share of the train bundles holds a category twice: its bundles have no slots then."""
