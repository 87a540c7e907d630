"""Small files that others may read while they are written."""

from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Write a file in one step: whoever reads it sees the old or the new text."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
