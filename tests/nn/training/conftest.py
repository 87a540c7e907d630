"""Makes `training_case` importable here as it is in the child processes of these tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
