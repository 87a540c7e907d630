"""Random-looking bits of ids: draws that depend on no order of rows and on no other id."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from recbench.core.interactions import StringArray


def id_hashes(ids: StringArray, salt: str) -> NDArray[np.uint64]:
    """64 random-looking bits for each id, (n,); another salt gives others."""
    salted = hashlib.blake2b(salt.encode(), digest_size=8)

    def one(source_id: str) -> bytes:
        hasher = salted.copy()
        hasher.update(b"/" + source_id.encode())
        return hasher.digest()

    return np.frombuffer(b"".join(map(one, ids)), dtype="<u8").astype(np.uint64)
