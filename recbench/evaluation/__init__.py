"""Rankings to ranks to figures: metrics, slices, intervals, significance. No torch, no pandas."""

from typing import TYPE_CHECKING

from recbench.core.on_demand import on_demand

if TYPE_CHECKING:
    from recbench.core.codes_file import CODES_FILE, CodeTable
    from recbench.evaluation.code_levels import CodePlaces, code_groups, collision_figures, level_figures, places_in_lists
    from recbench.evaluation.code_statistics import code_figures, main_categories, read_codes
    from recbench.evaluation.consistency import contradictions
    from recbench.evaluation.contests import (
        Contests,
        CriticalDifference,
        agreement,
        bradley_terry,
        critical_difference,
        drawn_difference,
        drawn_means,
        groups_within,
    )
    from recbench.evaluation.domination import SPACES_FILE, Spaces, domination_figures, read_spaces
    from recbench.evaluation.exposure import TOP, Exposure, beyond_accuracy, exposure_counts
    from recbench.evaluation.facts import TargetFacts, target_facts, targets_part
    from recbench.evaluation.figures import Evaluation, Evaluator, evaluate
    from recbench.evaluation.measures import Measures
    from recbench.evaluation.metrics import METRICS, Metric
    from recbench.evaluation.optimum import best_lists, expected_values
    from recbench.evaluation.rank_table import MISS, RankTable, check_rankings, ranks_of_targets
    from recbench.evaluation.relations import RELATIONS, target_relations
    from recbench.evaluation.shortcuts import (
        BesideChance,
        NextItemEntropy,
        ShortcutCard,
        dealt_anew,
        drift,
        late_drift,
        next_item_entropy,
        shortcut_card,
    )
    from recbench.evaluation.significance import (
        PairedComparison,
        Tested,
        by_mean,
        compare_with_best,
        comparisons,
        exact_mean,
        holm,
        mean_interval,
        minimum_detectable_difference,
        paired_bootstrap,
        paired_tests,
        sign_flip_test,
        two_level_bootstrap,
    )
    from recbench.evaluation.slices import Group, groups_by_fact, groups_by_kind, groups_by_size
    from recbench.evaluation.tables import (
        content_name,
        fault_of_numbers,
        read_exposure,
        read_items,
        read_ranks,
        read_targets,
        write_exposure,
        write_items,
        write_ranks,
        write_targets,
    )
    from recbench.evaluation.ties import expected_hit, expected_mrr, expected_ndcg, list_diagnostics, tie_sensitivity
    from recbench.evaluation.user_values import per_user, values_of_view, values_per_user
else:
    __getattr__ = on_demand(__name__)

__all__ = [
    "CODES_FILE",
    "METRICS",
    "MISS",
    "RELATIONS",
    "SPACES_FILE",
    "TOP",
    "BesideChance",
    "CodePlaces",
    "CodeTable",
    "Contests",
    "CriticalDifference",
    "Evaluation",
    "Evaluator",
    "Exposure",
    "Group",
    "Measures",
    "Metric",
    "NextItemEntropy",
    "PairedComparison",
    "RankTable",
    "ShortcutCard",
    "Spaces",
    "TargetFacts",
    "Tested",
    "agreement",
    "best_lists",
    "beyond_accuracy",
    "bradley_terry",
    "by_mean",
    "check_rankings",
    "code_figures",
    "code_groups",
    "collision_figures",
    "compare_with_best",
    "comparisons",
    "content_name",
    "contradictions",
    "critical_difference",
    "dealt_anew",
    "domination_figures",
    "drawn_difference",
    "drawn_means",
    "drift",
    "evaluate",
    "exact_mean",
    "expected_hit",
    "expected_mrr",
    "expected_ndcg",
    "expected_values",
    "exposure_counts",
    "fault_of_numbers",
    "groups_by_fact",
    "groups_by_kind",
    "groups_by_size",
    "groups_within",
    "holm",
    "late_drift",
    "level_figures",
    "list_diagnostics",
    "main_categories",
    "mean_interval",
    "minimum_detectable_difference",
    "next_item_entropy",
    "paired_bootstrap",
    "paired_tests",
    "per_user",
    "places_in_lists",
    "ranks_of_targets",
    "read_codes",
    "read_exposure",
    "read_items",
    "read_ranks",
    "read_spaces",
    "read_targets",
    "shortcut_card",
    "sign_flip_test",
    "target_facts",
    "target_relations",
    "targets_part",
    "tie_sensitivity",
    "two_level_bootstrap",
    "values_of_view",
    "values_per_user",
    "write_exposure",
    "write_items",
    "write_ranks",
    "write_targets",
]
