"""Settings of category-knn."""

from recbench.core import PluginConfig
from recbench.nn.text import CategorySettings


class CategoryKNNConfig(PluginConfig):
    """Columns to read and width of the vectors that are made of them; there is nothing else to set."""

    categories: CategorySettings = CategorySettings()
