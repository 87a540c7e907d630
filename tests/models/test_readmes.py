"""The README of a model opens with its files in reading order; files of one role have one name in every model."""

import re
from pathlib import Path

import pytest

ROLES = ["card.toml", "config.py", "data.py", "network.py", "recommender.py"]
FOLDERS = sorted(card.parent for card in (Path(__file__).parents[2] / "models").glob("*/card.toml"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_readme_opens_with_all_files_in_reading_order(folder: Path) -> None:
    opening = re.match(
        r"# \S+\n\nRead the files in this order:\n\n\| file \| role \|\n\| --- \| --- \|\n((?:\|.*\|\n)+)\n",
        (folder / "README.md").read_text("utf-8"),
    )
    assert opening is not None, "the table of files is not where a reader looks first"
    listed = re.findall(r"^\| `(\S+)` \| \S.* \|$", opening[1], re.MULTILINE)
    there = {file.name for file in folder.iterdir() if file.is_file()} - {"README.md", "__init__.py"}
    assert sorted(listed) == sorted(there)
    roles = [name for name in listed if name in ROLES]
    assert roles == [name for name in ROLES if name in there]
    assert {"card.toml", "config.py", "recommender.py"} <= there
