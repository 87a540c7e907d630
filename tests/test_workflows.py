"""What runs elsewhere, as far as it can be checked here: workflows, forms, the image, hooks, and the targets of make that they name."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def tool(name: str) -> str:
    """The path of a linter: beside this Python, or on the path of commands."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; the job `lint` of .github/workflows/checks.yml runs it")
    return found


def check(*command: str | Path) -> None:
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_have_no_fault_that_actionlint_finds() -> None:
    check(tool("actionlint"), *WORKFLOWS)


@pytest.mark.parametrize(
    ("schema", "pattern"),
    [
        ("github-workflows", ".github/workflows/*.yml"),
        ("dependabot", ".github/dependabot.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
        ("citation-file-format", "CITATION.cff"),
    ],
)
def test_files_that_the_repository_s_host_reads_follow_their_schema(schema: str, pattern: str) -> None:
    check(tool("check-jsonschema"), "--builtin-schema", f"vendor.{schema}", *ROOT.glob(pattern))


def test_the_dockerfile_has_no_fault_that_hadolint_finds() -> None:
    check(tool("hadolint"), "Dockerfile")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_names_what_is_there_and_trusts_no_tag(workflow: Path) -> None:
    text = workflow.read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= targets
    for script in re.findall(r"\bpython (\S+\.py)", text):
        assert (ROOT / script).is_file(), script
    # A tag can be moved to other code; the sum of a commit cannot.
    used = re.findall(r"uses: (\S+)", text)
    assert [action for action in used if not re.search(r"@[0-9a-f]{40}$", action)] == []
    # Events that hand secrets and a token that may write to code of strangers.
    assert not {"pull_request_target", "workflow_run"} & set(yaml.safe_load(text)[True])


def test_hooks_before_a_commit_run_tools_that_dev_installs() -> None:
    (hooks,) = (repository["hooks"] for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"])
    for hook in hooks:
        assert Path(hook["entry"].split()[0]).parent == Path(".venv/bin")
        check(tool(Path(hook["entry"].split()[0]).name), "--version")


def test_the_image_gets_all_that_the_wheel_is_built_from() -> None:
    let_in = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert let_in == {"recbench", "models", "datasets", "pyproject.toml", "README.md", "LICENSE"}
