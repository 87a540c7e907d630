"""The package itself: its version and the folder that it lies in. Imports nothing of recbench, so that every floor may read it."""

from pathlib import Path

VERSION = "0.1.0"
FOLDER = Path(__file__).resolve().parent
