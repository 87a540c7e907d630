"""All that is learnt beside the item tower: projection, user tower, temperature, and the prediction heads."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.nn.compute import Linear
from recbench.nn.training import gathered, is_sharded
from recbench_models.hllm.bodies import body_from, user_body
from recbench_models.hllm.config import HLLMConfig
from recbench_models.hllm.objective import Temperature
from recbench_models.hllm.user_tower import UserTower

# B users, C candidates, D width


class LateHead(nn.Module):
    """A logit of a user's vector u and a candidate's e: a network of one hidden layer over [u, e, u * e].

    The paper (arXiv:2409.12740, section 3.3) does not say what its head is; this is ours. The hidden layer is kept as three matrices, so
    that the candidates' share is computed once for all users.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_user = nn.Linear(width, width)
        self.of_item = nn.Linear(width, width, bias=False)
        self.of_product = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, 1)

    def forward(self, user_BD: Tensor, item_BCD: Tensor) -> Tensor:
        """Logits (B, C) of each user with its candidates."""
        return self.of_shares(user_BD, item_BCD, self.of_item(item_BCD))

    def of_shares(self, user_BD: Tensor, item_BCD: Tensor, share_BCD: Tensor) -> Tensor:
        """The same with the candidates' share of the hidden layer already there."""
        hidden_BCD = self.of_user(user_BD)[:, None] + share_BCD + self.of_product(user_BD[:, None] * item_BCD)
        logit_BC: Tensor = self.out(functional.silu(hidden_BCD)).squeeze(-1)
        return logit_BC


class EarlyHead(nn.Module):
    """A logit of the state in which the user tower has read the candidate: a network of one hidden layer; ours, none is published."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(width, width), nn.Linear(width, 1)

    def forward(self, state_BCD: Tensor) -> Tensor:
        """Logits (B, C)."""
        logit_BC: Tensor = self.out(functional.silu(self.hidden(state_BCD))).squeeze(-1)
        return logit_BC


class UserSide(nn.Module):
    """Made with random numbers of torch's default generator.

    Args:
        config: of the model.
        item_width: of what the item tower gives.
        body: of the user tower; None: the one that the settings name.
    """

    def __init__(self, config: HLLMConfig, item_width: int, body: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.tower = UserTower(body or user_body(config, item_width), config)
        width = self.tower.width
        is_needed = width != item_width
        if config.user.projection or (config.user.projection is None and is_needed):
            self.projection: nn.Linear | None = Linear(item_width, width, bias=False)
            if not is_needed:
                nn.init.eye_(self.projection.weight)
        elif is_needed:
            raise ValueError(f"projection=false, and the item tower is {item_width} wide, the user tower {width}")
        else:
            self.projection = None
        self.temperature = Temperature(None if config.temperature == "learnt" else config.temperature)
        self.head: LateHead | EarlyHead | None = None
        self.user_token: nn.Parameter | None = None
        if config.task == "discriminative":
            self.head = LateHead(width) if config.discriminative.fusion == "late" else EarlyHead(width)
            self.user_token = nn.Parameter(torch.randn(width) * 0.02) if config.discriminative.fusion == "late" else None

    def projected(self, vectors: Tensor) -> Tensor:
        """Item vectors as the user tower reads them and states are compared with them, (..., width)."""
        return vectors if self.projection is None else self.projection(vectors)

    def logits_behind(self, vector_BTD: Tensor, slot_BC: Tensor, item_BCD: Tensor) -> Tensor:
        """Logits (B, C) of candidates, each behind one place of its user's history.

        Args:
            vector_BTD: of the histories, projected.
            slot_BC: (B, C) int64, behind which place each stands.
            item_BCD: the candidates' vectors, projected.
        """
        if isinstance(self.head, EarlyHead):
            early_BC: Tensor = self.head(self.tower.behind(vector_BTD, item_BCD, slot_BC))
            return early_BC
        assert isinstance(self.head, LateHead)
        user_BCD = self.users_behind(vector_BTD, slot_BC)
        late_BC: Tensor = self.head(user_BCD.flatten(0, 1), item_BCD.flatten(0, 1)[:, None]).view(slot_BC.shape)
        return late_BC

    def users_behind(self, vector_BTD: Tensor, slot_BC: Tensor) -> Tensor:
        """The user's vector as of some places of the history, (B, C, D): the state of the learnt vector `[USER]` behind them."""
        assert self.user_token is not None
        return self.tower.behind(vector_BTD, self.user_token.expand(*slot_BC.shape, -1), slot_BC)


def unspread(user: UserSide, config: HLLMConfig, item_width: int) -> UserSide:
    """The same with whole weights in every process, on the CPU, where they were spread over the processes; else the very same."""
    if not any(map(is_sharded, user.parameters())):
        return user
    weights = {name: gathered(tensor.detach()).cpu() for name, tensor in user.state_dict().items()}
    alone = UserSide(config, item_width, body_from(user.tower.body.config.to_dict()))
    alone.load_state_dict(weights)
    return alone.eval()
