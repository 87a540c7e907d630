"""Cards: all of ours are valid, faults are named, own data need none."""

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

from recbench.core import BadConfig, BadData, DataUnavailable, UnknownPlugin
from recbench.data import dataset_card, dataset_names, load_reader, plugins, reader_names
from recbench.data.reading import reader_options
from recbench.tasks import task_of_card

EXPECTED = {
    "amazon-books", "beauty", "bundle-clothing", "bundle-electronic", "bundle-food", "bundle-meal", "demo", "food", "games", "health",
    "industrial", "instruments", "lastfm", "ml-100k", "ml-1m", "office", "outfits", "pixel1m", "pixel200k", "pixel8m", "pog", "pog-dense",
    "spotify", "spotify-sparse", "sports", "steam", "synthetic", "toys", "yelp",
}  # fmt: skip


def test_every_promised_data_set_has_a_card() -> None:
    assert set(dataset_names()) >= EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_card_names_an_existing_reader_and_valid_options(name: str) -> None:
    card = dataset_card(name)
    reader_options(load_reader(card.reader), card)
    for source in card.sources:
        reader = load_reader(source.reader or card.reader)
        reader_options(reader, card.model_copy(update={"options": card.options if source.options is None else source.options}))
    assert card.terms
    task_of_card(card).protocol()
    assert card.is_synthetic == (name in {"demo", "outfits", "synthetic"})
    assert card.is_synthetic or (card.citation.startswith("@") or "\n@" in card.citation)


def test_unknown_data_set_offers_the_nearest() -> None:
    with pytest.raises(UnknownPlugin, match=r"'beuty'.*Did you mean 'beauty'"):
        dataset_card("beuty")


