"""Detects connections whose calls would use a different AWS identity than the author intended."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from airflow_provider_kendra._text import plain

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper
    from airflow.providers.common.compat.sdk import Connection

_UNREADABLE_EXTRA = "has an extra that is not a valid JSON object. Correct it."
_UNENCODED = (
    "has a URI whose password is not percent-encoded: / in a password is %2F, # is %23, ? is %3F. Or the @ after the "
    "password is missing."
)

_PAIR = ("aws_access_key_id", "aws_secret_access_key")


def fault_of(connection: Connection) -> str | None:
    """
    Return what is wrong with a connection, as the end of a sentence without credentials; None if nothing is.

    The Amazon provider ignores most of these faults and uses the credentials that boto3 finds on the machine; with some
    others, an error message would show a credential or part of it.

    :param connection: The connection.
    """
    if fault := _fault_of_type(connection):
        return fault
    extra = _extra_of(connection.extra)
    if extra is None:
        return _UNREADABLE_EXTRA
    return (
        _fault_of_role(extra)
        or _fault_of_names(extra)
        or _fault_of_credential_types(connection, extra)
        or _fault_of_credentials(connection, extra)
        or _fault_of_characters(connection, extra)
        or _fault_of_urls(extra)
    )


def is_unreadable(text: str) -> bool:
    """
    Whether the text of a connection is neither JSON nor a URI.

    :param text: The value of its environment variable, "" for none.
    """
    text = text.strip()
    if text.startswith("{"):
        return _json_object(text) is None
    return bool(text) and (re.match(r"[A-Za-z][\w+.-]*://", text) is None or _query_of(text) is None)


def fault_of_text(text: str) -> str | None:
    """
    Return why Airflow may report a readable connection as not defined, as the end of a sentence; None if it does not.

    :param text: The value of its environment variable, "" for none.
    """
    text = text.strip()
    if not text.startswith("{"):
        extra = (_query_of(text) or {}).get("__extra__")
        return _UNENCODED if _has_unencoded_password(text) else _fault_of_extra(extra)
    values = _json_object(text) or {}
    return _fault_of_extra(values.get("extra")) or _fault_of_types("", values, ("login", "password"))


def _fault_of_extra(extra: object) -> str | None:
    return _UNREADABLE_EXTRA if extra and _extra_of(extra) is None else None


def _has_unencoded_password(uri: str) -> bool:
    """Whether a password in a URI has an unencoded character at which parsers end the user information too early."""
    try:
        parts = urlsplit(uri)
        _ = parts.port  # Python parses it only now
    except ValueError:
        return True
    _, _, rest = uri.partition(parts.netloc) if parts.netloc else ("", "", "")
    return ":" in parts.netloc and "@" not in parts.netloc and "@" in rest


def _query_of(uri: str) -> Mapping[str, str] | None:
    """Parse the query of a URI; None if Python rejects the URI with an error that quotes it."""
    try:
        return dict(parse_qsl(urlsplit(uri).query))
    except ValueError:
        return None


def _fault_of_type(connection: Connection) -> str | None:
    conn_type = connection.conn_type
    if not conn_type and (connection.host or connection.schema):
        return "has a host but no type: is it a URI without aws:// at the start? Correct it."
    if not conn_type or conn_type.lower() == "aws":
        return None
    # It may be part of a URI with a password.
    shown = repr(conn_type) if re.fullmatch(r"[a-z0-9_-]{1,40}", conn_type, re.IGNORECASE) else "another one"
    return f"has the type {shown}, but must have the type 'aws'. Correct the type, or use another connection."


def _fault_of_role(extra: Mapping[str, Any]) -> str | None:
    for name, start in (("role_arn", "arn:"), ("profile_name", "")):
        value = extra.get(name)
        if value is None or (isinstance(value, str) and value.strip() and value.startswith(start)):
            continue
        what = "the ARN of a role" if start else "the name of a profile"
        return f"has a {name} in its extra that is not {what} as text. Correct it, or leave it out."
    return None


_UNREAD_NAMES = ("aws_account_id", "aws_iam_role", "extra", "profile", "s3_config_file")


def _fault_of_names(extra: Mapping[str, Any]) -> str | None:
    """Find an identity under a name that the Amazon provider does not read."""
    session = extra.get("session_kwargs")
    in_session = [name for name in session if name not in extra] if isinstance(session, Mapping) else []
    for name in (*extra, *in_session):
        is_elsewhere = name in in_session and name in ("profile_name", "role_arn")
        if is_elsewhere or name in _UNREAD_NAMES or name.startswith("extra__"):
            return (
                f"has {plain(name, 60)} in its extra, where the Amazon provider does not read it. Use role_arn or "
                "profile_name at the top of the extra, or leave it out."
            )
        if name.startswith("assume_role") and not extra.get("role_arn"):
            return f"has {plain(name, 60)} without role_arn in its extra. Add role_arn, or remove {plain(name, 60)}."
    return None


def _fault_of_credential_types(connection: Connection, extra: Mapping[str, Any]) -> str | None:
    """Find a credential that is not text: botocore fails on it only later, with an error that seems transient."""
    session = extra.get("session_kwargs")
    names = (*_PAIR, "aws_session_token")
    return (
        _fault_of_types("", {"login": connection.login, "password": connection.password}, ("login", "password"))
        or _fault_of_types(" in its extra", extra, names)
        or _fault_of_types(" in session_kwargs of its extra", session if isinstance(session, Mapping) else {}, names)
    )


def _fault_of_types(place: str, values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        value = values.get(name)
        if value is not None and not isinstance(value, str):
            return f"has {name}{place} of type {type(value).__name__}, but it must be text. Put it in double quotes."
    return None


def _fault_of_credentials(connection: Connection, extra: Mapping[str, Any]) -> str | None:
    """Find an incomplete pair of credentials, if no other pair is complete."""
    session = extra.get("session_kwargs")
    places = [extra, session if isinstance(session, Mapping) else {}]
    if (connection.login and connection.password) or any(all(place.get(name) for name in _PAIR) for place in places):
        return None
    if connection.login:
        return "has a login without a password. Add the password, or remove the login."
    if connection.password:
        return "has a password without a login. Add the login, or remove the password."
    for place in places:
        for given, missing in (_PAIR, reversed(_PAIR), ("aws_session_token", " and ".join(_PAIR))):
            if place.get(given):
                return f"has {given} without {missing} in its extra. Add {missing}, or remove {given}."
    host = connection.host or ""
    is_key = re.fullmatch(r"A[KS]IA\w{7,}", host, re.IGNORECASE) or (
        connection.port and re.fullmatch(r"(?!localhost$)\w+", host)
    )
    if is_key or "@" in f"{host}{connection.schema or ''}":
        return (
            "has no login, but part of one seems to be in its host, port or schema. Its URI must be percent-encoded: / "
            "in a password is %2F, # is %23, ? is %3F. If no login is meant, leave host, port and schema out."
        )
    return None


def _fault_of_characters(connection: Connection, extra: Mapping[str, Any]) -> str | None:
    """
    Find a credential with characters that credentials cannot contain.

    With a line break, the header's error would quote the credential in full.
    """
    session = extra.get("session_kwargs")
    # A login without a password is not used.
    given = [("login", connection.login), ("password", connection.password)] if connection.password else []
    places = [extra, session if isinstance(session, Mapping) else {}]
    given += [(name, place.get(name)) for place in places for name in (*_PAIR, "aws_session_token")]
    for name, value in given:
        if isinstance(value, str) and re.fullmatch(r"[!-~]*", value) is None:
            return f"has whitespace, or another character that credentials do not have, in its {name}. Correct it."
    return None


def _fault_of_urls(extra: Mapping[str, Any]) -> str | None:
    """Find a URL whose password botocore would show in part, because it reads that part as path or fragment."""
    config = extra.get("config_kwargs")
    proxies = config.get("proxies") if isinstance(config, Mapping) else None
    if proxies is not None and not isinstance(proxies, Mapping):
        return (
            "has proxies in its extra that are not a mapping of scheme to URL, such as {'https': 'http://proxy:3128'}."
        )
    urls = {"endpoint_url": endpoints_of(extra), "proxy": list((proxies or {}).values())}
    for name, values in urls.items():
        if any(map(is_misread_url, values)):
            return f"has a URL in its extra ({name}) that is not percent-encoded: # in a password is %23, / is %2F."
    return None


def _extra_of(extra: object) -> Mapping[str, Any] | None:
    if isinstance(extra, Mapping):
        return extra
    text = extra.strip() if isinstance(extra, str) else ""
    return _json_object(text) if text else {}


def _json_object(text: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def endpoints_of(extra: Mapping[str, Any]) -> list[Any]:
    """
    Collect the endpoint URLs in a connection's extra, for all services and for single ones.

    :param extra: The extra.
    """
    services = extra.get("service_config")
    each = services.values() if isinstance(services, Mapping) else ()
    return [extra.get("endpoint_url"), *(one.get("endpoint_url") for one in each if isinstance(one, Mapping))]


def endpoint_for_logs(connection: AwsConnectionWrapper) -> str | None:
    """
    Return the endpoint of CloudWatch Logs: that of the connection, unless it is one of Kendra's own.

    :param connection: The connection.
    """
    endpoint = connection.get_service_endpoint_url("logs")
    host = urlsplit(endpoint or "").hostname or ""
    is_of_kendra = host.endswith((".amazonaws.com", ".api.aws")) and re.search(r"(^|\.)kendra[.-]", host)
    return None if is_of_kendra else endpoint


def is_misread_url(url: object) -> bool:
    """
    Whether parsers would read part of a URL's user information as path or fragment.

    :param url: The URL of a proxy or an endpoint.
    """
    if not isinstance(url, str):
        return False
    user_information, _, _ = (url.partition("//")[2] or url).rpartition("@")
    return re.search(r"[#/?\s'\"]", user_information) is not None
