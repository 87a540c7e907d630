"""Contracts that all floors share. No torch, no pandas."""

from typing import TYPE_CHECKING

from recbench.core.on_demand import on_demand

if TYPE_CHECKING:
    from recbench.core.budget import Budget
    from recbench.core.config import PluginConfig
    from recbench.core.errors import (
        BadConfig,
        BadData,
        BadRequest,
        DataUnavailable,
        Interrupted,
        PluginFailed,
        RecbenchError,
        SplitMismatch,
        StageFailed,
        UnknownPlugin,
        VerifyFailed,
    )
    from recbench.core.features import Features
    from recbench.core.interactions import UNKNOWN_TIME, Interactions, ItemTable, TimeKind
    from recbench.core.model_card import ModelCard
    from recbench.core.plugin import (
        Catalogue,
        CurvePoint,
        FitContext,
        FitReport,
        Movable,
        Parameters,
        Plugin,
        Ranker,
        Recommender,
        Validation,
        World,
    )
    from recbench.core.progress import ConsoleProgress, Progress, SilentProgress
    from recbench.core.ragged import Histories, Ragged, Targets
    from recbench.core.ranking import VIEWS, Queries, Rankings, View
else:
    __getattr__ = on_demand(__name__)

__all__ = [
    "UNKNOWN_TIME",
    "VIEWS",
    "BadConfig",
    "BadData",
    "BadRequest",
    "Budget",
    "Catalogue",
    "ConsoleProgress",
    "CurvePoint",
    "DataUnavailable",
    "Features",
    "FitContext",
    "FitReport",
    "Histories",
    "Interactions",
    "Interrupted",
    "ItemTable",
    "ModelCard",
    "Movable",
    "Parameters",
    "Plugin",
    "PluginConfig",
    "PluginFailed",
    "Progress",
    "Queries",
    "Ragged",
    "Ranker",
    "Rankings",
    "RecbenchError",
    "Recommender",
    "SilentProgress",
    "SplitMismatch",
    "StageFailed",
    "Targets",
    "TimeKind",
    "UnknownPlugin",
    "Validation",
    "VerifyFailed",
    "View",
    "World",
]
