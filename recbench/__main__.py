"""`python -m recbench`."""

import sys
from pathlib import Path

# `python -m` puts the current folder first on the path. In a checkout that would make `import datasets` find our folder
# of cards, and transformers would then believe that the Hugging Face library of that name is installed.
if sys.path and Path(sys.path[0] or ".").resolve() == Path.cwd() and not sys.flags.safe_path:
    del sys.path[0]

from recbench.cli.app import main

if __name__ == "__main__":
    main()
