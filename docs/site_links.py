"""Links of these pages to files outside this folder: on the site they lead to the repository.

The pages are read in the repository too, where `../leaderboards/index.md` is a link like any other. `changelog.md` is the
repository's own file, whose links begin at the root.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(#[^)\s]*)?(?=\))")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Called by MkDocs for each page: its text, with links that leave the folder made whole."""

    folder = "docs"
    if page.file.src_uri == "changelog.md":
        folder, markdown = "", Path(config.config_file_path).with_name("CHANGELOG.md").read_text("utf-8")

    def whole(link: re.Match[str]) -> str:
        place = posixpath.normpath(posixpath.join(folder, link[1]))
        if place.startswith("docs/") and files.get_file_from_path(place.removeprefix("docs/")) is not None:
            return place.removeprefix("docs/") + (link[2] or "")
        return f"{config.repo_url.rstrip('/')}/blob/main/{place}{link[2] or ''}"

    return _LINK.sub(whole, markdown)
