"""Makes `gram_case` importable here, and `tiny_models` of the tests of texts."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "nn" / "text")]
