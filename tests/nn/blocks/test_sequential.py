"""Causal self-attention: what a state may depend on, and how large the network is."""

import pytest
import torch
from torch import Tensor

from recbench.nn.blocks.sequential import Norm, SequenceEncoder
from recbench.nn.compute.dropout import Dropout

NORMS: tuple[Norm, ...] = ("pre", "post", "original")


def encoder_of(norm: Norm = "pre", n_items: int = 30, max_length: int = 10, **kwargs: float) -> SequenceEncoder:
    torch.manual_seed(5)
    encoder = SequenceEncoder(n_items, width=16, n_layers=2, n_heads=2, hidden=24, max_length=max_length, dropout=0.5, norm=norm, **kwargs)
    # Positions and norms away from their start, so that a fault in their use shows.
    for weight in encoder.parameters():
        if weight.dim() == 1:
            torch.nn.init.normal_(weight, mean=0.5, std=0.5)
    return encoder.eval()


def pad(rows: list[list[int]], n_items: int, width: int | None = None) -> tuple[Tensor, Tensor]:
    width = width or max(map(len, rows))
    return torch.tensor([row + [n_items] * (width - len(row)) for row in rows]), torch.tensor([len(row) for row in rows])


@pytest.mark.parametrize("norm", NORMS)
def test_the_future_changes_nothing(norm: Norm) -> None:
    encoder = encoder_of(norm)
    first, length = pad([[1, 2, 3, 4, 5, 6]], 30)
    second, _ = pad([[1, 2, 3, 9, 8, 7]], 30)
    a, b = encoder(first, length), encoder(second, length)
    assert (a[:, :3] - b[:, :3]).abs().max() < 1e-6
    assert (a[:, 3:] - b[:, 3:]).abs().max() > 1e-3


@pytest.mark.parametrize("norm", NORMS)
def test_padding_and_company_change_nothing(norm: Norm) -> None:
    encoder = encoder_of(norm)
    rows = [[1, 2], [3, 4, 5, 6, 7], [8], [9, 1, 2, 3, 4, 5, 6, 7, 8, 9]]
    together = encoder.last_states(*pad(rows, 30))
    for row, expected in zip(rows, together, strict=True):
        for width in (len(row), 10):
            alone = encoder.last_states(*pad([row], 30, width))[0]
            assert (alone - expected).abs().max() < 1e-5


def test_positions_count_from_the_newest_item() -> None:
    encoder = encoder_of()
    with torch.no_grad():
        encoder.position_embedding.weight[:8] = 0
    state = encoder.last_states(*pad([[1, 2], [3, 1, 2]], 30))
    with torch.no_grad():
        encoder.position_embedding.weight[9, :8] += 1
    moved = encoder.last_states(*pad([[1, 2], [3, 1, 2]], 30))
    assert ((state - moved).abs().amax(1) > 1e-3).all()
    with torch.no_grad():
        encoder.position_embedding.weight[:7] = 5
    assert torch.equal(encoder.last_states(*pad([[1, 2], [3, 1, 2]], 30)), moved)


def test_right_padding_equals_left_padding_with_a_mask() -> None:
    """The published layout: newest item in the last slot, padded keys masked."""
    encoder = encoder_of()
    row = [4, 7, 1]
    slots = torch.tensor([[30] * 7 + row])
    x = encoder.item_embedding(slots) * encoder.embedding_scale + encoder.position_embedding.weight
    allowed = torch.ones(10, 10, dtype=torch.bool).tril() & (slots[0] != 30)[None]
    allowed |= torch.eye(10, dtype=torch.bool)
    for block in encoder.blocks:
        normed = block.attention_norm(x)
        q, k, v = (part.unflatten(-1, (2, 8)).transpose(1, 2) for part in block.attention.query_key_value(normed).chunk(3, -1))
        weight = ((q @ k.transpose(-1, -2)) / 8**0.5).masked_fill(~allowed, -torch.inf).softmax(-1)
        x = x + block.attention.output((weight @ v).transpose(1, 2).flatten(2))
        x = x + block.network(block.network_norm(x))
    torch.testing.assert_close(encoder.last_norm(x)[0, -1], encoder.last_states(*pad([row], 30))[0], atol=1e-5, rtol=1e-5)


def test_beauty_has_the_published_number_of_parameters() -> None:
    n_items, d, n_layers, length = 12_101, 64, 2, 50
    encoder = SequenceEncoder(n_items, width=d, n_layers=n_layers, n_heads=1, hidden=d, max_length=length, dropout=0.5)
    count = sum(p.numel() for p in encoder.parameters())
    assert count == (n_items + 1) * d + length * d + n_layers * (6 * d * d + 10 * d) + 2 * d == 828_288


def test_the_padding_row_stays_zero() -> None:
    encoder = encoder_of().train()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.1)
    items, length = pad([[1, 2], [3, 4, 5]], 30)
    encoder(items, length).sum().backward()
    optimizer.step()
    assert not encoder.item_embedding.weight[30].any()
    assert encoder.item_embedding.weight[1].any()


def test_initial_spread() -> None:
    torch.manual_seed(0)
    normal = SequenceEncoder(2000, width=64, n_layers=1, n_heads=1, hidden=64, max_length=5, dropout=0, init="normal")
    assert normal.item_ID.std().item() == pytest.approx(0.02, rel=0.03)
    xavier = SequenceEncoder(2000, width=64, n_layers=1, n_heads=1, hidden=64, max_length=5, dropout=0, init="xavier")
    query_key_value = xavier.blocks[0].attention.query_key_value.weight
    assert query_key_value.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(1)
    dropout = Dropout(share)
    x = torch.full((301, 997), 2.0, requires_grad=True)
    y = dropout(x)
    assert (y == 0).float().mean().item() == pytest.approx(share, abs=0.005)
    assert y.mean().item() == pytest.approx(2.0, rel=0.02)
    assert len(y.unique()) == 2
    # Places are independent: neighbours are dropped together as often as chance has it.
    is_dropped = (y == 0).float()
    assert (is_dropped[:, 1:] * is_dropped[:, :-1]).mean().item() == pytest.approx(share**2, abs=0.01)
    y.sum().backward()
    assert torch.equal(x.grad == 0, y == 0)
    assert dropout.eval()(x) is x
    assert Dropout(0.0)(x) is x
