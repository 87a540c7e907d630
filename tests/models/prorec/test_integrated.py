"""What becomes of the two vectors of an item."""

import numpy as np
import prorec_case as case
import pytest

from recbench_models.prorec.integrated import integrated, normed

RNG = np.random.default_rng(0)
TEXT, COLLAB, ADAPTED = (RNG.normal(size=(10, width)).astype(np.float32) for width in (7, 4, 4))
TRAINED = np.arange(10) != 3


def fused(**changes: object) -> np.ndarray:
    return integrated(case.config(**changes).fusion, TEXT, COLLAB, ADAPTED, TRAINED)


def test_each_fusion_is_what_it_says() -> None:
    np.testing.assert_array_equal(fused(fusion={"kind": "semantic"}, domination=False), TEXT)
    np.testing.assert_array_equal(fused(fusion={"kind": "collab-only"}), COLLAB)
    np.testing.assert_array_equal(fused(fusion={"kind": "naive-concat"}), np.concatenate([COLLAB, TEXT], 1))
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (np.where(TRAINED[:, None], COLLAB, ADAPTED), ADAPTED)]
    np.testing.assert_allclose(fused(fusion={"kind": "concat", "block_norm": "l2"}), np.concatenate(unit, 1), atol=1e-6)
    np.testing.assert_allclose(fused(fusion={"kind": "mean", "block_norm": "l2"}), (unit[0] + unit[1]) / 2, atol=1e-6)


@pytest.mark.parametrize("fusion", ["concat", "collab"])
def test_items_without_events_take_their_text_in_the_place_of_chance(fusion: str) -> None:
    filled, plain = (
        fused(fusion={"kind": fusion, "block_norm": "none"}),
        fused(fusion={"kind": fusion, "block_norm": "none", "fill_untrained": False}),
    )
    np.testing.assert_array_equal(filled[3, :4], ADAPTED[3])
    np.testing.assert_array_equal(plain[3, :4], COLLAB[3])
    np.testing.assert_array_equal(filled[TRAINED], plain[TRAINED])


def test_centred_vectors_have_length_1_about_no_mean() -> None:
    vectors = RNG.normal(size=(500, 6)).astype(np.float32) + 5
    found = normed(vectors, "center-l2")
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert np.abs(found.mean(0)).max() < 0.15 < np.abs(normed(vectors, "l2").mean(0)).min()
