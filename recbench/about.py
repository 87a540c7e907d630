"""The package itself: its version, its name on the package index and the folder that it lies in.

Imports nothing of recbench, so that every floor may read it.
"""

from pathlib import Path

VERSION = "1.0.0"
DISTRIBUTION = "genrecbench"
"""What `pip install` calls it; `recbench` on the package index is another project."""
FOLDER = Path(__file__).resolve().parent
