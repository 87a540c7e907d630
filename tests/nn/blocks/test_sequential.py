"""Self-attention over items: what a state may depend on, and how large the network is."""

from typing import Any

import pytest
import torch
from torch import Tensor

from recbench.nn.blocks.attention_blocks import Init, Norm
from recbench.nn.blocks.encoder_settings import EncoderSettings
from recbench.nn.blocks.sequential import SequenceEncoder
from recbench.nn.compute.dropout import Dropout

NORMS: tuple[Norm, ...] = ("pre", "post", "original", "ligr")


def encoder_of(norm: Norm = "pre", n_items: int = 30, max_length: int = 10, **options: Any) -> SequenceEncoder:
    torch.manual_seed(5)
    encoder = SequenceEncoder(
        n_items, EncoderSettings(width=16, n_layers=2, n_heads=2, hidden=24, max_length=max_length, dropout=0.5), norm=norm, **options
    )
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
def test_without_causality_every_real_slot_is_seen(norm: Norm) -> None:
    encoder = encoder_of(norm, causal=False)
    first, length = pad([[1, 2, 3, 4]], 30)
    second, _ = pad([[1, 2, 3, 9]], 30)
    a, b = encoder(first, length), encoder(second, length)
    assert (a - b).abs().amax(-1).min() > 1e-4


def test_one_network_looks_both_ways_and_then_back_only() -> None:
    encoder = encoder_of(causal=False)
    row, length = pad([[1, 2, 3, 4]], 30)
    encoder.causal = True
    assert torch.equal(encoder(row, length), encoder_of()(row, length))


def test_a_sequence_without_items_does_no_harm() -> None:
    encoder = encoder_of(causal=False)
    together = encoder(*pad([[], [1, 2]], 30))
    together[1].sum().backward()
    assert together.isfinite().all()
    assert all(weight.grad.isfinite().all() for weight in encoder.parameters() if weight.grad is not None)
    assert (together[1] - encoder(*pad([[1, 2]], 30))[0]).abs().max() < 1e-5


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("norm", NORMS)
def test_padding_and_company_change_nothing(norm: Norm, causal: bool) -> None:
    encoder = encoder_of(norm, causal=causal, embedding_norm=True)
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
    encoder = SequenceEncoder(n_items, EncoderSettings(width=d, n_layers=n_layers, n_heads=1, hidden=d, max_length=length, dropout=0.5))
    count = sum(p.numel() for p in encoder.parameters())
    assert count == (n_items + 1) * d + length * d + n_layers * (6 * d * d + 10 * d) + 2 * d == 828_288


def test_s3rec_has_its_number_of_parameters() -> None:
    """arXiv:2008.07873's network without the norm of the embeddings, and with it."""
    for embedding_norm in (False, True):
        encoder = SequenceEncoder(
            12_101,
            EncoderSettings(width=64, n_layers=2, n_heads=2, hidden=256, max_length=50, dropout=0.5),
            norm="post",
            embedding_norm=embedding_norm,
        )
        assert sum(p.numel() for p in encoder.parameters()) == 877_824 - 2 * 64 + 2 * 64 * embedding_norm


# What each order of block made of these items before blocks had more than these options: saved models must go on ranking alike.
BEFORE: dict[tuple[Norm, Init], list[float]] = {
    ("pre", "xavier"): [-1.060304, -0.075262, -0.035224, -0.38272],
    ("pre", "normal"): [-1.100945, -0.303035, -0.237797, 1.147361],
    ("post", "xavier"): [-1.390526, 0.164078, 0.237105, -0.489709],
    ("post", "normal"): [-1.120811, -0.310229, -0.245497, 1.285086],
    ("original", "xavier"): [0.665929, 1.416521, 0.492987, 1.22015],
    ("original", "normal"): [0.654603, 1.775824, 0.330037, -1.492859],
}


