"""Boards for a spreadsheet and for a paper."""

import csv
import io
from typing import Any

import pytest

from recbench.core.errors import BadRequest
from recbench.reporting import StoredRun, export_board, make_boards
from recbench.reporting.export import latex_escape
from recbench.reporting.grids import NOTHING, cost


def test_csv_holds_full_precision_and_the_records_behind_each_row(workshop: Any, cards: Any) -> None:
    run = workshop.run(skill=0.1)
    better = workshop.trivial(skill=0.8, list_length=10)
    (board,) = make_boards([StoredRun.open(run), StoredRun.open(better)], cards)
    first, second = csv.DictReader(io.StringIO(export_board(board, "csv")))
    record = StoredRun.open(run).record
    assert float(second["ndcg@10_keep"]) == record.metrics["keep"]["ndcg@10"].value
    assert float(second["ndcg@10_keep_low"]) == record.metrics["keep"]["ndcg@10"].low
    assert float(second["recall@5_unseen"]) == record.metrics["unseen"]["recall@5"].value
    assert (second["model"], second["preset"], second["seeds"], second["records"]) == ("sasrec", "paper", "0", run.name)
    assert second["marks"] == "paper-config; below popularity; 1 seed"
    assert (first["badge"], second["badge"]) == ("", "paper-config")
    assert first["row"] == "popularity:default, lists of 10"
    assert first["recall@20_keep"] == first["ndcg@10_keep_std"] == ""
    assert second["protocol"] == "leave-one-out, ties in the order of the source"


def test_energy_and_operations_have_columns_where_they_were_measured(workshop: Any, cards: Any) -> None:
    measured = workshop.run("a", cost={"train_energy_kwh": 0.0125, "train_flops": 3.5e12})
    plain = workshop.run("b")
    assert "train_energy_kwh" not in (plain / "record.json").read_text()
    (both,) = make_boards([StoredRun.open(run) for run in (measured, plain)], cards)
    (alone,) = make_boards([StoredRun.open(plain)], cards)
    lines = {line["model"]: line for line in csv.DictReader(io.StringIO(export_board(both, "csv")))}
    assert (lines["a"]["train_energy_kwh"], lines["a"]["train_flops"]) == ("0.0125", "3500000000000.0")
    assert (lines["b"]["train_energy_kwh"], lines["b"]["train_flops"]) == ("", "")
    assert "train_flops" not in export_board(alone, "csv")
    table = cost(both.sections[0])
    assert table.header[-2:] == ("Training Wh", "Training GFLOP")
    assert {row[0]: row[-2:] for row in table.rows} == {"a:paper": ("12.5", "3,500"), "b:paper": (NOTHING, NOTHING)}
    assert cost(alone.sections[0]).header[-1] == "Peak memory MiB"


def test_latex_is_a_booktabs_table_with_the_best_in_bold(workshop: Any) -> None:
    runs = [
        StoredRun.open(folder) for folder in (workshop.run("a_b", "50%", skill=0.9), workshop.run("c", "d", skill=0.1, views=("keep",)))
    ]
    (board,) = make_boards(runs, {})
    best = {view: runs[0].record.metrics[view] for view in ("keep", "unseen")}
    names = ("recall@5", "recall@10", "ndcg@5", "ndcg@10")
    bold = " & ".join(rf"\textbf{{{best[view][name].value:.4f}}}" for view in best for name in names)
    plain = " & ".join(f"{runs[1].record.metrics['keep'][name].value:.4f}" for name in names)
    assert export_board(board, "latex") == (
        f"% toy: leave-one-out, ties in the order of the source; test fingerprint {runs[0].record.fingerprints.test}\n"
        r"""\begin{table}
\centering
"""
        r"\caption{Toy \textbar{} shop: leave-one-out, ties in the order of the source. "
        r"Best NDCG@10 first (view \texttt{keep}); bold is the best of a column.}"
        r"""
\begin{tabular}{lrrrrrrrr}
\toprule
 & \multicolumn{4}{c}{keep} & \multicolumn{4}{c}{unseen} \\
\cmidrule(lr){2-5} \cmidrule(lr){6-9}
Model & Recall@5 & Recall@10 & NDCG@5 & NDCG@10 & Recall@5 & Recall@10 & NDCG@5 & NDCG@10 \\
\midrule
"""
        rf"a\_b:50\% & {bold} \\"
        "\n"
        rf"c:d, keep only & {plain} & -- & -- & -- & -- \\"
        "\n"
        r"""\bottomrule
\end{tabular}
\end{table}
"""
    )


def test_latex_of_several_seeds_has_the_deviation(workshop: Any) -> None:
    (board,) = make_boards([StoredRun.open(workshop.run(seed=seed)) for seed in range(2)], {})
    text = export_board(board, "latex")
    assert r" $\pm$ 0.0" in text
    assert r"of a column, $\pm$ the standard deviation over seeds.}" in text


def test_latex_special_characters() -> None:
    assert latex_escape(r"\{}&%$#_~^ –±") == (r"\textbackslash{}\{\}\&\%\$\#\_\textasciitilde{}\textasciicircum{} --$\pm$")


def test_an_unknown_format_is_refused(workshop: Any) -> None:
    (board,) = make_boards([StoredRun.open(workshop.run())], {})
    with pytest.raises(BadRequest, match="'xlsx'"):
        export_board(board, "xlsx")
