"""Every script under `benchmarks/` that has no tests of its own runs at toy size: what cannot be repeated proves nothing."""

import json
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunRequest
from recbench.running.run.execute import run_request

FOLDER = Path(__file__).parents[1] / "benchmarks"
TOY = {
    "actionpiece_vocabulary": ("--dataset demo --batches 2", r"vocabulary +\d+\.\d s +1,\d+ values"),
    "beam_search": (
        "--parts library,products --widths 4 --histories beauty --threads 1 --repeats 1 --library-users 2 --users 8 --batch 4 --batches 1",
        r"(?s)library.*GFLOP",
    ),
    "cpu_budget": ("--dataset demo --models sasrec --preset smoke --budget 2cpu-s --busy 1", r"sasrec +\d\.\d+ of the examples"),
    "ease_solver": ("--items 60", r"float64: Cholesky .* largest difference \d"),
    "evaluate": ("--users 200 --items 300 --k 10", r"all but the board +\d"),
    "full_rank": ("--items 2000 --width 16 --users 50 --k 5 --threads 1 --repeats 1", r"0 of 500 places differ"),
    "full_ranking": ("--users 50 --items 2000 --width 8 --k 5 --threads 1 --repeats 1", r"ranking, histories to lists +\d"),
    "gpu": (
        "--device cpu --preset smoke --dataset demo --steps 6 --block 2 --users 4 --repeats 1 --items 500 --rows 4 --limit 9999",
        r"(?s)^(?!.* stop ).*sasrec.*tiger +lists +bf16 .*gram.*prorec.*hllm +training +bf16 +[\d,]+ targets/s.*attention +bf16 fused +\d",
    ),
    "gram_batches": ("--dataset demo --users 24 --batch 16 --threads 1 --repeats 1 --most-batches 2", r"user-packed +\d"),
    "gram_inference": ("--dataset demo --users 8 --reference-users 2 --batches 1,4 --threads 1 --repeats 1", r"chains +\d.* yes: 0 of"),
    "hllm_items": ("--dataset demo --sequences 4 --negatives 8 --tokens 8 --length 4 --at-a-time 64", r"distinct, packed +\d"),
    "optimizer_share": (
        "--items 50 --batches 16 --negatives 4 --repeats 1",
        r"50 items, +19 targets: forward and backward +[\d.]+ ms .* AdamW +[\d.]+ ms +\d+% +\d+% of items with a gradient",
    ),
    "optimum": (
        "--world items=60,users=60,events=5 --knob text=0,0.3 --models popularity,last-item-markov --curves last-item-markov "
        "--sizes 30,60,120 --widths 4,8 --steps 10",
        r"(?s)0 of 4 runs above .*bigrams alone.*exponent: below ~ n\^\(-0\.\d+ ± .*parameters.*exponent: ",
    ),
    "overhead": ("--dataset demo --repeats 1", r"empty cache +\d"),
    "ranks": ("--dataset demo --texts 4 --ranks 1,2", r"2 processes: .* equal"),
    "read_amazon": ("--reviews 20000 --metadata 500", r"20,000 \| 500 \|"),
    "sasrec_batches": ("--dataset demo --threads 1 --batches 2 --repeats 1", r"padded, gathered +[\d,]+ targets/s"),
    "tiger_batches": ("--dataset demo --threads 1 --users 30 --repeats 1", r"row per prefix, full +[\d,]+ targets/s"),
}
"""By script: its arguments, and a pattern that its output must hold."""


@pytest.fixture
def benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[str, str], str]]:
    """Runs a script as `python benchmarks/NAME.py ARGUMENTS` does, in this process and with an empty cache; returns what it printed."""
    n_threads = torch.get_num_threads()
    for name in ("HOME", "RECBENCH_HOME", "RECBENCH_DATA"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)

    def run(name: str, arguments: str) -> str:
        script = str(FOLDER / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [script, *arguments.split()])
        runpy.run_path(script, run_name="__main__")
        return capsys.readouterr().out

    yield run
    torch.set_num_threads(n_threads)
    for name in set(sys.modules) - before:
        if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", TOY)
def test_it_runs_at_toy_size(name: str, benchmark: Callable[[str, str], str]) -> None:
    arguments, pattern = TOY[name]
    printed = benchmark(name, arguments)
    assert re.search(pattern, printed), printed


@pytest.mark.slow
def test_the_searches_of_diffgrm_are_compared(benchmark: Callable[[str, str], str]) -> None:
    outcome = run_request(RunRequest("diffgrm", "demo", preset="smoke", threads=1, budget="20steps"), Workplace.from_environment())
    assert outcome is not None
    assert "ndcg@10" in benchmark("diffgrm_decoding", f"{outcome.folder} --k 20 --widths 32 --users 20")


@pytest.mark.slow
def test_widths_of_the_search_are_compared(benchmark: Callable[[str, str], str]) -> None:
    outcome = run_request(RunRequest("tiger", "demo", preset="smoke", threads=1, budget="20steps"), Workplace.from_environment())
    assert outcome is not None
    printed = benchmark("beams", f"{outcome.folder} --widths 1,10,1000 --users 30 --exact-users 10")
    # As many beams as there are items, or more, drop nothing; ten do, in a model that learnt next to nothing.
    assert re.search(r"\| 1000 \| \d\.\d{4} \| 100% \| \d\.\d{4} \| 100% \|", printed), printed
    assert re.search(r"\| 10 \| \d\.\d{4} \| \d?\d% \|", printed), printed


@pytest.mark.slow
def test_no_part_of_the_gpu_benchmark_overstays_its_share(benchmark: Callable[[str, str], str], tmp_path: Path) -> None:
    out = tmp_path / "gpu.jsonl"
    # Less than it takes a process to import torch.
    printed = benchmark("gpu", f"--device cpu --dataset demo --parts ranking,attention --limit 0.4 --out {out}").splitlines()
    stops = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(stop["part"], stop["what"]) for stop in stops] == [("ranking", "stop"), ("attention", "stop")]
    assert all(stop["reason"] in line for stop, line in zip(stops, printed, strict=True))


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_the_gpu_benchmark_asks_for_a_gpu(benchmark: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        benchmark("gpu", "--parts ranking")
    assert stopped.value.code == 2
    assert "No CUDA device is here. Run this on a machine that has one" in capsys.readouterr().err


def test_no_script_is_left_out() -> None:
    scripts = {path.stem for path in FOLDER.glob("*.py")}
    elsewhere = {path.stem.removeprefix("test_").removesuffix("_benchmark") for path in Path(__file__).parent.rglob("test_*_benchmark.py")}
    assert scripts == {*TOY, *elsewhere, "beams", "diffgrm_decoding", "page_speed", "start_up"}
