import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import training_child

CHILD = Path(__file__).parent / "training_child.py"


def start(checkpoints: Path, weights: Path, seconds_per_step: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, str(CHILD), str(checkpoints), str(weights), str(seconds_per_step)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def send_after_fifth_checkpoint(children: dict[Path, tuple[subprocess.Popen[str], signal.Signals]]) -> None:
    """Sends each child its signal once it has written five checkpoints."""
    deadline = time.monotonic() + 90
    waiting = dict(children)
    while waiting:
        for folder, (child, number) in list(waiting.items()):
            assert child.poll() is None, child.communicate()[1]
            if (folder / "training" / "000005").exists():
                child.send_signal(number)
                del waiting[folder]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_and_interrupted_trainings_go_on_to_the_same_weights(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    killed = start(tmp_path / "killed", tmp_path / "none.safetensors", 0.1)
    stopped = start(tmp_path / "stopped", tmp_path / "none.safetensors", 0.1)
    send_after_fifth_checkpoint({tmp_path / "killed": (killed, signal.SIGKILL), tmp_path / "stopped": (stopped, signal.SIGTERM)})
    killed.communicate()
    _, log = stopped.communicate(timeout=30)
    assert stopped.returncode == 130
    assert "training was stopped by SIGTERM after step" in log
    assert "the same command goes on from there" in log
    assert not (tmp_path / "none.safetensors").exists()

    caplog.set_level("INFO")
    assert training_child.main(tmp_path / "whole", tmp_path / "whole.safetensors", 0.0) == 0
    for name in ("killed", "stopped"):
        assert training_child.main(tmp_path / name, tmp_path / f"{name}.safetensors", 0.0) == 0
        facts = json.loads((tmp_path / f"{name}.json").read_text())
        assert facts["resumed_at"] >= 5
        assert caplog.messages[-1] == f"resumed at step {facts['resumed_at']}"
        assert facts["steps"] == 40
        assert facts["calls"] == 40 - facts["resumed_at"]
        assert (tmp_path / f"{name}.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
