"""Commands of recbench as sentences print them: whoever copies one into a shell gets what the sentence promises."""

import shlex
from collections.abc import Iterable
from pathlib import Path


def command_line(*words: str | Path, **options: object) -> str:
    """A shell command, quoted where a shell needs it.

    Args:
        words: behind `recbench`: the command and its arguments.
        options: by name with underscores, such as `data_dir`; left out where None, given again for each value of a list or tuple.
    """
    parts = ["recbench", *map(str, words)]
    for name, value in options.items():
        values: Iterable[object] = value if isinstance(value, list | tuple) else () if value is None else (value,)
        for one in values:
            parts += [f"--{name.replace('_', '-')}", str(one)]
    return shlex.join(parts)
