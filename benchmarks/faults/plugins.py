"""Misbehaving plugins: more than a hundred kinds, each run once, with the exit code and the sentence that a user gets.

    python benchmarks/faults/plugins.py [--only TEXT]

Each kind is a well-behaved model with one statement added. A kind is as it should be where the exit code is not 0 and the sentence names
the model and the method, or, for a kind that should change nothing, where stdout is one JSON document with the figures of the
well-behaved model. In both cases no traceback is shown, no half-written folder stays and the process is as it was before. Kinds that end
or hang the process run in a child; the others run in this one.
"""

import argparse
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

NAME = "wayward"
_CARD = f"""
name = "{NAME}"
title = "A model with one fault"
summary = "Popularity"
family = "scoring"
[presets.default]
[default]
cpu = "default"
cuda = "default"
"""
_SOURCE = '''
import ctypes, logging, os, signal, sys, threading, time, warnings
from pathlib import Path
import numpy as np
from recbench.core import BadRequest, CurvePoint, FitReport, Parameters, Plugin, PluginConfig, Rankings

class Weird(BaseException):
    pass

class Unreadable(Exception):
    def __str__(self):
        raise RuntimeError("no text")

class Leaving(Exception):
    def __str__(self):
        sys.exit(0)

class LeavingNumber(int):
    def __int__(self):
        sys.exit(0)

class LeavingMapping(dict):
    def items(self):
        sys.exit(0)

class Liar(np.ndarray):
    def __lt__(self, other):
        return np.zeros(self.shape, bool)

def deeper(n):
    return deeper(n + 1)

def in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

def fail():
    raise ValueError("lost work")

class Config(PluginConfig):
    """None."""

class Model:
    def __init__(self, config, catalogue):
        @build@
        self.n_items = catalogue.n_items
        self.count = np.zeros(self.n_items, np.float32)

    def fit(self, context):
        @fit@
        self.count = context.train.item_counts().astype(np.float32)
        report = FitReport(steps=1, parameters=Parameters(total=self.n_items))
        @report@
        return report

    def generate(self, queries, k):
        @generate@
        items = np.full((len(queries.views), len(queries), k), -1, np.int32)
        best = np.argsort(-self.count, kind="stable").astype(np.int32)
        for row in range(len(queries)):
            fresh = best[~np.isin(best, queries.histories[row])]
            for v, view in enumerate(queries.views):
                listed = (best if view == "keep" else fresh)[:k]
                items[v, row, : len(listed)] = listed
        scores = np.where(items < 0, -np.inf, self.count[items]).astype(np.float32)
        views, counters = queries.views, {}
        @rankings@
        return Rankings(views, items, scores, counters)

    def save(self, folder):
        @save@
        np.save(folder / "count.npy", self.count)

    def load(self, folder):
        @load@
        self.count = np.load(folder / "count.npy")

def build(config, catalogue):
    model = Model(config, catalogue)
    @built@
    return model

@import@
PLUGIN = Plugin.from_folder(__file__, Config, build)
'''
_SLOTS = ("build", "fit", "report", "generate", "rankings", "save", "load", "built", "import")
_METHOD_OF_SLOT = {"report": "fit", "rankings": "generate", "built": "build"}
_LEFT_BEHIND = (".writing", ".building", ".part")


@dataclass(frozen=True)
class Kind:
    """One way to misbehave.

    Attributes:
        slot: where the statement stands, see the source above.
        what: the fault in words.
        statement: one line of Python.
        is_harmless: the run must end well, with the figures of the model without the statement.
        ends_process: it must run in a child.
        options: further words of the command line.
        word: stands in the sentence instead of the method's name.
    """

    slot: str
    what: str
    statement: str
    is_harmless: bool = False
    ends_process: bool = False
    options: tuple[str, ...] = ()
    word: str = ""

    @property
    def method(self) -> str:
        """The method that the sentence must name."""
        return self.word or _METHOD_OF_SLOT.get(self.slot, self.slot)

    def __str__(self) -> str:
        return f"{self.slot}: {self.what}"


@dataclass(frozen=True)
class Outcome:
    """What a run of one kind gave; `wrong` says what is not as it should be."""

    code: int
    sentence: str
    wrong: str


