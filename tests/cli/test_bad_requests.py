"""Requests that cannot be met: one sentence, exit code 2, and not a file more than before (architecture.md section 8)."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RUN = ("run", "-m", "popularity", "-d", "demo")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "-m", "populariti", "-d", "demo"), ("No model", "'populariti'", "Did you mean 'popularity'?")),
        (("run", "-m", "popularity", "-d", "dmo"), ("No data set", "'dmo'", "Did you mean 'demo'?")),
        (("run", "-m", "ease", "-d", "demo", "--preset", "unifrom"), ("preset 'unifrom'", "Did you mean 'uniform'?")),
        (("run", "-m", "sasrec", "-d", "demo", "--set", "widht=3"), ("no key 'widht'", "Did you mean 'network.width'?")),
        (("run", "-m", "sasrec", "-d", "demo", "--set", "learning_rate=0.1"), ("Did you mean 'training.learning_rate'?",)),
        (("run", "-m", "sasrec", "-d", "demo", "--set", "width"), ("'width'", "key=value")),
        (("run", "-m", "popularity", "-d", "demo", "--set", "with=1"), ("no key 'with'", "Known: none.")),
        (("run", "-m", "sasrec:demo", "-d", "demo"), ("--model sasrec --preset demo",)),
        (("tune", "sasrec:demo", "demo"), ("--model sasrec --preset demo",)),
        (("run", "-m", "sasrec", "-d", "demo", "--set", "network.width=wide"), ("network.width='wide'",)),
        (("run", "-m", "sasrec", "-d", "demo", "--set", "network.n_heads=7"), ("network: width=64", "n_heads=7")),
        ((*RUN, "--config", "missing.toml"), ("missing.toml", "no such file")),
        ((*RUN, "--device", "cuda:99"), ("--device 'cuda:99'", "recbench doctor")),
        ((*RUN, "--threads", "100000"), ("--threads 100000 is not possible here", "cores")),
        (("compare", "-m", "ease", "-d", "demo", "--threads", "100000"), ("--threads 100000 is not possible here",)),
        (("compare", "-m", "ease", "-d", "demo", "--jobs", "100000"), ("--jobs 100000 is not possible here",)),
        (("tune", "ease", "demo", "--jobs", "100000"), ("--jobs 100000 is not possible here",)),
        (("compare", "-m", "ease", "-d", "demo", "--seeds", "1000000000"), ("--seeds 1000000000 is not possible", "from 1 to 1,000")),
        (("tune", "ease", "demo", "--trials", "1000000000"), ("--trials 1000000000 is not possible", "from 1 to 10,000")),
        (("compare", "-m", "ease", "-d", "demo", "--executor", "ray", "--jobs", "1000000000"), ("--jobs 1000000000 is not possible",)),
        (("compare", "-m", "ease", "-d", "demo", "--executor", "ray", "--threads", "1000000000"), ("--threads 1000000000 is not",)),
        ((*RUN, "--device", "tpu"), ("--device 'tpu'", "cpu, cuda")),
        ((*RUN, "--budget", "soon"), ("--budget 'soon'", "20m")),
        ((*RUN, "--seen", "sometimes"), ("--seen 'sometimes'", "keep, unseen or both")),
        ((*RUN, "--ties", "heads"), ("heads", "shuffle=")),
        ((*RUN, "--protocol", "random-split"), ("random-split", "leave-one-out")),
        ((*RUN, "--data-dir", "nowhere"), ("--data-dir nowhere", "no such folder")),
        ((*RUN, "--plugin", "nowhere"), ("--plugin nowhere", "no such folder")),
        (("run", "-m", "popularity", "-d", "own/data"), ("own/data", "no such folder")),
        (("compare", "-m", "popularity,esae", "-d", "demo"), ("'esae'", "Did you mean 'ease'?")),
        (("compare", "-m", "ease:unifrom", "-d", "demo"), ("preset 'unifrom'", "Did you mean 'uniform'?")),
        (("compare", "-m", "ease", "-d", "demo,spots"), ("'spots'", "Did you mean 'sports'?")),
        (("compare", "-m", "ease", "-d", "demo", "--budget", "soon"), ("--budget 'soon'", "20m")),
        (("compare", "-m", "ease", "-d", "demo", "--ties", "heads"), ("heads", "shuffle=")),
        (("compare", "-m", "ease", "-d", "demo", "--executor", "rya"), ("'rya'", "Did you mean 'ray'?")),
        (("tune", "ease", "demo", "--executor", "rya"), ("'rya'", "Did you mean 'ray'?")),
        (("tune", "ease", "demo", "--executor", "ray", "--jobs", "1000000000"), ("--jobs 1000000000 is not possible",)),
        (("compare", "-m", "ease", "-d", "demo", "--executor", "ray", "--device", "cuda:1"), ("'cuda:1'", "--device cuda")),
        (("compare", "-m", "popularity,ease", "-d", "demo", "--set", "decay=0.9"), ("'popularity'", "'decay'")),
        (("compare", "-m", ",", "-d", "demo"), ("--models", "names nothing")),
        (("show", "last"), ("no run", "recbench run")),
        (("show", "demo-popularity"), ("no run 'demo-popularity'", "recbench list runs")),
        (("diff", "last", "last"), ("no run",)),
        (("reproduce", "nothing.json"), ("nothing.json",)),
        (("recommend", "last"), ("--history", "--export")),
        (("recommend", "last", "--history", "a,b"), ("no run",)),
        (("leaderboard", "export", "demo"), ("no folder leaderboards", "recbench leaderboard publish --boards leaderboards")),
        (("verify",), ("no folder leaderboards", "recbench leaderboard publish --boards leaderboards")),
        (("verify", "--json", "--boards", "a b"), ("a b: there is no such folder", "recbench leaderboard publish --boards 'a b'")),
        (("data", "stats", "beuaty"), ("'beuaty'", "Did you mean 'beauty'?")),
        (("cache", "add", "smolm2"), ("'smolm2'", "Did you mean 'smollm2'?")),
        (("cache", "clean", "partal"), ("'partal'", "Did you mean 'partial'?")),
    ],
)
def test_the_sentence_names_what_is_wrong_and_nothing_is_written(recbench: Any, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    before = recbench.listing()
    answer = recbench(*arguments)
    answer.refuses(*words)
    assert recbench.listing() == before
    assert recbench.half_written() == []


def test_debug_adds_the_traceback_and_keeps_the_exit_code(recbench: Any) -> None:
    answer = recbench("run", "-m", "populariti", "-d", "demo", "--debug")
    assert answer.code == 2
    assert "Traceback (most recent call last)" in answer.stderr
    assert answer.stderr.strip().splitlines()[-1].startswith("Error: No model")


def test_an_unknown_key_in_a_config_file_is_named_with_the_nearest(recbench: Any) -> None:
    (recbench.folder / "settings.toml").write_text("droput = 0.1\n")
    before = recbench.listing()
    recbench("run", "-m", "sasrec", "-d", "demo", "--config", "settings.toml").refuses("no key 'droput'", "Did you mean 'network.dropout'?")
    (recbench.folder / "settings.toml").write_text("dropout = \n")
    recbench("run", "-m", "sasrec", "-d", "demo", "--config", "settings.toml").refuses("settings.toml", "not valid TOML")
    (recbench.folder / "settings.toml").write_text("droput = 0.1\n")
    assert recbench.listing() == before


def test_an_unknown_key_in_a_models_card_is_named_with_the_nearest(recbench: Any, write_plugin: Callable[..., Path]) -> None:
    folder = write_plugin("odd", card_part="[deviatons]\n")
    before = recbench.listing()
    answer = recbench("run", "-m", "odd", "-d", "demo", "--plugin", folder)
    answer.refuses("card.toml", "no key 'deviatons'", "Did you mean 'deviations'?", code=1)
    assert recbench.listing() == before


def test_an_unknown_key_in_a_data_sets_card_is_named_with_the_nearest(recbench: Any) -> None:
    card = recbench.folder / "mine.toml"
    card.write_text('name = "mine"\ntitle = "Mine"\nterms = "own"\nreader = "csv"\ntime = "none"\nsummry = "x"\n')
    before = recbench.listing()
    recbench("run", "-m", "popularity", "-d", card).refuses("mine.toml", "no key 'summry'", "Did you mean 'summary'?")
    assert recbench.listing() == before


def test_nothing_to_verify_fails(recbench: Any) -> None:
    (recbench.folder / "my boards").mkdir()
    answer = recbench("verify", "--boards", "my boards")
    assert answer.code == 1
    assert "no row to verify. Publish a run on real data (not demo) with: " in answer.stderr
    assert "recbench leaderboard publish --boards 'my boards'" in answer.stderr
    assert recbench("verify", "--json", "--boards", "my boards").code == 1
    recbench("leaderboard", "export", "demo", "--boards", "my boards").refuses("no board of 'demo'", "publish --boards 'my boards'")
    assert recbench.listing() == {}


def test_without_ray_the_sentence_says_how_to_install_it(recbench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    recbench("compare", "-m", "popularity", "-d", "demo", "--executor", "ray").refuses(
        "ray is not installed", "pip install 'genrecbench[ray]'"
    )


def test_options_of_a_name_stand_in_a_list_of_names(recbench: Any) -> None:
    refused = recbench("compare", "-m", "popularity", "-d", "demo:n_users=40,n_items=50,demo:n_users=40,n_item=50")
    refused.refuses("The data set 'demo' has no key 'n_item'. Did you mean 'n_items'?")
    recbench("compare", "-m", "popularity", "-d", "demo,own/day=1/data").refuses("own/day=1/data: there is no such folder")
