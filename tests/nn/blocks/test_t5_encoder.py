"""The encoder for inference equals the library's forward pass, whatever the padding and the size of the chunks."""

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from recbench.nn.blocks import t5_encoder
from recbench.nn.blocks.t5_encoder import T5Encoder
from recbench.nn.compute.projection import Projection


def model_of(network: str) -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    config = T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=3, feed_forward_proj=network, dropout_rate=0.0)
    model = T5ForConditionalGeneration(config).eval()
    for parameter in model.parameters():  # norms that are all one would hide a norm that is left out
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("network", ["relu", "gated-gelu"])
def test_equals_the_library(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(network)
    token = torch.randint(3, 50, (5, 11))
    mask = torch.arange(11) < torch.tensor([11, 4, 1, 7, 11])[:, None]
    with torch.no_grad():
        expected = model.encoder(input_ids=token, attention_mask=mask.long()).last_hidden_state
    for chunk in (1, 30, 10_000):
        monkeypatch.setattr(t5_encoder, "_CHUNK_TOKENS", {"cpu": chunk})
        torch.testing.assert_close(T5Encoder(model)(token, mask)[mask], expected[mask], atol=1e-5, rtol=0)


def test_what_may_not_be_seen_changes_nothing() -> None:
    encoder = T5Encoder(model_of("relu"))
    token, everything = torch.randint(3, 50, (2, 6)), torch.ones(2, 6, dtype=torch.bool)
    earlier = torch.ones(1, 6, 6).tril().bool()
    states = encoder(token, everything, earlier)
    changed = token.clone()
    changed[:, 4:] = 7
    torch.testing.assert_close(encoder(changed, everything, earlier)[:, :4], states[:, :4], atol=1e-6, rtol=0)
    assert (encoder(changed, everything)[:, :4] - encoder(token, everything)[:, :4]).abs().max() > 1e-3
    # Each user may have rules, and vectors of places, of its own.
    places = torch.randn(2, 6, 32)
    both = encoder(token, everything, torch.cat([earlier, torch.ones_like(earlier)]), places)
    torch.testing.assert_close(both[:1], encoder(token[:1], everything[:1], earlier, places[:1]), atol=1e-6, rtol=0)
    torch.testing.assert_close(both[1:], encoder(token[1:], everything[1:], None, places[1:]), atol=1e-6, rtol=0)


def test_a_user_without_tokens_has_finite_states() -> None:
    mask = torch.tensor([[True, True], [False, False]])
    assert torch.isfinite(T5Encoder(model_of("relu"))(torch.tensor([[4, 5], [0, 0]]), mask)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_projection_is_a_product(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(24, 16, dtype=dtype), torch.randn(2, 5, 16, dtype=dtype)
    project = Projection(weight)
    torch.testing.assert_close(project(x), x @ weight.T, atol=1e-5 if dtype != torch.bfloat16 else 5e-2, rtol=1e-5)
    assert project(x[:, :0]).shape == (2, 0, 24)
    assert project.n_out == 24
