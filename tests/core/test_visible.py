"""Text from data on a terminal: shown, never obeyed."""

import json
import logging
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.core import BadData
from recbench.core.visible import LineFormatter, listed, visible, visible_json

ANY = st.text(st.characters(), max_size=40)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;pwned\x07", r"\x1b[2J\x1b]0;pwned\x07"),
        ("over\rwritten", r"over\rwritten"),
        ("\x9b31m", r"\x9b31m"),
        ("exe\u202efdp", r"exe\u202efdp"),
        ("half \udc80", r"half \udc80"),
        ("Amélie\tプリン 👩‍🔬 [bold]\n", "Amélie\tプリン 👩‍🔬 [bold]\n"),
    ],
)
def test_what_steers_a_terminal_is_spelt_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(ANY)
def test_what_comes_out_can_be_encoded_and_holds_no_control(text: str) -> None:
    shown = visible(text, one_line=True)
    shown.encode()
    assert not any((ord(character) < 32 and character != "\t") or 127 <= ord(character) < 160 for character in shown)
    assert visible(shown, one_line=True) == shown


def test_listed_names_keep_to_one_line() -> None:
    assert listed(["title", "item_line\nbreak", "\x1bid"]) == r"title, item_line\nbreak, \x1bid"
    assert listed([]) == "none"


@given(ANY)
def test_json_keeps_its_content(text: str) -> None:
    document = visible_json(json.dumps({text: [text]}, indent=1, ensure_ascii=False))
    assert json.loads(document) == {text: [text]}
    assert visible(document) == document


def test_a_log_line_stays_one_line() -> None:
    record = logging.LogRecord("recbench", logging.INFO, "", 0, "title %s", ("a\nError: no\x1b[2J",), None)
    assert LineFormatter("%(message)s").format(record) == r"title a\nError: no\x1b[2J"


def test_no_error_quotes_what_steers_a_terminal() -> None:
    error = BadData("line 3: '\x1b[31mred\x1b[0m' is no number")
    assert str(error) == r"line 3: '\x1b[31mred\x1b[0m' is no number"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
