"""The encoder-decoder over codes: the library's numbers, packing, padding, sizes."""

import numpy as np
import pytest
import torch
from torch import Tensor

from recbench.nn.blocks.seq2seq.examples import user_numbers
from recbench.nn.blocks.seq2seq.model import EMPTY_HISTORY, FIRST_CODE, PADDED_SLOT, START, CodeSeq2Seq
from recbench.nn.blocks.seq2seq.settings import Seq2SeqSettings

N_ITEMS, N_CODES = 30, 40


def network_of(**changes: object) -> CodeSeq2Seq:
    sizes = {"width": 32, "n_heads": 2, "head_width": 8, "hidden": 64, "n_encoder_layers": 2, "n_decoder_layers": 2}
    torch.manual_seed(0)
    token_IL = torch.randint(FIRST_CODE, FIRST_CODE + N_CODES, (N_ITEMS, 4))
    return CodeSeq2Seq(Seq2SeqSettings.model_validate(sizes | changes), token_IL, N_CODES).eval()


def histories(*lists: list[int]) -> Tensor:
    longest = max(map(len, lists))
    return torch.tensor([row + [PADDED_SLOT] * (longest - len(row)) for row in lists])


def loss_of(network: CodeSeq2Seq, item: Tensor, user: Tensor | None, target: list[list[int]], slot: list[list[int]]) -> float:
    with torch.no_grad():
        loss, n_targets = network.loss(item, user, torch.tensor(target), torch.tensor(slot))
    assert n_targets == sum(item >= 0 for row in target for item in row)
    return float(loss)


@pytest.mark.parametrize("n_user_tokens", [0, 7])
def test_full_attention_is_the_librarys_forward_pass(n_user_tokens: int) -> None:
    network = network_of(user_tokens=n_user_tokens)
    item = histories([1, 2, 3, 4, 5], [6, 7, 8], [9])
    user = torch.tensor([1, 2, 3]) if n_user_tokens else None
    target = torch.tensor([4, 5, 6])
    token = network.item_tokens[item].flatten(1)
    if user is not None:
        token = torch.cat([FIRST_CODE + N_CODES + user[:, None], token], 1)
    written = network.item_tokens[target]
    read = torch.cat([torch.full((3, 1), START), written[:, :-1]], 1)
    with torch.no_grad():
        logit = network.t5(input_ids=token, attention_mask=(token != 0).long(), decoder_input_ids=read).logits
    expected = -float(torch.log_softmax(logit, -1).gather(2, written[..., None]).sum())
    assert loss_of(network, item, user, target[:, None].tolist(), [[4], [2], [0]]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("n_user_tokens", [0, 7])
def test_one_causal_pass_serves_every_prefix(n_user_tokens: int) -> None:
    network = network_of(user_tokens=n_user_tokens, encoder_attention="causal")
    items, targets = [1, 2, 3, 4, 5], [2, 3, 4, 5, 6]
    user = torch.tensor([3]) if n_user_tokens else None
    alone = [loss_of(network, histories(items[: n + 1]), user, [[targets[n]]], [[n]]) for n in range(5)]
    assert loss_of(network, histories(items), user, [targets], [list(range(5))]) == pytest.approx(sum(alone), abs=1e-4)
    # Some of the targets only, as a window of a long user trains them.
    assert loss_of(network, histories(items), user, [targets[2:]], [[2, 3, 4]]) == pytest.approx(sum(alone[2:]), abs=1e-4)


def test_gradients_of_a_packed_pass_are_those_of_single_passes() -> None:
    network = network_of(encoder_attention="causal", dropout=0.0, attention_dropout=0.0).train()
    items, targets = [1, 2, 3, 4], [2, 3, 4, 5]
    network.loss(histories(items), None, torch.tensor([targets]), torch.arange(4)[None])[0].backward()
    packed = {name: p.grad.clone() for name, p in network.named_parameters()}
    network.zero_grad()
    for n in range(4):
        network.loss(histories(items[: n + 1]), None, torch.tensor([[targets[n]]]), torch.tensor([[n]]))[0].backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, packed[name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("attention", ["full", "causal"])
def test_padding_and_company_change_nothing(attention: str) -> None:
    network = network_of(encoder_attention=attention)
    short, long = [6, 7, 8], list(range(12))
    alone = loss_of(network, histories(short), None, [[5]], [[2]])
    both = loss_of(network, histories(short, long), None, [[5], [3]], [[2], [11]])
    assert both - loss_of(network, histories(long), None, [[3]], [[11]]) == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("attention", ["full", "causal"])
def test_an_empty_history_has_finite_states(attention: str) -> None:
    network = network_of(encoder_attention=attention)
    with torch.no_grad():
        memory = network.encode(torch.tensor([[EMPTY_HISTORY, PADDED_SLOT], [3, 4]]), None).state_BMD
        alone = network.encode(torch.tensor([[EMPTY_HISTORY]]), None).state_BMD
    assert torch.isfinite(memory).all()
    torch.testing.assert_close(memory[:1, :4], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("width", "expected"), [(128, 4_456_448), (384, 13_369_344)])
def test_parameter_counts_of_the_published_sizes(width: int, expected: int) -> None:
    # baselines.md, check 18: matrices of the 4 + 4 layers; relative-bias tables, norms and the token table come on top.
    network = CodeSeq2Seq(Seq2SeqSettings(width=width, user_tokens=2000), torch.full((5, 4), FIRST_CODE), 1024)
    body = sum(p.numel() for name, p in network.named_parameters() if name.endswith((".q.weight", ".k.weight", ".v.weight", ".o.weight")))
    body += sum(p.numel() for name, p in network.named_parameters() if ".DenseReluDense." in name)
    assert body == expected
    assert network.t5.shared.weight.shape == (3 + 1024 + 2000, width)


def test_training_mode_drops_out() -> None:
    network = network_of().train()
    item, target = histories([1, 2, 3]), [[4]]
    assert len({loss_of(network, item, None, target, [[2]]) for _ in range(3)}) == 3


@pytest.mark.slow
def test_compiled_parts_give_the_same_loss() -> None:
    network = network_of(encoder_attention="causal")
    arguments = histories([3, 4, 5], [7, 8]), None, [[4, 5], [8, 9]], [[0, 1], [0, 1]]
    expected = loss_of(network, *arguments)
    network.compile_parts(backend="eager")
    assert loss_of(network, *arguments) == pytest.approx(expected, abs=1e-4)


def test_user_numbers_are_the_same_everywhere() -> None:
    assert user_numbers(np.array(["A1YJEY40YUW4SE", "u", "u"], object), 2000).tolist() == [1211, 894, 894]
