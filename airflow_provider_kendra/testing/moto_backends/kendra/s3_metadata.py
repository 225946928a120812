"""Reads the metadata files and the access control file of S3 data sources."""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from .documents import Attributes

#: The types, lengths and keys of the service model: ContentType, DocumentId, DocumentAttributeStringValue,
#: PrincipalName, DocumentAttributeKey.
CONTENT_TYPES = (
    "PDF", "HTML", "MS_WORD", "PLAIN_TEXT", "PPT", "RTF", "XML", "XSLT", "MS_EXCEL", "CSV", "JSON", "MD",
)  # fmt: skip

DATES = ("_created_at", "_last_updated_at")
MAX_ID = 2048
MAX_STRING = 2048
MAX_LIST = 10  # "Maximum string list size per query attribute" in the quotas of the developer guide
MAX_NAME = 200
ATTRIBUTE_KEY = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_-]{0,199}")


class InvalidFile(Exception):
    """The content of a file does not have the form that the developer guide describes."""

    def __init__(self, message: str, document_id: str | None = None) -> None:
        super().__init__(message)
        self.document_id = document_id


@dataclass(frozen=True)
class Metadata:
    """The content of a metadata file; `None` or empty for what it does not contain."""

    document_id: str | None = None
    title: str | None = None
    content_type: str | None = None
    attributes: Attributes = field(default_factory=dict)
    access: list[dict[str, Any]] | None = None


def read_metadata(content: bytes) -> Metadata:
    """
    Read a metadata file. Source: "Amazon S3 document metadata" in Kendra's developer guide.

    :raises InvalidFile: if it is not valid.
    """
    parsed = _parsed(content)
    if not isinstance(parsed, dict):
        raise InvalidFile("it is not a JSON object")
    document_id = _text(parsed, "DocumentId", MAX_ID)
    try:
        content_type = _text(parsed, "ContentType", MAX_STRING)
        if content_type is not None and content_type not in CONTENT_TYPES:
            raise InvalidFile(f"ContentType is '{content_type}'")
        attributes = parsed.get("Attributes", {})
        if not isinstance(attributes, dict):
            raise InvalidFile("Attributes is not a JSON object")
        return Metadata(
            document_id=document_id,
            title=_text(parsed, "Title", None),
            content_type=content_type,
            attributes={key: _attribute(key, value) for key, value in attributes.items()},
            access=_principals(parsed["AccessControlList"]) if "AccessControlList" in parsed else None,
        )
    except InvalidFile as error:
        error.document_id = document_id
        raise


def read_access(content: bytes) -> list[tuple[str, list[dict[str, Any]]]]:
    """
    Read an access control file: its prefixes and their entries. Source: "Access control for Amazon S3 data sources".

    :raises InvalidFile: if it is not valid.
    """
    parsed = _parsed(content)
    if not isinstance(parsed, list):
        raise InvalidFile("it is not a JSON array")
    access = []
    for each in parsed:
        if not isinstance(each, dict) or not isinstance(each.get("keyPrefix"), str):
            raise InvalidFile("an item has no keyPrefix")
        access.append((each["keyPrefix"], _principals(each.get("aclEntries"))))
    return access


def _parsed(content: bytes) -> Any:
    """Parse JSON. The developer guide asks for UTF-8 without a byte order mark."""
    try:
        text = content.decode()
        parsed = json.loads(text)
        json.dumps(parsed, ensure_ascii=False).encode()  # fails for lone surrogates
    except (ValueError, RecursionError):
        raise InvalidFile("it is not JSON in UTF-8 without a byte order mark") from None
    return parsed


def _text(parsed: dict[str, Any], name: str, longest: int | None) -> str | None:
    if name not in parsed:
        return None
    value = parsed[name]
    if not isinstance(value, str) or not value or (longest is not None and len(value) > longest):
        raise InvalidFile(f"{name} is not a string" + (f" of 1 to {longest} characters" if longest else ""))
    return value


def _attribute(key: str, value: Any) -> dict[str, Any]:
    """
    Return the value as BatchPutDocument takes it.

    A text that is a complete date and time with a time zone is a date, also in custom attributes.
    """
    if not ATTRIBUTE_KEY.fullmatch(key):
        raise InvalidFile(f"'{key}' can't be the key of an attribute")
    if key in DATES:
        return {"DateValue": _date(key, value)}
    if isinstance(value, str) and 0 < len(value) <= MAX_STRING:
        moment = _moment(value)
        return {"DateValue": moment.timestamp()} if moment is not None and moment.tzinfo else {"StringValue": value}
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return {"LongValue": value}
    if isinstance(value, list) and len(value) <= MAX_LIST and all(isinstance(each, str) for each in value):
        return {"StringListValue": value}
    raise InvalidFile(f"the attribute '{key}' is not a string, an integer, or a list of at most {MAX_LIST} strings")


def _date(key: str, value: Any) -> float:
    moment = _moment(value) if isinstance(value, str) else None
    if moment is None:
        raise InvalidFile(f"the attribute '{key}' is not an ISO 8601 date")
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _moment(value: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
        moment.timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return moment


def _principals(parsed: Any) -> list[dict[str, Any]]:
    if not isinstance(parsed, list):
        raise InvalidFile("an access control list is not a JSON array")
    for each in parsed:
        name = each.get("Name") if isinstance(each, dict) else None
        is_valid = (
            isinstance(name, str)
            and 0 < len(name) <= MAX_NAME
            and each.get("Type") in ("USER", "GROUP")
            and each.get("Access") in ("ALLOW", "DENY")
        )
        if not is_valid:
            raise InvalidFile("an item of an access control list is not valid")
    return [{name: each[name] for name in ("Name", "Type", "Access")} for each in parsed]