_BREAKS = (
    ("raises ValueError", "raise ValueError('no luck')"),
    ("calls sys.exit(0)", "sys.exit(0)"),
    ("raises KeyboardInterrupt", "raise KeyboardInterrupt"),
    ("recurses for ever", "deeper(0)"),
    ("raises a BaseException", "raise Weird('odd')"),
    ("raises an error whose text raises", "raise Unreadable"),
    ("raises an error whose text calls sys.exit(0)", "raise Leaving"),
    ("raises an error class of recbench", "raise BadRequest('nope')"),
    ("raises an error of many lines and escapes", r"raise ValueError('one\ntwo\x1b[31m' * 5000)"),
    ("starts a thread that fails", "in_a_thread(fail)"),
)
_LIBERTIES = (
    ("prints", "print('{', 'a plugin talks')"),
    ("prints through a stream it kept", "print('{', file=sys.__stdout__ if sys.__stdout__.fileno() == 1 else sys.stdout)"),
    ("writes to file 1", "os.write(1, b'{')"),
    ("prints from C", "ctypes.CDLL(None).puts(b'{')"),
    ("closes stdout", "sys.stdout.close()"),
    ("closes files 1 and 2", "os.close(1); os.close(2)"),
    ("changes the working folder", "os.chdir('/')"),
    ("takes Ctrl-C over", "signal.signal(signal.SIGINT, signal.SIG_IGN)"),
    ("sets a timer", "signal.setitimer(signal.ITIMER_REAL, 3600)"),
    ("sets a timer of processor time", "signal.setitimer(signal.ITIMER_VIRTUAL, 0.4)"),
    ("empties the places of modules", "sys.path.clear(); sys.meta_path.clear()"),
    ("makes numpy raise", "np.seterr(all='raise')"),
    ("makes torch double", "import torch; torch.set_default_dtype(torch.float64)"),
    ("switches gradients off", "import torch; torch.set_grad_enabled(False)"),
    ("silences warnings", "warnings.simplefilter('ignore')"),
    ("makes warnings errors", "warnings.simplefilter('error')"),
    ("silences logs", "logging.disable(logging.CRITICAL)"),
    ("lowers the recursion limit", "sys.setrecursionlimit(200)"),
    ("masks file modes", "os.umask(0o777) if '@slot@' not in ('save',) else None"),
    ("replaces the hooks for errors", "sys.excepthook = threading.excepthook = None"),
)
_REPORTS = (
    ("returns None", "report = None"),
    ("returns a dict", "report = {'steps': 1}"),
    ("negative steps", "report.steps = -1"),
    ("steps that are no whole number", "report.steps = 1.5"),
    ("steps that are text", "report.steps = 'many'"),
    ("epochs that are NaN", "report.epochs = float('nan')"),
    ("examples that are True", "report.examples_seen = True"),
    ("parameters that are a number", "report.parameters = 7"),
    ("negative parameters", "report.parameters.trainable = -3"),
    ("a curve of tuples", "report.curve = [(1, 2)]"),
    ("a curve whose loss is infinite", "report.curve = [CurvePoint(1, 0.1, 0.1, loss=float('inf'))]"),
    ("a chosen value that is NaN", "report.chosen = {'lambda': float('nan')}"),
    ("a chosen value that is a list", "report.chosen = {'lambda': [1]}"),
    ("stopped by None", "report.stopped_by = None"),
    ("resumed at a text", "report.resumed_at = 'start'"),
    ("an artefact that is text", "report.artefacts = {'codes': '/etc/hostname'}"),
    ("an artefact outside the cache", "report.artefacts = {'codes': Path('/etc/passwd')}"),
    ("an artefact that is not there", "report.artefacts = {'codes': context.checkpoints / 'none.npy'}"),
    ("an artefact whose name leaves the folder", "report.artefacts = {'../codes': context.checkpoints}"),
    ("steps of 400 digits", "report.steps = 10**400"),
    ("a number that calls sys.exit(0) when it is read", "report.steps = LeavingNumber(3)"),
    ("a mapping that calls sys.exit(0) when it is read", "report.chosen = LeavingMapping()"),
    ("a chosen text that cannot be encoded", r"report.chosen = {'a': '\ud800'}"),
    ("a field whose repr raises", "report.steps = type('X', (), {'__repr__': lambda self: fail()})()"),
)
_ANSWERS = (
    ("returns None", "return None"),
    ("returns a tuple", "return items, scores"),
    ("returns a list", "return items.tolist()"),
    ("lists instead of arrays", "items, scores = items.tolist(), scores.tolist()"),
    ("a torch tensor", "import torch; items = torch.from_numpy(items)"),
    ("items of int64", "items = items.astype(np.int64)"),
    ("scores of float64", "scores = scores.astype(np.float64)"),
    ("scores of an object type", "scores = scores.astype(object)"),
    ("one view too few", "views, items, scores = views[:1], items[:1], scores[:1]"),
    ("an unknown view", "views = ('keep', 'seen')"),
    ("a view twice", "views = ('keep', 'keep')"),
    ("views that are None", "views = None"),
    ("views that are numbers", "views = (0, 1)"),
    ("a query too few", "items, scores = items[:, 1:], scores[:, 1:]"),
    ("lists too short", "items, scores = items[:, :, :3], scores[:, :, :3]"),
    ("an axis too few", "items = items[0]"),
    ("an item row beyond the catalogue", "items[0, 7, 2] = self.n_items"),
    ("an item row below -1", "items[0, 7, 2] = -5"),
    ("an item twice", "items[0, 7, 2] = items[0, 7, 1]"),
    ("a gap in the list", "items[0, 7, 2], scores[0, 7, 2] = -1, -np.inf"),
    ("a score that is NaN", "scores[0, 7, 2] = np.nan"),
    ("a score that is infinite", "scores[0, 7, 0] = np.inf"),
    ("rising scores", "scores[0, 7, 2] = scores[0, 7, 1] + 1"),
    ("equal scores in an order of its own", "scores[:] = 0; items = items[:, :, ::-1].copy()"),
    ("an item of the history in unseen", "items[1, 7, 0] = queries.histories[7][0]"),
    ("counters that are a list", "counters = ['sequences']"),
    ("a counter that is text", "counters = {'sequences': 'many'}"),
    ("a negative counter", "counters = {'sequences': -1}"),
    ("a counter of 400 digits", "counters = {'sequences': 10**400}"),
    ("a counter whose name cannot be printed", r"counters = {'a\x1b[2J': 1}"),
    ("counters that call sys.exit(0) when they are read", "counters = LeavingMapping()"),
    ("masked items", "items = np.ma.masked_array(items, mask=False)"),
)
_MEDDLING = (
    Kind("generate", "writes into the histories", "queries.histories.item[:] = 0"),
    Kind("generate", "unlocks and writes into the histories", "h = queries.histories.item; h.setflags(write=True); h[:] = 0"),
    Kind("generate", "writes into user_ids", "queries.user_ids[:] = 'somebody'"),
    Kind("generate", "asks for one view only", "object.__setattr__(queries, 'views', ('keep',))"),
    Kind("rankings", "empties the queries when it has answered", "object.__setattr__(queries, 'user_ids', None)", is_harmless=True),
    Kind(
        "rankings", "returns the views in another order", "views, items, scores = views[::-1], items[::-1], scores[::-1]", is_harmless=True
    ),
    Kind("rankings", "returns an array that lies", "items = items.view(Liar)", is_harmless=True),
    Kind("rankings", "returns read-only arrays", "items.setflags(write=False); scores.setflags(write=False)", is_harmless=True),
    Kind("rankings", "reuses its array for all calls", "self.kept = items; counters = {'sequences': np.int64(3)}", is_harmless=True),
    Kind("fit", "writes into the train part", "context.train.item[:] = 0"),
    Kind("fit", "unlocks the train part", "context.train.item.setflags(write=True)"),
    Kind("fit", "writes into the item ids", "context.items.item_ids[:] = 'x'"),
    Kind("fit", "unlocks and writes into the item ids", "i = context.items.item_ids; i.setflags(write=True); i[:] = 'x'", is_harmless=True),
    Kind("fit", "replaces the item ids", "object.__setattr__(context.items, 'item_ids', None)", is_harmless=True),
    Kind("fit", "replaces the train items", "object.__setattr__(context.train, 'item', None)", is_harmless=True),
    Kind("fit", "empties the item columns", "context.items.columns.clear()"),
    Kind("fit", "imports a file by a computed name", "sys.path.insert(0, str(Path(__file__).parents[1])); __import__('bey' + 'ond')"),
    Kind("save", "leaves a link", "(folder / 'link').symlink_to('/etc')"),
    Kind("save", "leaves a file with a backslash in its name", r"(folder / 'a\\b').write_text('')"),
    Kind("save", "leaves a file with a line feed in its name", r"(folder / 'a\nb').write_text('')"),
    Kind("save", "leaves a file whose name is no UTF-8", r"(folder / os.fsdecode(b'\xff')).write_text('')"),
    Kind("save", "leaves a pipe", "os.mkfifo(folder / 'pipe')"),
    Kind("save", "leaves a file open", "self.late = (folder / 'late').open('wb'); self.late.write(b'x')"),
    Kind("built", "returns None", "return None"),
    Kind("built", "returns a model without load", "return type('Half', (), {'fit': fail, 'generate': fail, 'save': fail})()"),
    Kind("built", "returns a model whose save is no method", "model.save = 3"),
    Kind("import", "leaves PLUGIN out", "sys.exit('done')"),
    Kind("import", "cannot be parsed", "def :", word="SyntaxError"),
    Kind("import", "needs a library nobody has", "import nobody_has_this", word="nobody_has_this"),
)
_ENDS = (
    *(Kind(slot, "calls os._exit(0)", "os._exit(0)", ends_process=True) for slot in ("import", "build", "fit", "generate", "save", "load")),
    Kind("fit", "crashes in native code", "ctypes.string_at(0)", ends_process=True),
    Kind("fit", "is killed", "os.kill(os.getpid(), signal.SIGKILL)", ends_process=True),
    Kind("generate", "aborts", "os.abort()", ends_process=True),
    Kind("fit", "leaves in a child of its own", "os.fork() or os._exit(0); os.wait()", is_harmless=True, ends_process=True),
    Kind("fit", "leaves a thread that never ends", "threading.Thread(target=time.sleep, args=[3600]).start()", True, True),
    Kind("fit", "changes the exit code at the end", "import atexit; atexit.register(os._exit, 7)", True, True),
    Kind("fit", "prints at exit", "import atexit; atexit.register(print, 'bye')", True, True),
    Kind("fit", "asks a question", "input('Trust it? [y/N]')", ends_process=True),
    Kind("fit", "closes all files", "os.closerange(3, 256)", ends_process=True),
    Kind("generate", "closes all files", "os.closerange(3, 256)", ends_process=True),
    Kind("fit", "sleeps for ever", "time.sleep(3600)", False, True, ("--budget", "1s")),
    Kind("generate", "computes for ever", "exec('while True: pass')", False, True, ("--budget", "1s")),
    Kind(
        "fit",
        "computes for ever and swallows all",
        "exec('while 1:\\n try:\\n  time.sleep(1)\\n except BaseException: pass')",
        False,
        True,
        ("--budget", "1s"),
    ),
)
KINDS = (
    *(Kind(slot, what, code) for slot in ("import", "build", "fit", "generate", "save", "load") for what, code in _BREAKS),
    *(
        Kind(slot, what, code.replace("@slot@", slot), is_harmless=True)
        for slot in ("fit", "generate", "save")
        for what, code in _LIBERTIES
    ),
    *(Kind("report", what, code) for what, code in _REPORTS),
    *(Kind("rankings", what, code) for what, code in _ANSWERS),
    *_MEDDLING,
    *_ENDS,
)


