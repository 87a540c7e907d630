"""Products, dropout, threads, several processes, and arrays in files: how all models compute."""

from typing import TYPE_CHECKING

from recbench.core.on_demand import on_demand

if TYPE_CHECKING:
    from recbench.nn.compute.distributed import gather_rows
    from recbench.nn.compute.dropout import Dropout
    from recbench.nn.compute.matrix_file import computed_matrix
    from recbench.nn.compute.projection import Linear, gradient_of_weight, linear, product, replace_linear
    from recbench.nn.compute.threads import over_batches
    from recbench.nn.compute.weights import load_weights
else:
    __getattr__ = on_demand(__name__)

__all__ = [
    "Dropout", "Linear", "computed_matrix", "gather_rows", "gradient_of_weight", "linear", "load_weights", "over_batches", "product",
    "replace_linear",
]  # fmt: skip
