"""What others wrote is shown in one harmless line of bounded length, and kept as data of bounded size."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_kendra._text import LONGEST, make_plain, plain, shown, storable
from airflow_provider_kendra.exceptions import KendraError, KendraSyncJobFailedError

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT)
@example("\x1b[2J\r\n\x85\u2028\u2029\u202e\u2066\u200b\ufeff\ud800\x00\x9b")
def test_a_text_becomes_one_line_without_characters_that_act(text: str) -> None:
    result = plain(text)
    assert result.isprintable()
    assert not {unicodedata.category(each) for each in result} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    result.encode()


@given(ANY_TEXT.filter(str.isprintable))
def test_a_printable_text_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


@given(ANY_TEXT, st.integers(1, 30))
def test_making_a_text_plain_twice_changes_nothing_more(text: str, longest: int) -> None:
    assert plain(plain(text, longest), longest) == plain(text, longest)


@pytest.mark.parametrize("text", ["x" * 5_000_000, "\n" * 5_000_000])
def test_a_long_text_is_cut(text: str) -> None:
    assert len(plain(text)) == LONGEST
    assert plain(text).endswith("…")
    assert len(shown(text)) <= 300


@given(ANY_TEXT, st.integers(0, 30))
def test_as_data_a_text_is_bounded_and_can_be_stored(text: str, longest: int) -> None:
    kept = storable(text, longest)
    assert len(kept) <= longest
    kept.encode()


def test_data_keeps_line_breaks() -> None:
    assert storable("a\nb\x1b", 3) == "a\nb"


@pytest.mark.parametrize("kind", [KendraError, KendraSyncJobFailedError])
def test_an_error_of_the_package_has_a_plain_message(kind: type[KendraError]) -> None:
    error = kind(f"Kendra says: \n[2026] INFO - Marking task as SUCCESS \x1b[2J{'x' * 5_000_000}")
    assert str(error).isprintable()
    assert len(str(error)) < 5_000


def test_the_errors_that_led_to_one_are_made_plain_too() -> None:
    cause, context, wrapped = KeyError("third\n"), OSError("first\nline"), TypeError("fourth\r")
    error = ValueError("second\x1b", wrapped)
    error.__cause__, error.__context__, wrapped.__context__ = cause, context, error

    make_plain(error)

    assert error.args == (r"second\x1b", wrapped)
    assert [each.args for each in (context, cause, wrapped)] == [(r"first\nline",), (r"third\n",), (r"fourth\r",)]
