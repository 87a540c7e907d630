"""Products with a matrix that stays the same for many calls."""

import torch
from torch import Tensor
from torch.nn import functional


def _has_packed_products() -> bool:
    """Whether this torch was built with oneDNN and has the two operators; they are those of its own compiler, not of its documented API."""
    return bool(torch.backends.mkldnn.is_available()) and all(  # type: ignore[no-untyped-call]
        hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    )


class Projection:
    """`x @ weight.T`, for inference.

    In float32 on a CPU the weight is put once into the order in which oneDNN reads it, which is faster than MKL's product on processors
    that are not Intel's (`benchmarks/beam_search.py --parts products`). Elsewhere it is torch's product.

    Args:
        weight: (Y, X).
    """

    def __init__(self, weight: Tensor) -> None:
        weight = weight.detach().contiguous()
        self.n_out = len(weight)
        is_packed = weight.device.type == "cpu" and weight.dtype == torch.float32 and _has_packed_products()
        self._packed: Tensor | None = torch.ops.mkldnn._reorder_linear_weight(weight) if is_packed else None
        self._weight = weight

    def __call__(self, x_NX: Tensor) -> Tensor:
        """(N, Y)."""
        if self._packed is None:
            return functional.linear(x_NX, self._weight)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x_NX, self._packed, None, "none", [], "")
        return product
