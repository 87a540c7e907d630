"""A trained model leaves its machine and comes in elsewhere: as a folder, and through a hub by its real client."""

import json
import os
import pickle
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_stub import Hub, hub_on_this_machine
from huggingface_hub import ModelCard, constants

from recbench import registry
from recbench.core.config import setting_names
from recbench.core.digests import file_sha256
from recbench.core.records import RunRecord, read_record
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunRequest
from recbench.running.run.catalogue import ids_digest
from recbench.running.run.execute import run_request

ITEMS = "item-0000,item-0001"
CPU = ("--threads", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def trained(demo_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `popularity` on `demo`; tests copy it."""
    root = tmp_path_factory.mktemp("trained")
    home = shutil.copytree(demo_cache, root / "home")
    outcome = run_request(RunRequest("popularity", "demo", threads=1), Workplace(home, None, root / "runs", root / "boards"))
    assert outcome is not None
    return outcome.folder


@pytest.fixture
def shared(trained: Path, recbench: Any) -> Path:
    """The run as a folder to be taken in, its ranks with it."""
    assert recbench("export", trained, "shared", "--ranks").code == 0
    folder: Path = recbench.folder / "shared"
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine, with a token that may write there."""
    # One version of the client calls another library by an argument that this one has given up.
    warnings.filterwarnings("ignore", message="Use 'content=")
    with hub_on_this_machine() as found:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", found.address + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)  # the stub takes blobs by git-lfs alone
        monkeypatch.setenv("HF_TOKEN", found.token)
        yield found


def test_a_pulled_model_answers_as_the_one_that_was_exported(recbench: Any, demo_home: Path) -> None:
    assert recbench("run", "-m", "sasrec", "--preset", "smoke", "-d", "demo", *CPU).code == 0
    run = next((recbench.folder / "runs").iterdir())
    record = read_record(run / "record.json")
    before = recbench("recommend", "last", "--history", ITEMS, "--json").json
    assert recbench("export", "last", "out", "--license", "mit").code == 0
    shutil.rmtree(recbench.folder / "runs")
    assert "a claim until" in recbench("pull", "out").stdout
    assert recbench("recommend", "last", "--history", ITEMS, "--json").json == before
    found = recbench("evaluate", "last", *CPU, "--json").json
    assert (found["is_exact"], found["largest"], found["n_ranks_changed"]) == (True, 0, None)
    assert len(found["metrics"]) == sum(map(len, record.metrics.values()))
    card = ModelCard.load(recbench.folder / "out" / "README.md").data
    assert (card.license, card.library_name, card.model_name) == ("mit", "recbench", "sasrec:smoke (ce)")
    said = {(result.dataset_config.rpartition(" ")[2], result.metric_type): result for result in card.eval_results}
    for view, metrics in record.metrics.items():
        for name, interval in metrics.items():
            result = said.pop((view, name))
            assert result.metric_value == interval.value
            assert result.metric_args["bootstrap_interval_95"] == [interval.low, interval.high]
    assert not said


def test_a_pulled_run_is_not_taken_for_one_of_ones_own(recbench: Any, demo_home: Path, trained: Path, shared: Path) -> None:
    assert "computed again from the ranks" in recbench("pull", "shared").stdout
    assert recbench("pull", "shared", "--json").json["is_new"] is False
    assert [row["run"] for row in recbench("list", "runs", "--json").json] == [trained.name]
    recbench("export", "last", "again").refuses("was pulled", "a run of your own")
    answer = recbench("run", "-m", "popularity", "-d", "demo", *CPU)
    assert answer.code == 0
    assert "this run is finished" not in answer.stderr
    assert len(list((recbench.folder / "runs").iterdir())) == 2
    (skipped, *_) = recbench("leaderboard", "publish", "--json").json["skipped"]
    assert "somebody else trained it" in skipped["reason"]


def edited(change: Callable[[dict[str, Any], Path], None]) -> Callable[[Path], None]:
    """Changes a folder and the manifest in it; the sums of files that are there are put right, as a forger would."""

    def edit(folder: Path) -> None:
        manifest = json.loads((folder / "recbench.json").read_text())
        change(manifest, folder)
        for part in manifest["files"]:
            path = folder / part["name"]
            if path.is_file() and not part.pop("keep", False):
                part |= {"sha256": file_sha256(path), "n_bytes": path.stat().st_size}
        (folder / "recbench.json").write_text(json.dumps(manifest))

    return edit


def rename_model_file(name: str, content: bytes | None = None) -> Callable[[Path], None]:
    def change(manifest: dict[str, Any], folder: Path) -> None:
        part = next(part for part in manifest["files"] if part["name"].startswith("model/"))
        part["name"] = name
        if content is not None:
            (folder / name).write_bytes(content)
            record = json.loads((folder / "record.json").read_text())
            next(part for part in record["files"] if part["name"].startswith("model/")).update(name=name, sha256=file_sha256(folder / name))
            (folder / "record.json").write_text(resealed(record))

    return edited(change)


def in_record(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(_: dict[str, Any], folder: Path) -> None:
        record = json.loads((folder / "record.json").read_text())
        change(record)
        (folder / "record.json").write_text(resealed(record))

    return edited(edit)


def resealed(raw: dict[str, Any]) -> str:
    """The text of an edited record with the sum of its new content."""
    raw.pop("sha256", None)
    return RunRecord.model_validate(raw).to_json()


def linked(folder: Path) -> None:
    weights = folder / "model" / "model.safetensors"
    weights.rename(folder.parent / "elsewhere")
    weights.symlink_to(folder.parent / "elsewhere")


def object_array() -> bytes:
    import io

    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return stream.getvalue()


def catalogue(change: Callable[[dict[str, list[Any]]], None]) -> Callable[[Path], None]:
    """Changes columns of the catalogue, and the sum of its ids in the manifest where there still is one."""

    def edit(manifest: dict[str, Any], folder: Path) -> None:
        columns = pq.read_table(folder / "catalogue.parquet").to_pydict()
        change(columns)
        pq.write_table(pa.table(columns), folder / "catalogue.parquet")
        if all(isinstance(item_id, str) for item_id in columns["item_id"]):
            manifest["item_ids"] = ids_digest(columns["item_id"])

    return edited(edit)


def in_curve(line: str) -> Callable[[Path], None]:
    return edited(lambda _, folder: (folder / "curve.csv").write_text(f"step,loss\n{line}\n"))


HOSTILE: list[tuple[str, Callable[[Path], None], str]] = [
    ("a path outside", rename_model_file("model/../../outside.safetensors"), "no file of a shared model"),
    ("an absolute path", rename_model_file("/etc/passwd"), "no file of a shared model"),
    ("a pickle by its name", rename_model_file("model/weights.pt"), "no file of a shared model"),
    ("code", rename_model_file("model/network.py"), "no file of a shared model"),
    ("a hidden file", rename_model_file("model/.hidden.json"), "no file of a shared model"),
    ("a pickle under another name", rename_model_file("model/a.safetensors", pickle.dumps({"a": 1})), "no safetensors file"),
    ("an array of objects", rename_model_file("model/a.npy", object_array()), "no array of numbers"),
    ("no JSON", rename_model_file("model/a.json", b"{"), "no JSON"),
    ("one name twice", edited(lambda raw, _: raw["files"].append(dict(raw["files"][0], name="RECORD.json"))), "no file of a shared model"),
    ("the same name twice", edited(lambda raw, _: raw["files"].append(dict(raw["files"][0]))), "twice"),
    ("no record", edited(lambda raw, _: raw["files"].pop(0)), "no record.json"),
    ("a run's name that leads away", edited(lambda raw, _: raw.update(run_id="../runs")), "no name of a run"),
    ("unknown keys", edited(lambda raw, _: raw.update(command="rm")), "command"),
    ("a giant", edited(lambda raw, _: raw["files"][0].update(n_bytes=10**12, keep=True)), "bytes"),
    ("a missing file", lambda folder: (folder / "model" / "model.safetensors").unlink(), "is not there, or is a link"),
    ("a link", linked, "is not there, or is a link"),
    (
        "a changed file",
        lambda folder: (folder / "config.toml").write_bytes(os.urandom((folder / "config.toml").stat().st_size)),
        "its sha256",
    ),
    ("no manifest", lambda folder: (folder / "recbench.json").unlink(), "holds no recbench.json"),
    ("a giant manifest", lambda folder: (folder / "recbench.json").write_text("[" * (5 << 20)), "cannot be taken in"),
    ("deep JSON", lambda folder: (folder / "recbench.json").write_text("[" * 100_000), "not valid JSON"),
    ("a forged figure", in_record(lambda raw: raw["metrics"]["keep"]["ndcg@10"].update(value=0.99)), "ndcg@10, value is 0.99"),
    ("a setting nobody knows", in_record(lambda raw: raw["config"].update(shell="rm")), "settings that model 'popularity' does not take"),
    ("a model nobody knows", in_record(lambda raw: raw["model"].update(name="stranger")), "'stranger' is not installed here"),
    ("another record", in_record(lambda raw: raw.update(run_id="other-1")), "the record is that of other-1"),
    ("items without ids", catalogue(lambda columns: columns.update(item_id=[None] * len(columns["title"]))), "no texts"),
    ("an item without an id", catalogue(lambda columns: columns["item_id"].__setitem__(3, None)), "without an id of their own"),
    ("ids that are numbers", catalogue(lambda columns: columns.update(item_id=list(range(len(columns["title"]))))), "int64, no texts"),
    ("an id twice", catalogue(lambda columns: columns["item_id"].__setitem__(3, columns["item_id"][4])), "without an id of their own"),
    ("no figures", in_record(lambda raw: raw.update(metrics={})), "does not say ndcg@10 of each of its views"),
    ("a view without figures", in_record(lambda raw: raw["metrics"].update(keep={})), "does not say ndcg@10 of each of its views"),
    ("lists that nobody can keep", in_record(lambda raw: raw["protocol"].update(list_length=10**9)), "lists of 1,000,000,000 items"),
    ("a formula in the curve", in_curve("1,=cmd()"), "line 2 is no row of 2 numbers"),
    ("another row in the curve", in_curve("1,2,3"), "line 2 is no row of 2 numbers"),
    ("more than letters in the curve", in_curve("1,\u202e"), "more than names and numbers"),
    ("another catalogue", in_record(lambda raw: raw["dataset"].update(n_items=7)), "the record says 7"),
]


@pytest.mark.parametrize(("what", "harm", "words"), HOSTILE, ids=[what for what, _, _ in HOSTILE])
def test_what_is_no_sound_model_is_refused_and_leaves_nothing(
    recbench: Any, shared: Path, what: str, harm: Callable[[Path], None], words: str
) -> None:
    harm(shared)
    answer = recbench("pull", "shared")
    answer.refuses(words, code=answer.code)
    assert answer.code in {1, 2}
    assert not (recbench.folder / "runs").exists(), what


def test_a_text_that_stands_in_every_row_is_not_written_out(recbench: Any, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbench.running.after.pull._MOST_UNPACKED_BYTES", 1 << 20)
    catalogue(lambda columns: columns.update(title=["A" * 5_000] * len(columns["title"])))(shared)
    assert (shared / "catalogue.parquet").stat().st_size < 20_000
    recbench("pull", "shared").refuses("its texts unpack to more than 1.0 MiB")
    assert not (recbench.folder / "runs").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems set no bound")
def test_settings_that_ask_for_any_memory_are_refused(recbench: Any, demo_home: Path) -> None:
    assert recbench("run", "-m", "hgn", "--preset", "smoke", "-d", "demo", *CPU).code == 0
    assert recbench("export", "last", "out").code == 0
    shutil.rmtree(recbench.folder / "runs")
    in_record(lambda raw: raw["dataset"].update(n_users=10**9))(recbench.folder / "out")
    recbench("pull", "out").refuses("ask for more memory than 2.0 GiB", "damaged or forged")
    assert not (recbench.folder / "runs").exists()


def test_a_figure_that_no_list_gives_is_a_sentence(recbench: Any, demo_home: Path, trained: Path) -> None:
    assert recbench("export", trained, "out").code == 0
    in_record(lambda raw: raw["protocol"].update(list_length=10))(recbench.folder / "out")
    assert recbench("pull", "out").code == 0
    recbench("evaluate", "last", *CPU).refuses("the record says recall@20 keep, which lists of 10 do not give")


def test_a_card_names_no_place_of_this_machine(recbench: Any, trained: Path) -> None:
    assert recbench("export", trained, recbench.folder / "deep" / "shared").code == 0
    card = (recbench.folder / "deep" / "shared" / "README.md").read_text()
    assert "recbench pull shared\n" in card
    assert str(recbench.folder) not in card


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.models().names())
def test_every_model_gives_the_recorded_figures_once_it_was_pulled(recbench: Any, demo_home: Path, name: str) -> None:
    plugin = registry.models().load(name)
    data = "demo" if "next-item" in plugin.card.tasks else "outfits"
    short = {"joint.steps": 2, "training.max_steps": 6, "training.validate_every_steps": 3}
    words = [word for key, value in short.items() if key in setting_names(plugin.config) for word in ("--set", f"{key}={value}")]
    assert recbench("run", "-m", name, "--preset", "smoke", "-d", data, *words, *CPU).code == 0
    record = read_record(next((recbench.folder / "runs").iterdir()) / "record.json")
    assert recbench("export", "last", "out").code == 0
    shutil.rmtree(recbench.folder / "runs")
    assert recbench("pull", "out").code == 0
    found = recbench("evaluate", "last", *CPU, "--json").json
    assert (found["is_exact"], found["largest"]) == (True, 0)
    assert len(found["metrics"]) == sum(map(len, record.metrics.values()))


def test_a_large_model_must_be_allowed(recbench: Any, shared: Path) -> None:
    recbench("pull", "shared", "--limit-gb", "0.000001").refuses("more than 1e-06 GB", "--limit-gb 1")


def test_a_run_of_that_name_is_never_overwritten(recbench: Any, trained: Path, shared: Path) -> None:
    there = recbench.folder / "runs" / trained.name
    there.mkdir(parents=True)
    (there / "record.json").write_text("mine")
    recbench("pull", "shared").refuses("is there already and is another run")
    assert (there / "record.json").read_text() == "mine"
    recbench("export", trained, "shared").refuses("shared is there already")


def test_a_model_goes_through_the_hub_in_one_commit_and_back(recbench: Any, demo_home: Path, trained: Path, hub: Hub) -> None:
    assert recbench("push", trained, "me/popular", "--ranks", "--private").code == 0
    repo = hub.repos["me/popular"]
    assert (repo.private, len(repo.commits)) == (True, 2)
    assert {"README.md", "recbench.json", "model/model.safetensors", "ranks.parquet"} <= set(hub.files("me/popular"))
    assert recbench("push", trained, "me/popular").code == 0
    assert "ranks.parquet" not in hub.files("me/popular"), "what an earlier push left is gone with the same commit"
    assert ".gitattributes" in hub.files("me/popular")
    answer = recbench("pull", "me/popular")
    assert answer.code == 0, answer.stderr
    run = recbench.folder / "runs" / trained.name
    pulled = json.loads((run / "pulled.json").read_text())
    assert (pulled["source"], pulled["revision"]) == ("me/popular", repo.sha())
    assert recbench("evaluate", trained.name, *CPU).code == 0
    everything = b"".join(recbench.listing().values()) + b"".join(hub.files("me/popular").values()) + answer.stderr.encode()
    assert hub.token.encode() not in everything
    shutil.rmtree(run)
    assert recbench("pull", "me/popular", "--revision", repo.sha(1)).code == 0
    assert (run / "ranks.parquet").is_file()


def test_half_an_upload_is_seen_by_nobody_and_half_a_download_is_no_run(recbench: Any, trained: Path, hub: Hub) -> None:
    hub.fail_at = "/commit/"
    recbench("push", trained, "me/popular").refuses("the hub answers 507", "what has arrived is kept")
    recbench("pull", "me/popular").refuses("holds no recbench.json")
    hub.fail_at = ""
    assert recbench("push", trained, "me/popular").code == 0
    hub.fail_at = "model.safetensors"
    assert recbench("pull", "me/popular").code == 2
    assert not (recbench.folder / "runs").exists()
    hub.fail_at = ""
    assert recbench("pull", "me/popular").code == 0


def test_what_the_hub_refuses_is_a_sentence(recbench: Any, trained: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    recbench("pull", "me/nothing").refuses("no such repository", "hf auth login")
    recbench("pull", "nothing").refuses("no folder and no repository")
    recbench("push", trained, "me").refuses("'me' is no name of a repository")
    assert recbench("push", trained, "me/popular").code == 0
    recbench("pull", "me/popular", "--revision", "never").refuses("no such revision")
    monkeypatch.setenv("HF_TOKEN", "hf_stranger")
    answer = recbench("push", trained, "them/popular")
    answer.refuses("the hub answers 401", "hf auth login")
    assert "hf_stranger" not in answer.stderr
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    recbench("pull", "me/popular").refuses("the hub cannot be asked", "onnect")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    recbench("pull", "me/popular").refuses("HF_HUB_OFFLINE")


@pytest.fixture
def own_data(recbench: Any) -> Path:
    """Events of one's own, of which no card says whether they may be handed on."""
    folder: Path = recbench.folder / "shop"
    folder.mkdir()
    lines = [f"u{user},item-{(user * step) % 17},{step}" for user in range(1, 30) for step in range(1, 8)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n")
    return folder


def test_ids_stay_with_the_data_unless_somebody_may_share_them(recbench: Any, own_data: Path) -> None:
    assert recbench("run", "-m", "popularity", "-d", "./shop", *CPU).code == 0
    assert recbench("export", "last", "without").code == 0
    assert not (recbench.folder / "without" / "catalogue.parquet").exists()
    assert b"item-1" not in b"".join(path.read_bytes() for path in (recbench.folder / "without").rglob("*") if path.is_file())
    assert recbench("export", "last", "with", "--items").code == 0
    before = recbench("recommend", "last", "--item", "item-1", "--json").json
    for source, words in (("with", ()), ("without", ("--dataset", "./shop"))):
        shutil.rmtree(recbench.folder / "runs")
        assert recbench("pull", source, *words).code == 0
        assert recbench("recommend", "last", "--item", "item-1", "--json").json == before
    shutil.rmtree(recbench.folder / "runs")
    shutil.rmtree(recbench.home)
    own_data.rename(recbench.folder / "gone")
    recbench("pull", "without").refuses("keep the ids of its items", "--dataset PATH")
    lines = (recbench.folder / "gone" / "interactions.csv").read_text().replace("item-1,", "item-one,")
    (recbench.folder / "other").mkdir()
    (recbench.folder / "other" / "interactions.csv").write_text(lines)
    recbench("pull", "without", "--dataset", "./other").refuses("The test part here")


def test_a_card_that_keeps_its_texts_is_heeded(recbench: Any, trained: Path, write_plugin: Any, demo_home: Path, monkeypatch: Any) -> None:
    from recbench.data import dataset_card

    kept = dataset_card("demo").model_copy(update={"may_share_items": False, "terms": "Ours."})
    monkeypatch.setattr("recbench.running.after.export.dataset_card", lambda _name: kept)
    recbench("export", trained, "out", "--items").refuses("do not let ids and texts", "Ours.")
    assert recbench("export", trained, "out").code == 0
    assert not (recbench.folder / "out" / "catalogue.parquet").exists()
    saves = r"(folder / 'items.json').write_text('{\"of\": [\"\\u0069%s\"]}')"
    item = recbench("recommend", trained, "--history", ITEMS, "--json").json[0]["item_id"]
    for name, save, card, words in (
        ("leaks", saves % item.removeprefix("i"), "", f"the text '{item}' of the data"),
        ("tokens", "(folder / 'x.json').write_text('0')", "saves_text = true\n", "saves words of the items' texts"),
        ("pickles", "(folder / 'x.pkl').write_text('0')", "", "may hold more than numbers"),
    ):
        plugin = write_plugin(name, save=save)
        (plugin / "card.toml").write_text(card + (plugin / "card.toml").read_text())
        assert recbench("run", "-m", name, "-d", "demo", "--plugin", plugin, *CPU).code == 0
        recbench("export", "last", "leak", "--plugin", plugin).refuses(words)
        assert not (recbench.folder / "leak").exists()
