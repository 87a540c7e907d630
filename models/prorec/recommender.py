"""PRORec (arXiv:2502.06269), later published as UNGER: a reconstruction, see README.md."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recbench.core import FitContext, FitReport
from recbench.core.seeds import derived_seed
from recbench.nn.blocks import CodeGenerator, CodeRecommender, CodeSeq2Seq, Examples
from recbench.nn.codes import item_codes
from recbench.nn.text import TextVectors, text_vectors
from recbench_models.prorec.config import USES_ALIGNED, USES_PLAIN, DistillationSettings, PRORecConfig
from recbench_models.prorec.integrated import integrated, normed
from recbench_models.prorec.joint import JointVectors, joint_vectors
from recbench_models.prorec.network import DistilledTraining, Student

SPACES_FILE = "spaces.npz"


class PRORec(CodeRecommender):
    """Text and behaviour -> one vector -> one code per item; the encoder-decoder writes codes and is told the vectors behind them."""

    def __init__(self, config: PRORecConfig) -> None:
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Stage 1, the codes, stage 2; every prefix of the train part is an example of both stages."""
        config = self.config
        text = text_vectors(context, config.text)
        n_quantizers = int(config.codes.trains)
        joint = self._stage_1(context, text, config.align.weight, n_quantizers) if config.fusion.kind in USES_ALIGNED else None
        # A bounded run spends nothing on a second training of stage 1 that only a diagnostic reads.
        is_diagnosed = config.domination and context.budget.unit is None
        plain = self._stage_1(context, text, 0.0, n_quantizers) if config.fusion.kind in USES_PLAIN or is_diagnosed else None
        behaviour = plain if config.fusion.kind in USES_PLAIN else joint
        is_trained = context.train.item_counts() > 0
        plain_text = np.asarray(text.vectors)
        vectors = integrated(
            config.fusion, plain_text, None if behaviour is None else behaviour.collab, None if joint is None else joint.adapted, is_trained
        )
        codes = item_codes(context, vectors, config.codes)
        self.generator = CodeGenerator(config.generator, codes.codes, context.seed)
        if config.distillation.weight == 0:
            report = self.generator.fit(context, config.training)
        else:
            teachers = [joint.collab, joint.adapted] if config.distillation.targets == "both" and joint is not None else [vectors]
            report = self.generator.fit(
                context, config.training, lambda network, examples: _distilled(context, config.distillation, teachers, network, examples)
            )
        report.artefacts = {**report.artefacts, "codes": codes.file}
        if plain is not None and is_diagnosed:
            report.artefacts = {**report.artefacts, "spaces": _spaces(context, plain_text, plain, joint, vectors)}
        return report

    def _stage_1(self, context: FitContext, text: TextVectors, align_weight: float, trainings_left: int) -> JointVectors:
        vectors = np.asarray(text.vectors)
        return joint_vectors(context, self.config, vectors, text.folder, align_weight=align_weight, trainings_left=trainings_left)


def _distilled(
    context: FitContext, settings: DistillationSettings, teachers: list[NDArray[np.float32]], network: CodeSeq2Seq, examples: Examples
) -> DistilledTraining:
    """Stage 2 with its students, whose first weights come from a generator of their own."""
    generator = torch.Generator().manual_seed(derived_seed(context.seed, "prorec", "student"))
    students = [
        Student(torch.from_numpy(np.array(teacher)), network.settings.width, settings, generator)
        for teacher in teachers
        if teacher is not None
    ]
    return DistilledTraining(network, examples, students, settings)


def _spaces(
    context: FitContext,
    text: NDArray[np.float32],
    plain: JointVectors,
    joint: JointVectors | None,
    vectors: NDArray[np.float32],
) -> Path:
    """The file with the spaces that are compared: behaviour and text as references, and what was or could have been made of them."""
    spaces = {
        "collaborative": plain.collab,
        "semantic": text,
        "naive concat": np.concatenate([plain.collab, text], 1),
        "quantised": vectors,
    }
    side_by_side = ["naive concat"]
    if joint is not None:
        halves = joint.collab, joint.adapted
        spaces["l2 concat"] = np.concatenate([normed(half, "l2") for half in halves], 1)
        spaces["centred l2 concat"] = np.concatenate([normed(half, "center-l2") for half in halves], 1)
        side_by_side += ["l2 concat", "centred l2 concat"]
    text_begins = {f"{name}/text begins": np.int64(plain.collab.shape[1]) for name in side_by_side}

    # numpy dates the parts of the archive 1980: equal spaces are equal bytes.
    archive = io.BytesIO()
    arrays: dict[str, Any] = {name: np.ascontiguousarray(value, np.float32) for name, value in spaces.items()} | text_begins
    np.savez(archive, **arrays)
    content = archive.getvalue()

    def build(folder: Path) -> None:
        (folder / SPACES_FILE).write_bytes(content)

    return context.stage("spaces", build, config={"content": hashlib.sha256(content).hexdigest()}) / SPACES_FILE
