"""No error shows a credential, whatever characters it has, or a value of a request."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from botocore.exceptions import HTTPClientError, ParamValidationError
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_kendra._text import make_plain, plain
from airflow_provider_kendra.exceptions import KendraRequestError
from airflow_provider_kendra.hooks._aws_errors import describe_error, hide_secrets, secrets_of
from airflow_provider_kendra.hooks.kendra import ErrorKind, KendraSyncJobsHook, classify_error, refusal
from tests.conftest import DataSource

TOKEN = "FwoGZXIvYXdzEBYaDPlanted0Token/+=="


def connection_with(secret: str) -> Any:
    return SimpleNamespace(
        extra_config={},
        password=None,
        aws_secret_access_key=None,
        aws_session_token=secret,
        endpoint_url=None,
        botocore_config=None,
    )


def header_error(secret: str) -> Exception:
    """What botocore raises for a header that can't be sent."""
    request = HTTPConnection("localhost")
    request.putrequest("GET", "/")
    try:
        request.putheader("X-Amz-Security-Token", secret)
    except Exception as error:
        return HTTPClientError(error=error)
    return HTTPClientError(error=ValueError(f"Invalid header value {secret!r}"))


ERRORS: dict[str, Callable[[str], Exception]] = {
    "header": header_error,
    "verbatim": lambda secret: OSError(5, f"token {secret}, and more"),
    "repr": lambda secret: ValueError(f"token {secret!r}"),
    "repr of bytes": lambda secret: ValueError(f"token {secret.encode(errors='replace')!r}"),
    "repr of a larger text": lambda secret: ValueError(repr(f"'token' {secret}")),
    "repr of a repr": lambda secret: ValueError(repr({"token": repr(secret)})),
    "JSON": lambda secret: ValueError(json.dumps({"token": secret})),
    "URL": lambda secret: HTTPClientError(error=OSError(urlencode({"token": secret}, errors="replace"))),
    "path of a URL": lambda secret: ValueError(quote(secret, errors="replace")),
    "stripped": lambda secret: ValueError(f"token {secret.strip()}"),
    "escaped": lambda secret: ValueError(f"token {plain(secret)}"),
}
ODD_TEXTS = st.text(
    st.sampled_from("aB7+/=\n\r\t \0\x7f'\"\\%é€\u200b\u2028\ud800") | st.characters(), min_size=8, max_size=60
)


@given(secret=ODD_TEXTS | st.builds("{}{}{}".format, st.just(TOKEN), ODD_TEXTS, st.just(TOKEN[::-1])))
@example(secret=f"{TOKEN}\n")
@example(secret=f" {TOKEN}")
@example(secret=f"{TOKEN}'\"\\\n{TOKEN[::-1]}")
@pytest.mark.parametrize("form", ERRORS)
def test_no_part_of_a_secret_with_odd_characters_is_shown(form: str, secret: str) -> None:
    error = ERRORS[form](secret)
    hide_secrets(error, secrets_of(connection_with(secret), None))
    make_plain(error)
    other = ERRORS[form]("%" * 8)
    usual = f"{''.join(traceback.format_exception(other))} {other!r}"
    written = f"{''.join(traceback.format_exception(error))} {error!r} {describe_error(error)}"
    parts = {secret[start : start + 8] for start in range(len(secret) - 7)}
    assert not [part for part in parts if part in written and part not in usual and "*" not in part]


@pytest.mark.parametrize("name", ["AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID"])
@pytest.mark.parametrize("odd", ["\n", "\r\n"])
def test_credentials_of_the_environment_that_no_header_can_have_end_a_wait_without_being_shown(
    data_source: DataSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, odd: str
) -> None:
    values = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "key", "AWS_DEFAULT_REGION": "us-east-1"}
    for key, value in {**values, "AWS_ENDPOINT_URL_KENDRA": data_source.kendra.url, name: TOKEN + odd}.items():
        monkeypatch.setenv(key, value)
    caplog.set_level(logging.INFO)
    with pytest.raises(HTTPClientError) as raised:
        KendraSyncJobsHook(aws_conn_id=None).list_sync_jobs(*data_source.ids)
    assert classify_error(raised.value) is ErrorKind.PERMANENT
    texts = [
        describe_error(raised.value),
        refusal(raised.value, "a history"),
        *traceback.format_exception(raised.value),
    ]
    assert "credentials" in texts[1]
    assert TOKEN not in "".join([*texts, caplog.text])


@pytest.mark.parametrize(
    ("report", "shown"),
    [
        (
            "Invalid type for parameter ExternalId, value: 12345678, type: <class 'int'>, valid types: <class 'str'>",
            "Invalid type for parameter ExternalId, valid types: <class 'str'>",
        ),
        (
            "Invalid length for parameter A, value: , valid min length: 1",
            "Invalid length for parameter A, valid min length: 1",
        ),
        ('Missing required parameter in input: "RoleArn"', 'Missing required parameter in input: "RoleArn"'),
        (
            "Invalid type for parameter A, value: 12345678, type: <class 'int'>, valid types: <class 'str'>\n"
            "Invalid type for parameter B, value: 12345678, type: <class 'int'>, valid types: <class 'list'>",
            "Invalid type for parameter A",
        ),
        (
            "Invalid type for parameter A, value: 12345678, valid 12345678, valid types: <class 'y'>",
            "Invalid type for parameter A, valid types: <class 'y'>",
        ),
    ],
)
def test_an_error_about_parameters_shows_no_value(report: str, shown: str) -> None:
    error = ParamValidationError(report=report)
    hide_secrets(error)
    assert str(error) == f"Parameter validation failed:\n{shown}"
    assert "12345678" not in repr(vars(error))


def test_the_parameters_of_a_role_are_not_shown(data_source: DataSource, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {
        "region_name": "us-east-1",
        "role_arn": "arn:aws:iam::123456789012:role/kendra",
        "assume_role_kwargs": {"ExternalId": 12345678},
    }
    connection = {"conn_type": "aws", "login": "key", "password": "testing", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
    with pytest.raises(KendraRequestError, match="Invalid type for parameter ExternalId, valid types") as raised:
        KendraSyncJobsHook("other").list_sync_jobs(*data_source.ids)
    assert "12345678" not in "".join(traceback.format_exception(raised.value))
