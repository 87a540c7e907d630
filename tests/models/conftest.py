"""Makes `next_item_case` importable here."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
