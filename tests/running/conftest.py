"""Makes `shared_stages` importable here as it is in the child processes of these tests, and `tiny_models` of the tests of texts."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "nn" / "text"))
