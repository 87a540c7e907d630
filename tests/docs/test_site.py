"""The site: built from the guides without a warning, every page in its menu, nothing fetched from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-P", "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_every_guide_is_a_page_and_stands_in_the_menu(site: Path) -> None:
    menu = (site / "index.html").read_text("utf-8")
    for guide in (ROOT / "docs").glob("*.md"):
        place = "index.html" if guide.stem == "index" else f"{guide.stem}/index.html"
        assert (site / place).is_file()
        assert guide.stem == "index" or f'href="{guide.stem}/"' in menu


@pytest.mark.slow
def test_the_reference_has_the_verbs_and_what_a_model_promises(site: Path) -> None:
    page = (site / "api" / "index.html").read_text("utf-8")
    for name in ("run", "compare", "load", "Recommender", "FitContext", "Rankings", "RunRecord", "PluginContract"):
        assert re.search(rf'id="recbench\.[\w.]*\b{name}"', page), name


@pytest.mark.slow
def test_a_page_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not re.search(r'<(?:script|img|iframe)[^>]* src="(?:https?:)?//', page.read_text("utf-8")), page
        assert not re.search(r'<link[^>]* rel="(?:stylesheet|preload|preconnect)"[^>]*href="(?:https?:)?//', page.read_text("utf-8")), page
