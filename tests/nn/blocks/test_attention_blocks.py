"""Blocks of self-attention: LigR against its formula, and stacks over vectors that are no items."""

import pytest
import torch
from torch import nn

from recbench.nn.blocks.attention_blocks import Block, BlockSettings, BlockStack, LigrBlock, Norm, SwiGLU, initialise
from recbench.nn.compute import Linear

WIDTH = 16


def settings_of(norm: Norm = "ligr", **options: object) -> BlockSettings:
    values = {"width": WIDTH, "n_heads": 2, "hidden": 24, "dropout": 0.0, "norm": norm, **options}
    return BlockSettings(**values)  # type: ignore[arg-type]


def ligr_with_gates_at(value: float) -> LigrBlock:
    torch.manual_seed(3)
    block = LigrBlock(settings_of())
    with torch.no_grad():
        for gate in (block.attention_gate, block.network_gate):
            gate.weight.zero_()
            gate.bias.fill_(value)
    return block


def test_ligr_with_open_gates_is_a_pre_norm_block() -> None:
    block = ligr_with_gates_at(40.0)
    reference = Block(settings_of("pre"))
    reference.load_state_dict(block.state_dict() | reference.network.state_dict(prefix="network."), strict=False)
    reference.network = block.network  # type: ignore[assignment]
    x = torch.randn(2, 5, WIDTH)
    torch.testing.assert_close(block(x), reference(x), atol=1e-6, rtol=0)


def test_ligr_with_closed_gates_changes_nothing() -> None:
    x = torch.randn(2, 5, WIDTH)
    torch.testing.assert_close(ligr_with_gates_at(-40.0)(x), x, atol=1e-6, rtol=0)


def test_gates_read_what_came_before_the_norm() -> None:
    torch.manual_seed(3)
    block = LigrBlock(settings_of())
    x = torch.randn(2, 5, WIDTH)
    normed = block.attention_norm(x)
    middle = x + torch.sigmoid(x @ block.attention_gate.weight.T + block.attention_gate.bias) * block.attention(normed, normed)
    gate = torch.sigmoid(middle @ block.network_gate.weight.T + block.network_gate.bias)
    torch.testing.assert_close(block(x), middle + gate * block.network(block.network_norm(middle)))


def test_swiglu_is_its_formula() -> None:
    torch.manual_seed(0)
    network = SwiGLU(3, 5, 0.5).eval()
    y = torch.randn(4, 3)
    gate, value = y @ network.gate.weight.T, y @ network.value.weight.T
    expected = (gate / (1 + torch.exp(-gate)) * value) @ network.output.weight.T
    torch.testing.assert_close(network(y), expected)
    assert not any(name.endswith("bias") for name in network.state_dict())


@pytest.mark.parametrize(("width", "factor", "count"), [(64, 4, 74_368), (256, 2, 12 * 256**2 + 2_560), (64, 1, 9 * 64**2 + 640)])
def test_ligr_has_its_number_of_parameters(width: int, factor: int, count: int) -> None:
    block = LigrBlock(BlockSettings(width, 1, factor * width, 0.2, "ligr"))
    assert sum(weight.numel() for weight in block.parameters()) == (6 + 3 * factor) * width**2 + 10 * width == count


@pytest.mark.parametrize("norm", ["pre", "ligr"])
def test_inner_dropout_can_be_left_out(norm: Norm) -> None:
    for inner_dropout in (True, False):
        network = BlockStack(1, settings_of(norm, dropout=0.5, inner_dropout=inner_dropout))[0].network
        x = torch.randn(2, 5, WIDTH)
        assert torch.equal(network(x), network(x)) != inner_dropout


def test_original_order_may_project_its_heads() -> None:
    for asked, expected in ((None, nn.Identity), (True, Linear), (False, nn.Identity)):
        assert type(Block(settings_of("original", attention_output=asked)).attention.output) is expected
    assert type(Block(settings_of("post")).attention.output) is Linear


@pytest.mark.parametrize("norm", ["pre", "post", "original", "ligr"])
def test_a_stack_reads_vectors_of_any_kind(norm: Norm) -> None:
    torch.manual_seed(1)
    stack = BlockStack(2, settings_of(norm))
    initialise(stack, "xavier")
    x, length = torch.randn(2, 5, WIDTH), torch.tensor([5, 3])
    changed = x.clone()
    changed[:, 4] = torch.randn(WIDTH)
    is_moved = (stack(x, length) - stack(changed, length)).abs().amax(-1) > 1e-6
    assert is_moved.tolist() == [[False] * 4 + [True]] * 2
    # The fifth slot of the second sequence is padding, which nobody sees when all look both ways.
    is_moved = (stack(x, length, causal=False) - stack(changed, length, causal=False)).abs().amax(-1) > 1e-6
    assert is_moved[0].all()
    assert is_moved[1].tolist() == [False] * 4 + [True]


def test_outputs_of_layers_have_a_dropout_of_their_own() -> None:
    x, length = torch.randn(2, 5, 8), torch.tensor([5, 3])
    for norm in ("pre", "ligr"):
        for dropout, output_dropout, is_random in ((0.0, None, False), (0.0, 0.5, True), (0.5, 0.0, True)):
            settings = BlockSettings(8, 2, 16, dropout, norm=norm, inner_dropout=False, output_dropout=output_dropout)  # type: ignore[arg-type]
            torch.manual_seed(0)
            stack = BlockStack(1, settings)
            assert (not torch.equal(stack.train()(x, length), stack.eval()(x, length))) == is_random
        with torch.no_grad():
            stack[0].attention.output.weight.zero_()
        assert torch.equal(stack.train()(x, length), stack.eval()(x, length)), "without attention nothing is left to chance"


def test_gelu_tanh_is_the_approximation_of_gpt_2() -> None:
    block = BlockStack(1, BlockSettings(8, 2, 16, 0.0, activation="gelu-tanh"))[0]
    z = torch.linspace(-3, 3, 16)
    by_hand = 0.5 * z * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (z + 0.044715 * z**3)))
    torch.testing.assert_close(block.network[1](z), by_hand)
    assert not torch.equal(block.network[1](z), torch.nn.functional.gelu(z))
