"""Both stages together: what equals TIGER, what the ablations change, codes, and spaces."""

from pathlib import Path

import numpy as np
import prorec_case as case
import pytest

from recbench import registry
from recbench.core import FitReport
from recbench.core.config import by_dotted_name
from recbench.evaluation import Spaces, domination_figures, read_spaces
from recbench.testing import queries
from recbench_models.prorec.recommender import PRORec

SHORT = {"training.max_steps": 4, "joint.max_epochs": 1, "joint.max_steps": 3, "training.validate_every_epochs": 100}
ASKED = queries([[1, 2, 3], [4], [7, 9, 30]])


def trained(folder: Path, **changes: object) -> tuple[PRORec, FitReport]:
    model = PRORec(case.config(**{**SHORT, **changes}))
    return model, model.fit(case.context(folder))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[PRORec, FitReport]:
    """Trained with nothing changed."""
    return trained(tmp_path_factory.mktemp("whole"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "quantizer",
    [
        {"codes.quantizer": "rkmeans"},
        {"codes.quantizer": "rqvae", "codes.rqvae.epochs": 20, "codes.rqvae.hidden": [16], "codes.rqvae.latent": 8},
    ],
)
def test_text_alone_without_distillation_is_tiger(quantizer: dict[str, object], tmp_path: Path) -> None:
    model, report = trained(
        tmp_path / "prorec",
        fusion={"kind": "semantic"},
        domination=False,
        distillation={"weight": 0.0},
        **{"codes.codebook_size": 4, **quantizer},
    )
    plugin = registry.models().load("tiger")
    shared = {name: value for name, value in model.config.model_dump(mode="json").items() if name in plugin.config.model_fields}
    tiger = plugin.build(plugin.config.model_validate(shared), None)
    report_of_tiger = tiger.fit(case.context(tmp_path / "tiger"))
    np.testing.assert_array_equal(model.generator.codes.code, tiger.generator.codes.code)
    assert [point.loss for point in report.curve] == [point.loss for point in report_of_tiger.curve]
    for left, right in ((model.generate(ASKED, 10), tiger.generate(ASKED, 10)),):
        np.testing.assert_array_equal(left.items, right.items)
        np.testing.assert_array_equal(left.scores, right.scores)
    told, report_told = trained(
        tmp_path / "told",
        fusion={"kind": "semantic"},
        domination=False,
        distillation={"weight": 1.0},
        **{"codes.codebook_size": 4, **quantizer},
    )
    np.testing.assert_array_equal(told.generator.codes.code, tiger.generator.codes.code)
    assert [point.loss for point in report_told.curve] != [point.loss for point in report.curve]
    assert not np.array_equal(told.generate(ASKED, 10).scores, tiger.generate(ASKED, 10).scores)


ABLATIONS = {
    "no-alignment": {"align.weight": 0.0},
    "no-distillation": {"distillation.weight": 0.0},
    "naive-concat": {"fusion.kind": "naive-concat"},
    "text-only": {"fusion.kind": "semantic", "domination": False},
    "collab-only": {"fusion.kind": "collab-only"},
}


@pytest.mark.slow
def test_each_ablation_changes_loss_and_lists(whole: tuple[PRORec, FitReport], tmp_path: Path) -> None:
    model, report = whole
    for name, changes in ABLATIONS.items():
        other, report_other = trained(tmp_path / name, **changes)
        assert [point.loss for point in report_other.curve] != [point.loss for point in report.curve], name
        assert not np.array_equal(other.generate(ASKED, 10).scores, model.generate(ASKED, 10).scores), name


def test_the_presets_are_these_ablations() -> None:
    plugin = registry.models().load("prorec")
    cpu = by_dotted_name(plugin.resolve("cpu").model_dump(mode="json"))
    for name, changes in ABLATIONS.items():
        assert by_dotted_name(plugin.resolve(name).model_dump(mode="json")) == {**cpu, **changes}


def test_codes_are_distinct_and_equal_vectors_share_all_but_the_last(tmp_path: Path) -> None:
    model, report = trained(tmp_path, fusion={"kind": "semantic"}, domination=False, distillation={"weight": 0.0})
    code = model.generator.codes.code
    assert len(np.unique(code, axis=0)) == case.N_ITEMS
    of_text = case.clusters()[1]  # items of a cluster have one and the same text here
    for cluster in range(case.N_CLUSTERS):
        rows = np.flatnonzero(of_text == cluster)
        assert len(np.unique(code[rows, :-1], axis=0)) == 1
        assert sorted(code[rows, -1].tolist()) == list(range(len(rows)))
    assert "spaces" not in report.artefacts


def test_spaces_are_named_for_the_comparison(whole: tuple[PRORec, FitReport]) -> None:
    _, report = whole
    spaces = read_spaces(report.artefacts["spaces"])
    assert {"collaborative", "semantic", "naive concat", "l2 concat", "centred l2 concat", "quantised"} == set(spaces.matrices)
    assert spaces.text_begins == dict.fromkeys(
        ("naive concat", "l2 concat", "centred l2 concat"), spaces.matrices["collaborative"].shape[1]
    )
    assert all(len(space) == case.N_ITEMS for space in spaces.matrices.values())
    assert "domination_index:naive concat" in domination_figures(spaces)


@pytest.mark.slow
def test_plain_concatenation_is_dominated_more_than_the_balanced_one(tmp_path: Path) -> None:
    from recbench_models.prorec.integrated import normed
    from recbench_models.prorec.joint import joint_vectors

    config = case.config(collaborative={"encoder": "sasrec"}, joint={"max_epochs": 10, "learning_rate": 1e-2, "patience": None})
    context, text = case.context(tmp_path), case.text(scale=10.0)
    plain = joint_vectors(context, config, text, tmp_path, align_weight=0.0)
    joint = joint_vectors(context, config, text, tmp_path, align_weight=1.0)
    spaces = {
        "collaborative": plain.collab,
        "semantic": text,
        "naive": np.concatenate([plain.collab, text], 1),
        "balanced": np.concatenate([normed(half, "center-l2") for half in (joint.collab, joint.adapted)], 1),
    }
    figures = domination_figures(Spaces(spaces))
    assert figures["domination_index:naive"] > 0.8
    assert abs(figures["domination_index:balanced"]) < figures["domination_index:naive"]


def test_a_saved_model_answers_alike(whole: tuple[PRORec, FitReport], tmp_path: Path) -> None:
    model, _ = whole
    model.save(tmp_path)
    again = PRORec(model.config)
    again.load(tmp_path)
    np.testing.assert_array_equal(again.generate(ASKED, 10).scores, model.generate(ASKED, 10).scores)
