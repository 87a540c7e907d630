"""Independent random streams from one run seed."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def derived_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream that `names` describe; the same on every machine and Python."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> "np.random.Generator":
    """A NumPy generator for the stream that `names` describe."""
    import numpy as np

    return np.random.default_rng(derived_seed(seed, *names))


def frozen_generator(seed: int, *names: str | int) -> "np.random.RandomState":
    """A generator for the stream that `names` describe, whose binomial and integer draws no version of NumPy changes.

    For figures that must come out again digit by digit elsewhere. NEP 19 freezes `RandomState`; `Generator` may be mended, and
    NumPy 2.5 did so to its binomial draws. `RandomState.multinomial` moved with it (NumPy issue 32299): do not draw from that.
    """
    import numpy as np

    return np.random.RandomState(np.random.MT19937(derived_seed(seed, *names)))