def test_the_name_of_generated_data_takes_options_and_says_those_that_change_anything() -> None:
    card = dataset_card("demo: stay=0.80 ,n_items=1e2,seed=7")
    assert card.name == "demo:n_items=100,stay=0.8"
    assert card.options == {"n_items": 100, "stay": 0.8}
    assert dataset_card(card.name) == card
    assert dataset_card("demo:seed=7") == dataset_card("demo")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("demo:n_user=3", r"'demo' has no key 'n_user'\. Did you mean 'n_users'\?"),
        ("demo:n_items=many", "n_items='many'"),
        ("demo:n_items=60.5", r"n_items=60\.5"),
        ("demo:n_items", "'n_items' is not of the form key=value"),
        ("demo:seed=1,seed=2", "seed is given twice"),
        ("demo:n_users=10000000000", "n_users=10000000000: Input should be less than or equal to 1000000"),
        ("demo:cold_share=1", "cold_share=1: Input should be less than or equal to 0.5"),
        (f"demo:seed={10**200}", "Input should be less than or equal to 9223372036854775807"),
        ("beauty:seed=1", "'beauty' is not generated and takes no options"),
    ],
)
def test_impossible_options_behind_a_name_are_refused_in_a_sentence(name: str, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        dataset_card(name)
    with pytest.raises(UnknownPlugin, match=r"'dmo'.*Did you mean 'demo'"):
        dataset_card("dmo:seed=1")


def test_unknown_reader_offers_the_nearest() -> None:
    assert {
        "parquet",
        "csv",
        "recbole",
        "amazon-2014",
        "amazon-2018",
        "amazon-2023",
        "movielens",
        "yelp",
        "pixelrec",
        "demo",
        "bundles",
        "clhe",
        "outfits",
    } <= set(reader_names())
    with pytest.raises(UnknownPlugin, match="Did you mean 'parquet'"):
        load_reader("parqet")


class _Point(EntryPoint):
    def load(self) -> object:
        if self.value == "broken:READER":
            raise ImportError("no module named x")
        return super().load()


def test_a_reader_claimed_twice_and_a_broken_one(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [_Point("both", "one:READER", plugins.READERS), _Point("both", "two:READER", plugins.READERS)]
    points.append(_Point("broken", "broken:READER", plugins.READERS))
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    with pytest.raises(BadConfig, match=r"'both' is claimed twice: by .*one:READER.* and .*two:READER"):
        load_reader("both")
    with pytest.raises(BadConfig, match=r"'broken' .*cannot be imported: .*no module named x"):
        load_reader("broken")


def test_a_data_set_claimed_twice_and_a_broken_folder_of_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def point(folder: str) -> SimpleNamespace:
        package = SimpleNamespace(__path__=[str(tmp_path / folder), "__editable__.finder"])
        return SimpleNamespace(name=folder, value=folder, dist=None, load=lambda: package)

    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.toml").write_text("", encoding="utf-8")
    broken = _Point("broken", "broken:READER", plugins.DATASETS)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point("one"), point("one"), broken])
    assert dataset_names() == ["mine"]
    assert "cannot be listed" in caplog.text
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point("one"), point("two")])
    with pytest.raises(BadConfig, match=r"'mine' is claimed twice: by .*one.mine.toml and .*two.mine.toml"):
        dataset_names()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("catalog = 'table'", r"no key 'catalog'.*Did you mean 'catalogue'"),
        ("[counts]\nuser = 3", r"no key 'counts.user'.*Did you mean 'users'"),
        ("[counts]\nusers = 'many'", r"counts.users='many'"),
        ("[[sources]]\nkind = 'manual'\ninstruction = 'x'", r"Did you mean 'instructions'"),
        ("[[sources]]\nkind = 'download'", "a download needs files"),
        ("[[sources]]\nkind = 'manual'", "needs instructions"),
        ("[[sources]]\nkind = 'wheel'\nrequirement = 'x==1'", "a wheel needs"),
        ("[[sources]]\nkind = 'folder'", "a folder needs a path"),
        ("[[sources]]\nkind = 'download'\nfiles = [{ role = 'reviews', url = 'file:///etc/passwd' }]", "url"),
        ("[[sources]]\nkind = 'manual'\ninstructions = 'x'\nfiles = [{ role = 'reviews', name = '../up' }]", "plain file name"),
        ("filters = [{ kind = 'k-kore', user = 5, item = 5 }]", "k-kore"),
        ("filters = [{ kind = 'k-core', user = 0, item = 5 }]", "greater than 0"),
        ("[[sources]]\nkind = 'folder'\npath = \"a\\u0000b\"", "'sources.0.path' holds a null character"),
        ("[[sources]]\nkind = 'folder'\npath = \"a\\nb\"", "a path has no line breaks"),
        (f"[[sources]]\nkind = 'folder'\npath = '{'a' * 256}'", "no system takes a path that long"),
        (f"[[sources]]\nkind = 'folder'\npath = '{'ab/' * 2000}'", "no system takes a path that long"),
        (f"[[sources]]\nkind = 'manual'\ninstructions = 'x'\nfiles = [{{ role = 'reviews', name = '{'é' * 101}' }}]", "plain file name"),
        ('[counts]\n"a\\u0000" = 1', "holds a null character"),
        ('filters = [{ kind = "\\u001b[31mred" }]', r"'\\x1b\[31mred'"),
        ('[counts]\n"\\u001b[31mred" = 1', r"\\x1b\[31mred"),
        ("catalogue = = 3", "not valid TOML"),
        ("summary = " + "[" * 5000 + "]" * 5000, "not valid TOML"),
        ("[counts]\nusers = " + "9" * 5000, "not valid TOML"),
    ],
)
def test_faults_in_a_card_are_named(write_card: Callable[..., Path], text: str, message: str) -> None:
    path = write_card(text)
    with pytest.raises(BadConfig, match=message) as caught:
        dataset_card(str(path))
    assert "mine.toml" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_unknown_reader_option_is_named(
    write_card: Callable[..., Path], write_folder: Callable[..., Path], read: Callable[..., object]
) -> None:
    write_folder([("u", "i", 1)])
    source = "[[sources]]\nkind = 'folder'\npath = 'mine'\nfiles = [{ role = 'interactions', name = 'interactions.parquet' }]"
    path = write_card(f"options = {{ delimter = ';' }}\n{source}", reader="csv")
    with pytest.raises(BadConfig, match="Did you mean 'delimiter'"):
        read(path)


def test_a_missing_card_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="no such file"):
        dataset_card(str(tmp_path / "none.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(BadConfig, match=r"folder\.toml cannot be read: Is a directory"):
        dataset_card(str(tmp_path / "folder.toml"))
    with pytest.raises(DataUnavailable, match="no such folder"):
        dataset_card(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataUnavailable, match=r"neither interactions.parquet nor interactions.csv"):
        dataset_card(str(tmp_path / "empty"))


def test_one_wrong_count_stops_with_both_numbers(
    write_card: Callable[..., Path], write_folder: Callable[..., Path], read: Callable[..., object]
) -> None:
    write_folder([("u", "i", 1), ("u", "j", 2), ("v", "i", 5)])
    source = "[[sources]]\nkind = 'folder'\npath = 'mine'\nfiles = [{ role = 'interactions', name = 'interactions.parquet' }]"
    read(write_card(f"[counts]\nusers = 2\nitems = 2\ninteractions = 3\n{source}"))
    for wrong in ("users = 3", "items = 4", "interactions = 5"):
        name, _, number = wrong.partition(" = ")
        with pytest.raises(BadData, match=rf"[23] {name}, {number} expected"):
            read(write_card(f"[counts]\n{wrong}\n{source}"))
