"""The distillation against closed forms, and that it disturbs nothing it should not."""

import math

import numpy as np
import prorec_case as case
import pytest
import torch

from recbench.nn.blocks.seq2seq.examples import CodeTraining, Examples
from recbench.nn.blocks.seq2seq.generator import CodeGenerator
from recbench.nn.blocks.seq2seq.model import SUMMARY, Memory
from recbench.nn.codes.catalogue import make_unique
from recbench_models.prorec.network import DistilledTraining, Student, distillation_loss


def distilled(student: torch.Tensor, teacher: torch.Tensor, target: list[int], drawn: list[int], kind: str = "infonce") -> float:
    return float(distillation_loss(student, teacher, torch.tensor(target), torch.tensor(drawn), kind=kind, temperature=0.3))


def test_closed_forms() -> None:
    teacher = torch.eye(6)
    assert distilled(teacher[:1], teacher, [0], [1, 2, 3, 4]) == pytest.approx(math.log(1 + 4 * math.exp(-1 / 0.3)), rel=1e-4)
    assert distilled(torch.randn(1, 6), teacher, [2], [2, 2]) == pytest.approx(0, abs=1e-6)
    for kind in ("cosine", "mse"):
        assert distilled(3 * teacher[:2], teacher, [0, 1], [], kind) == pytest.approx(0, abs=1e-5)
    student, others = torch.randn(5, 6), torch.randn(9, 6)
    target = [0, 3, 3, 8, 1]
    assert distilled(student, others, target, [], "mse") == pytest.approx(2 * distilled(student, others, target, [], "cosine"), rel=1e-4)


def generator(**changes: object) -> tuple[CodeGenerator, Examples]:
    settings = case.config(**{"generator.dropout": 0.0, **changes}).generator
    rng = np.random.default_rng(0)
    codes = make_unique(rng.integers(0, 8, (case.N_ITEMS, 2)).astype(np.int32), (8, 8), least_size=8)
    made = CodeGenerator(settings, codes, seed=0)
    train = case.walks()
    return made, Examples(settings, train, np.array([f"u{row}" for row in range(case.N_USERS)], object))


def training(made: CodeGenerator, examples: Examples, **changes: object) -> DistilledTraining:
    config = case.config(**{"generator.dropout": 0.0, **changes})
    teacher = torch.from_numpy(np.random.default_rng(1).normal(size=(case.N_ITEMS, 12)).astype(np.float32))
    student = Student(teacher, made.network.settings.width, config.distillation, torch.Generator().manual_seed(0))
    return DistilledTraining(made.network, examples, [student], config.distillation)


ROWS = np.arange(20)


@pytest.mark.parametrize("position", ["after", "before", "encoder"])
def test_the_codes_loss_is_the_same_with_a_summary_beside_it(position: str) -> None:
    made, examples = generator()
    plain, n = CodeTraining(made.network, examples)(ROWS)
    module = training(made, examples, distillation={"position": position, "weight": 1e-9})
    torch.manual_seed(0)
    loss, n_too = module(ROWS)
    assert n == n_too
    torch.testing.assert_close(loss, plain, rtol=1e-5, atol=1e-4)


def test_only_behind_the_code_does_the_summary_know_the_target() -> None:
    made, examples = generator()
    network = made.network
    item, user, target, slot = examples.tensors(ROWS, torch.device("cpu"))
    other = torch.where(target >= 0, (target + 1) % case.N_ITEMS, target)
    with torch.no_grad():
        memory = network.encode(item, user)
        states = []
        for wanted in (target, other):
            last = network.item_tokens[wanted][..., -1:]
            inputs = torch.cat([network.decoder_input(wanted), last, torch.full_like(last, SUMMARY)], 2)
            states.append(network.decode(memory, inputs, slot)[:, :, -1][target >= 0])
        assert (states[0] - states[1]).abs().max() > 1e-3


@pytest.mark.parametrize("position", ["after", "before", "encoder"])
def test_gradients_reach_the_network_and_not_the_teacher(position: str) -> None:
    made, examples = generator()
    module = training(made, examples, distillation={"position": position, "weight": 3.0})
    torch.manual_seed(0)
    loss, _ = module(ROWS)
    plain, _ = CodeTraining(made.network, examples)(ROWS)
    (loss - plain).backward()
    assert module.students[0].teacher_NV.grad is None
    assert module.students[0].project.weight.grad.abs().sum() > 0
    assert made.network.t5.shared.weight.grad.abs().sum() > 0


def test_the_weight_is_for_the_mean_over_a_code_s_tokens() -> None:
    made, examples = generator()
    plain, n = CodeTraining(made.network, examples)(ROWS)
    extra = []
    for weight in (1.0, 2.0):
        torch.manual_seed(0)
        extra.append((training(made, examples, distillation={"weight": weight})(ROWS)[0] - plain).item())
    assert extra[1] == pytest.approx(2 * extra[0], rel=1e-3)
    assert extra[0] / n / made.network.code_length < 2 * math.log(33)


def test_the_mean_of_the_encoder_holds_what_a_target_may_see() -> None:
    made, _ = generator()
    memory = torch.arange(12.0).view(1, 6, 2)
    made.network.settings = made.settings
    slot = torch.tensor([[0, 1]])
    length = made.network.code_length
    found = made.network.mean_memory(Memory(memory, torch.arange(6)[None] // length), slot)
    torch.testing.assert_close(found[0, 0], memory[0, :length].mean(0))
    torch.testing.assert_close(found[0, 1], memory[0, : 2 * length].mean(0))
