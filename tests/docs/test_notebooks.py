"""The notebooks carried out, each in a folder of its own; in the repository they hold no outputs."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.docs.pages import ROOT

NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))}
SHOWS: dict[str, tuple[str, ...]] = {
    "1-first-run": ("sasrec:smoke (ce) on demo", "above", "new: False - same record: True", "item-0"),
    "2-compare-and-plot": ("8 cells, 0 failed; 4 rows on demo", "all done", "p_holm", "users_per_s"),
    "3-own-data": ("It may be called 'customerId' here", "user_id (called customerId)", "seen pair", "temporal"),
    "4-own-model": ("settings tried: 6", "ahead:default, tuned-6", "True"),
    "5-codes-and-failures": ("of the items share their code; the record says", "seen pair, reversed", "history: "),
    "6-ranks-to-a-paper-table": ("as in the record", "| --- |", "\\textbf{", "$^{***}$"),
}
"""What the outputs of each hold, among other things."""


@pytest.fixture
def carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a notebook by its name and gives its outputs; a cell that raises is a failure of the test."""
    monkeypatch.delenv("RECBENCH_DATA", raising=False)
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(name: str) -> list[Any]:
        notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
        NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
        return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]

    return run


def test_every_notebook_has_a_line_on_the_page_and_a_test() -> None:
    page = (ROOT / "docs" / "notebooks.md").read_text("utf-8")
    assert re.findall(r"\]\(notebooks/(\S+)\.ipynb\)", page) == list(NOTEBOOKS) == list(SHOWS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_shows_what_it_says(name: str, carried_out: Any) -> None:
    outputs = carried_out(name)
    # A kernel hands on what is printed in pieces of its own choice.
    shown = "".join(output.get("text", "") or f"\n{output.get('data', {}).get('text/plain', '')}\n" for output in outputs)
    for wanted in SHOWS[name]:
        assert wanted in shown, f"{wanted!r} is not in\n{shown}"
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    tables = [output for output in outputs if output.get("data", {}).get("text/html", "").count("<tr") > 2]
    assert pictures
    assert tables
    assert not [output for output in outputs if output.get("name") == "stderr"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_kept_without_outputs_and_places(name: str) -> None:
    text = NOTEBOOKS[name].read_text("utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
            assert cell.source.count("plt.show()") <= cell.source.count("set_xlabel("), f"axes without a label:\n{cell.source}"
    assert not re.search(r"/(home|root|work|Users|tmp)/", text)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
