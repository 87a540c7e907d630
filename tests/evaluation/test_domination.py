"""The domination figures against spaces whose answer is known."""

from pathlib import Path

import numpy as np
import pytest

from recbench.core import BadData
from recbench.evaluation import Spaces, domination_figures, read_spaces
from recbench.evaluation.domination import cka, clusters, nearest_items, normalised_mutual_information, overlap


def clustered(n: int, width: int, seed: int, noise: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, width))
    return (centres[rng.integers(0, 20, n)] + noise * rng.normal(size=(n, width))).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def toy() -> dict[str, np.ndarray]:
    """Independent modalities; the text is wide, long and off the origin, as text vectors are, behaviour short, as tables of vectors are."""
    collab, text = 0.05 * clustered(1000, 32, 0), clustered(1000, 256, 1) + np.float32(3)
    centred = [unit(part - part.mean(0)) for part in (collab, text)]
    return {
        "collaborative": collab,
        "semantic": text,
        "raw": np.concatenate([collab, text], 1),
        "l2": np.concatenate([unit(collab), unit(text)], 1),
        "centred": np.concatenate(centred, 1),
        "text again": text,
        "behaviour again": collab,
        "noise": np.random.default_rng(5).normal(size=(1000, 16)).astype(np.float32),
    }


def test_known_answers() -> None:
    figures = domination_figures(Spaces(toy()))
    index = {name.partition(":")[2]: value for name, value in figures.items() if name.startswith("domination_index:")}
    assert index["text again"] == pytest.approx(1, abs=0.05)
    assert index["behaviour again"] == pytest.approx(-1, abs=0.05)
    assert index["raw"] > 0.9
    assert index["l2"] < -0.5
    assert abs(index["centred"]) < 0.5
    assert figures["domination_chance"] == pytest.approx(10 / 999)
    assert figures["domination_overlap_semantic:text again"] == 1
    assert figures["domination_overlap_semantic:noise"] == pytest.approx(0.01, abs=0.004)
    assert figures["domination_cka_semantic:text again"] == pytest.approx(1)
    assert figures["domination_cka_collaborative:raw"] < 0.1


def test_where_all_are_one_nothing_dominates() -> None:
    space = clustered(100, 8, 0)
    figures = domination_figures(Spaces({"collaborative": space, "semantic": space, "both": space}))
    assert figures["domination_index:both"] == 0
    assert figures["domination_overlap_of_references"] == 1


def test_neighbours_are_a_sort_by_cosine() -> None:
    space = clustered(60, 5, 3)
    rows = np.array([0, 17, 59])
    found = nearest_items(space, rows, 7)
    cosine = unit(space) @ unit(space).T
    for place, row in enumerate(rows):
        expected = [item for item in np.argsort(-cosine[row]) if item != row][:7]
        assert sorted(found[place].tolist()) == sorted(expected)
    assert overlap(found, found) == 1
    assert overlap(np.array([[0, 1]]), np.array([[1, 2]])) == 0.5


def test_cka_does_not_see_rotation_and_scale() -> None:
    space = clustered(80, 6, 2)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))
    assert cka(space, 3 * space @ turn.astype(np.float32) + 5) == pytest.approx(1, abs=1e-5)
    assert cka(space, np.ones_like(space)) == 0


def test_many_items_are_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbench.evaluation.domination.MAX_ITEMS", 300)
    part = domination_figures(Spaces(toy()))
    assert part["domination_index:raw"] > 0.9
    assert part == domination_figures(Spaces(toy()))


def test_files_that_are_something_else_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="holds no item vectors"):
        read_spaces(tmp_path / "nowhere.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(BadData, match="holds no item vectors"):
        read_spaces(tmp_path / "text.npz")
    np.savez(tmp_path / "one.npz", semantic=np.zeros((3, 2), np.float32))
    with pytest.raises(BadData, match="no space called 'collaborative'"):
        read_spaces(tmp_path / "one.npz")
    np.savez(tmp_path / "two.npz", semantic=np.zeros((3, 2), np.float32), collaborative=np.zeros((4, 2), np.float32))
    with pytest.raises(BadData, match="each needs a row for every item"):
        read_spaces(tmp_path / "two.npz")
    np.savez(
        tmp_path / "three.npz",
        semantic=np.zeros((3, 2), np.float32),
        collaborative=np.zeros((3, 2), np.float32),
        **{"semantic/text begins": np.int64(2)},
    )
    with pytest.raises(BadData, match="'semantic/text begins' is 2; it must be a column"):
        read_spaces(tmp_path / "three.npz")


def test_text_s_share_of_the_variance() -> None:
    figures = domination_figures(Spaces(toy(), {"raw": 32, "l2": 32, "centred": 32}))
    share = {name.partition(":")[2]: value for name, value in figures.items() if name.startswith("domination_text_variance:")}
    assert set(share) == {"raw", "l2", "centred"}
    assert share["raw"] > 0.99
    assert share["l2"] < 0.2
    assert share["centred"] == pytest.approx(0.5, abs=0.01)


def test_text_s_share_is_that_of_the_distances() -> None:
    space = toy()["l2"][:200]
    figure = domination_figures(Spaces({"collaborative": space[:, :32], "semantic": space[:, 32:], "both": space}, {"both": 32}))
    apart = np.square(space[:, None] - space[None]).astype(np.float64).sum((0, 1))
    assert figure["domination_text_variance:both"] == pytest.approx(apart[32:].sum() / apart.sum(), abs=1e-5)


def test_codes_of_text_say_nothing_of_behaviour() -> None:
    spaces = toy()
    figures = domination_figures(Spaces(spaces), clusters(spaces["semantic"] - 3, 20))
    assert figures["domination_nmi_semantic"] > 0.8
    assert figures["domination_nmi_collaborative"] < 0.25
    assert "domination_nmi_semantic" not in domination_figures(Spaces(spaces))


def test_mutual_information_by_hand() -> None:
    left = np.array([0, 0, 1, 1], np.int32)
    assert normalised_mutual_information(left, 1 - left) == pytest.approx(1)
    assert normalised_mutual_information(left, np.array([0, 1, 0, 1], np.int32)) == pytest.approx(0, abs=1e-12)
    # Right: 1/4 and 3/4; I = ln 2 + H(1/4) - H(1/4, 1/4, 1/2).
    right = np.array([0, 1, 1, 1], np.int32)
    h_right = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    mutual = np.log(2) + h_right - 1.5 * np.log(2)
    assert normalised_mutual_information(left, right) == pytest.approx(2 * mutual / (np.log(2) + h_right))
    assert normalised_mutual_information(left * 0, left * 0) == 0
