"""What a DAG author passes is checked before any call, and the message says what to pass."""

import string
from datetime import UTC, datetime, timedelta, timezone
from functools import cache

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_kendra._validation import check_connection_id, check_exactly_one, check_identifier, check_time

INDEX_ID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
WORD = string.ascii_letters + string.digits

IN_THE_MODEL = {"index_id": "IndexId", "data_source_id": "Id"}


@cache
def rules_of_the_api(name):
    model = botocore.session.get_session().get_service_model("kendra")
    return model.operation_model("StartDataSourceSyncJob").input_shape.members[IN_THE_MODEL[name]].metadata


@pytest.mark.parametrize("name", IN_THE_MODEL)
@given(data=st.data())
def test_every_identifier_that_the_api_allows_is_allowed(name, data):
    rules = rules_of_the_api(name)
    other = WORD + ("-" if name == "index_id" else "-_")
    assert rules["pattern"] == f"[a-zA-Z0-9][a-zA-Z0-9{'-' if name == 'index_id' else '_-'}]*"
    first = data.draw(st.sampled_from(WORD))
    rest = data.draw(st.text(other, min_size=rules["min"] - 1, max_size=rules["max"] - 1))
    value = first + rest
    if value != "None":
        assert check_identifier(name, value) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("index_id", INDEX_ID[:-1]),
        ("index_id", INDEX_ID + "a"),
        ("index_id", "-" + INDEX_ID[1:]),
        ("index_id", "_" + INDEX_ID[1:]),
        ("index_id", INDEX_ID[:-1] + "_"),
        ("index_id", INDEX_ID + "\n"),
        ("index_id", INDEX_ID[:-1] + "\u00e9"),
        ("index_id", INDEX_ID[:-1] + "\u0661"),
        ("index_id", f"arn:aws:kendra:us-east-1:123456789012:index/{INDEX_ID}"),
        ("index_id", None),
        ("index_id", 7),
        ("data_source_id", ""),
        ("data_source_id", "a" * 101),
        ("data_source_id", "-a"),
        ("data_source_id", "_a"),
        ("data_source_id", "a b"),
        ("data_source_id", "a/b"),
        ("data_source_id", "a\n"),
        ("data_source_id", None),
        ("execution_id", ""),
        ("execution_id", " "),
        ("execution_id", "a b"),
        ("execution_id", None),
    ],
)
def test_what_is_no_identifier_is_refused_with_parameter_value_and_rule(name, value):
    with pytest.raises(ValueError, match=rf"^{name} is ") as refused:
        check_identifier(name, value)
    assert repr(value) in str(refused.value)
    assert "but must be " in str(refused.value)


@pytest.mark.parametrize("name", ["index_id", "data_source_id"])
def test_what_cloudformation_gives_for_a_data_source_is_explained_for_either_parameter(name):
    with pytest.raises(ValueError, match="CloudFormation") as refused:
        check_identifier(name, f"my-source|{INDEX_ID}")
    assert f"{name} is 'my-source|{INDEX_ID}'" in str(refused.value)
    assert f"data_source_id='my-source' and index_id={INDEX_ID!r}" in str(refused.value)


def test_a_bar_without_an_index_id_behind_it_is_not_explained_as_cloudformation():
    with pytest.raises(ValueError, match="but must be 1 to 100 letters") as refused:
        check_identifier("data_source_id", "my-source|other")
    assert "CloudFormation" not in str(refused.value)


@pytest.mark.parametrize("value", [None, "", "None"])
@pytest.mark.parametrize("name", ["index_id", "data_source_id", "execution_id"])
def test_a_template_that_rendered_to_nothing_is_named_as_the_likely_cause(name, value):
    with pytest.raises(ValueError, match="the template found no value"):
        check_identifier(name, value)


def test_a_wrong_identifier_is_not_blamed_on_a_template():
    with pytest.raises(ValueError, match="index_id") as refused:
        check_identifier("index_id", "too-short")
    assert "template" not in str(refused.value)


@given(st.datetimes(timezones=st.timezones()))
def test_a_datetime_with_a_time_zone_is_taken_as_it_is(moment):
    assert check_time("started_after", moment) is moment


@given(st.datetimes(timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))))
def test_iso_text_with_a_time_zone_is_the_same_as_the_datetime(moment):
    assert check_time("started_after", moment.isoformat()) == moment


@pytest.mark.parametrize("text", ["2026-01-31T06:00:00Z", "2026-01-31 06:00:00+00:00", "20260131T070000+0100"])
def test_the_usual_ways_to_write_a_time_are_understood(text):
    assert check_time("started_after", text) == datetime(2026, 1, 31, 6, tzinfo=UTC)


@pytest.mark.parametrize("value", [datetime(2026, 1, 31, 6), "2026-01-31T06:00:00", "2026-01-31"])
def test_a_time_without_a_zone_is_refused_with_what_to_do(value):
    with pytest.raises(ValueError, match=r"started_before is '2026-01-31.*no time zone.*Add one"):
        check_time("started_before", value)


@pytest.mark.parametrize("value", ["yesterday", "", "None", None, 7, "{{ data_interval_end }}"])
def test_what_is_no_time_is_refused_with_parameter_and_value(value):
    with pytest.raises(ValueError, match="but must be a datetime with a time zone") as refused:
        check_time("started_after", value)
    assert str(refused.value).startswith(f"started_after is {value!r},")


@pytest.mark.parametrize("value", ["a\nb", "a b", "\u202e", "x" * 251, "", "None", 5])
def test_what_airflow_takes_for_no_id_of_a_connection_is_refused_in_one_line(value):
    with pytest.raises(ValueError, match="aws_conn_id is") as raised:
        check_connection_id("aws_conn_id", value)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 600


def test_both_ids_in_one_long_text_are_cut():
    with pytest.raises(ValueError, match="CloudFormation") as raised:
        check_identifier("data_source_id", "x" * 5_000 + "|" + "i" * 36)
    assert len(str(raised.value)) < 1_000


def test_one_of_several_parameters_is_enough():
    check_exactly_one({"max_age": None, "fresh_since": 0, "schedule_grace": None})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": None, "b": None}, "Exactly one of a and b must be given, got none. Say which."),
        ({"a": 1, "b": "", "c": None}, "Exactly one of a, b and c must be given, got a and b."),
    ],
)
def test_parameters_that_exclude_each_other_are_named_with_those_that_are_given(values, message):
    with pytest.raises(ValueError, match="Exactly one of") as refused:
        check_exactly_one(values, "Say which.")
    assert str(refused.value) == message