def write_plugin(folder: Path, kind: Kind | None) -> Path:
    """The folder of the well-behaved model, with the statement of one kind in it."""
    folder.mkdir(parents=True)
    text = _SOURCE
    for slot in _SLOTS:
        text = text.replace(f"@{slot}@", kind.statement if kind is not None and kind.slot == slot else "pass")
    (folder / "card.toml").write_text(_CARD, encoding="utf-8")
    (folder / "__init__.py").write_text(text, encoding="utf-8")
    (folder.parent / "beyond.py").write_text("", encoding="utf-8")
    return folder


def process_state() -> dict[str, Any]:
    """What a plugin may not change about the process."""
    torch = sys.modules.get("torch")
    return {
        "folder": str(Path.cwd()),
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)],
        "timer": signal.getitimer(signal.ITIMER_REAL)[0] > 1000,  # tests have a timer of their own
        "numpy": np.geterr(),
        "torch": None if torch is None else (str(torch.get_default_dtype()), torch.is_grad_enabled()),
        "warnings": list(warnings.filters),
        "logging": logging.root.manager.disable,
        "recursion": sys.getrecursionlimit(),
        "streams": (sys.stdout.closed, sys.stderr.closed),
        "hooks": sys.excepthook,
    }


def command(kind: Kind | None, folder: Path) -> list[str]:
    """The words after `recbench`."""
    more = () if kind is None else kind.options
    return ["run", "--model", NAME, "--plugin", str(folder), "--dataset", "demo", "--threads", "1", "--json", *more]