@pytest.mark.parametrize(("norm", "init"), BEFORE)
def test_defaults_are_the_networks_of_before(norm: Norm, init: Init) -> None:
    torch.manual_seed(11)
    encoder = SequenceEncoder(
        30,
        EncoderSettings(width=16, n_layers=2, n_heads=2, hidden=24, max_length=10, dropout=0.3),
        norm=norm,
        init=init,
        embedding_scale=4.0,
        activation="gelu" if init == "normal" else "relu",
    ).eval()
    state = encoder(*pad([[1, 2, 3, 4, 5], [6, 7, 8]], 30))
    assert state[1, 2, :4].tolist() == pytest.approx(BEFORE[norm, init], abs=2e-6)
    names = ["item_embedding.weight", "position_embedding.weight"]
    for layer in range(2):
        parts = ["attention_norm", "attention.query_key_value", *(["attention.output"] if norm != "original" else []), "network_norm"]
        names += [f"blocks.{layer}.{part}.{kind}" for part in [*parts, "network.0", "network.3"] for kind in ("weight", "bias")]
    names += ["last_norm.weight", "last_norm.bias"] if norm != "post" else []
    assert list(encoder.state_dict()) == names


def test_the_padding_row_stays_zero_and_mask_is_learnt() -> None:
    encoder = encoder_of(has_mask=True).train()
    assert not encoder.item_embedding.weight[30].any()
    mask = encoder.item_embedding.weight[31].detach().clone()
    assert mask.any()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.1)
    items, length = pad([[1, 2], [3, encoder.mask_row, 5]], 30)
    encoder(items, length).sum().backward()
    optimizer.step()
    assert not encoder.item_embedding.weight[30].any()
    assert (encoder.item_embedding.weight[[1, 31]] - mask).abs().amax(1).min() > 1e-3


def test_mask_is_no_item() -> None:
    assert len(encoder_of(has_mask=True).item_ID) == len(encoder_of().item_ID) == 30
    with pytest.raises(ValueError, match="has_mask=True"):
        _ = encoder_of().mask_row


def test_norm_of_the_embeddings_takes_their_scale_away() -> None:
    encoder = encoder_of("post", embedding_norm=True, layer_norm_eps=1e-12)
    items = pad([[1, 2, 3], [4, 5]], 30)
    before = encoder.last_states(*items)
    with torch.no_grad():
        encoder.item_embedding.weight *= 3
        encoder.position_embedding.weight *= 3
    torch.testing.assert_close(encoder.last_states(*items), before, atol=1e-5, rtol=0)


def test_post_norm_states_are_normal_before_the_affine_part() -> None:
    encoder = encoder_of("post")
    with torch.no_grad():
        encoder.blocks[-1].network_norm.weight.fill_(1.0)
        encoder.blocks[-1].network_norm.bias.zero_()
    state = encoder.last_states(*pad([[1, 2, 3], [4, 5]], 30))
    torch.testing.assert_close(state.mean(-1), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(state.var(-1, correction=0), torch.ones(2), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("norm", "has_last"), [("pre", True), ("post", False), ("original", True), ("ligr", False)])
def test_last_norm_is_that_of_the_order_or_as_asked(norm: Norm, has_last: bool) -> None:
    for asked, expected in ((None, has_last), (True, True), (False, False)):
        assert (encoder_of(norm, last_norm=asked).last_norm.__class__ is torch.nn.LayerNorm) == expected


def test_states_of_given_vectors_are_those_of_the_items() -> None:
    encoder = encoder_of("ligr", embedding_norm=True)
    items, length = pad([[1, 2, 3], [4, 5]], 30)
    assert torch.equal(encoder.states_of(encoder.item_embedding(items), length), encoder(items, length))


def test_initial_spread() -> None:
    torch.manual_seed(0)
    normal = SequenceEncoder(2000, EncoderSettings(width=64, n_layers=1, n_heads=1, hidden=64, max_length=5, dropout=0), init="normal")
    assert normal.item_ID.std().item() == pytest.approx(0.02, rel=0.03)
    xavier = SequenceEncoder(2000, EncoderSettings(width=64, n_layers=1, n_heads=1, hidden=64, max_length=5, dropout=0), init="xavier")
    query_key_value = xavier.blocks[0].attention.query_key_value.weight
    assert query_key_value.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)
    packed = SequenceEncoder(
        2000, EncoderSettings(width=64, n_layers=1, n_heads=1, hidden=64, max_length=5, dropout=0), init="xavier-packed"
    )
    assert packed.blocks[0].attention.query_key_value.weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.05)
    assert packed.blocks[0].attention.output.weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)


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
