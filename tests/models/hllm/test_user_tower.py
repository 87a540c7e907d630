"""The user tower looks back only, and a history has the states it has alone."""

import hllm_case as case
import numpy as np
import torch
from torch import Tensor

from recbench_models.hllm.user_tower import UserTower


def tower() -> UserTower:
    return UserTower(case.body(), case.config())


def test_a_change_reaches_later_places_only() -> None:
    user, vectors = tower(), torch.randn(1, 7, case.WIDTH)
    with torch.no_grad():
        before = user(vectors)
        for place in range(7):
            changed = vectors.clone()
            changed[0, place] += 1
            moved = (user(changed) - before).abs().amax(2)[0] > 1e-6
            assert moved.tolist() == [False] * place + [True] * (7 - place)


def left_padded(user: UserTower, vectors: Tensor, n_pads: int) -> Tensor:
    """The last state as the published code computes it: padding in front, masked, positions counted from the first pad."""
    padded = torch.cat([torch.randn(n_pads, vectors.shape[1]), vectors])[None]
    mask = torch.cat([torch.zeros(n_pads), torch.ones(len(vectors))])[None].long()
    positions = torch.arange(padded.shape[1])[None]
    return user.body(inputs_embeds=padded, attention_mask=mask, position_ids=positions, use_cache=False).last_hidden_state[0, -1]


def test_padding_on_either_side_changes_nothing() -> None:
    user, vectors = tower(), torch.randn(5, case.WIDTH)
    with torch.no_grad():
        alone = user(vectors[None])[0]
        for filler in (torch.zeros(4, case.WIDTH), torch.randn(4, case.WIDTH)):
            torch.testing.assert_close(user(torch.cat([vectors, filler])[None])[0, :5], alone, rtol=0, atol=1e-5)
        torch.testing.assert_close(left_padded(user, vectors, 4), alone[-1], rtol=0, atol=1e-5)


def test_extra_vectors_in_one_pass_are_as_if_each_stood_alone_behind_its_place() -> None:
    user = tower()
    vectors, extra = torch.randn(2, 6, case.WIDTH), torch.randn(2, 9, case.WIDTH)
    slot = torch.from_numpy(np.random.default_rng(0).integers(-1, 6, (2, 9)))
    with torch.no_grad():
        found = user.behind(vectors, extra, slot)
        for row in range(2):
            for place in range(9):
                alone = torch.cat([vectors[row, : slot[row, place] + 1], extra[row, place, None]])
                torch.testing.assert_close(found[row, place], user(alone[None])[0, -1], rtol=0, atol=1e-5)


def test_no_table_of_words_is_left() -> None:
    side = case.user_side()
    assert not [name for name, _ in side.named_parameters() if "embed" in name]