def give(words: list[str], in_child: bool) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    if in_child:
        done = subprocess.run([sys.executable, "-P", "-m", "recbench", *words], capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, done.stdout, done.stderr
    from typer.testing import CliRunner

    from recbench.cli.app import app

    answer = CliRunner().invoke(app, words, prog_name="recbench")
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        return answer.exit_code, answer.stdout, f"{answer.stderr}\nTraceback: {answer.exception!r}"
    return answer.exit_code, answer.stdout, answer.stderr


def try_kind(kind: Kind, folder: Path, figures: Any) -> Outcome:
    """Run one kind in a folder of its own and judge what came of it; `figures` are those of the well-behaved model."""
    plugin = write_plugin(folder / "plugins" / NAME, kind)
    before = process_state()
    with working_in(folder):
        code, out, err = give(command(kind, plugin), kind.ends_process)
    after = process_state()
    for name, value in before.items():
        if after[name] != value and not (name == "torch" and value is None):
            return Outcome(code, err, f"the process has other {name}: {after[name]}")
    sentence = err.strip().splitlines()[-1] if err.strip() else ""
    roots = [folder, Path(os.environ["RECBENCH_HOME"])]
    left = [path.name for root in roots for path in root.rglob(".*") if path.name.startswith(_LEFT_BEHIND)]
    if left:
        return Outcome(code, sentence, f"left behind: {left}")
    if "Traceback" in err:
        return Outcome(code, sentence, "a traceback")
    if not kind.is_harmless:
        return Outcome(code, sentence, _fault_of_refusal(kind, code, out, sentence, folder))
    if code != 0:
        return Outcome(code, sentence, "should have ended well")
    try:
        found = json.loads(out)["record"]["metrics"]
    except ValueError:
        return Outcome(code, sentence, f"stdout is not one JSON document: {out[:60]!r}")
    return Outcome(code, "the same figures", "" if found == figures else "other figures")


def _fault_of_refusal(kind: Kind, code: int, out: str, sentence: str, folder: Path) -> str:
    if code != 1:
        return f"exit code {code} instead of 1"
    if out:
        return f"something on stdout: {out[:60]!r}"
    missing = [word for word in (NAME, kind.method) if word not in sentence]
    if missing:
        return f"the sentence lacks {missing}"
    if "This is a fault of recbench" in sentence or not sentence.startswith("Error: ") or len(sentence) > 1000:
        return "no sentence"
    # Modules are imported, and a first model is built, before there is a run that could fail.
    is_before_run = kind.slot == "import" or (kind.slot == "build" and kind.ends_process)
    if not is_before_run and not list(folder.glob("runs/*/failure.json")):
        return "no failure.json"
    return ""


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Stand in a folder, and come back."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def good_figures(folder: Path) -> Any:
    """The metrics of the model without any fault."""
    plugin = write_plugin(folder / "plugins" / NAME, None)
    with working_in(folder):
        code, out, err = give(command(None, plugin), in_child=False)
    if code != 0:
        raise RuntimeError(f"the well-behaved model fails: {err}")
    return json.loads(out)["record"]["metrics"]


def main() -> int:
    """Print the table; exit code 1 where a kind is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", default="", help="kinds with this text in their name")
    options = parser.parse_args()
    n_wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        os.environ["RECBENCH_HOME"] = str(root / "home")
        (root / "good").mkdir()
        figures = good_figures(root / "good")
        chosen = [kind for kind in KINDS if options.only in str(kind)]
        print(f"{'kind':70} exit  sentence")
        for number, kind in enumerate(chosen):
            folder = root / str(number)
            folder.mkdir()
            outcome = try_kind(kind, folder, figures)
            n_wrong += bool(outcome.wrong)
            mark = f"WRONG ({outcome.wrong}) " if outcome.wrong else ""
            text = outcome.sentence.replace(str(root), "TMP")
            print(f"{kind!s:70} {outcome.code:4}  {mark}{text[:300]}", flush=True)
    print(f"{len(chosen)} kinds, {n_wrong} not as they should be")
    return int(n_wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
