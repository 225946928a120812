"""The documents of a BatchPutDocument request."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from . import crawler
from .documents import MAX_DOCUMENT_BYTES, MAX_TEXT_BYTES, Document, Problem, extract_text
from .exceptions import SerializationException, ValidationException

VALUES = ("StringValue", "StringListValue", "LongValue", "DateValue")


class InvalidDocument(Exception):
    """A document that the response lists among FailedDocuments."""

    def __init__(self, message: str, code: str = "InvalidRequest") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Put:
    """A document to add, the data source and sync job that it names, and why it can't be added at all."""

    document: Document
    data_source_id: str | None
    execution_id: str | None
    objection: str | None = None


def read_put(request: dict[str, Any], account_id: str, partition: str) -> Put:
    """Read a document from its request."""
    attributes = _attributes(request)
    given = {key: value.get("StringValue") for key, value in attributes.items()}
    problem, objection, body = None, None, b""
    if ("Blob" in request) == ("S3Path" in request):
        objection = "A document must have either Blob or S3Path"
    elif "Blob" in request:
        body = _decoded(request["Blob"])
    else:
        try:
            body = crawler.read_object(account_id, partition, request["S3Path"]["Bucket"], request["S3Path"]["Key"])
        except crawler.CrawlError as error:
            problem = Problem(str(error))
    if len(body) > MAX_DOCUMENT_BYTES:
        objection = f"The document is larger than {MAX_DOCUMENT_BYTES} bytes"
    content_type = request.get("ContentType", "PLAIN_TEXT")
    text = "" if objection else extract_text(body, content_type)
    if len(text.encode()) > MAX_TEXT_BYTES:
        text, problem = "", Problem(f"The document has more than {MAX_TEXT_BYTES} bytes of text")
    document = Document(
        id=request["Id"],
        title=request.get("Title", "") or given.get("_document_title") or "",
        source_uri=given.get("_source_uri") or "",
        content_type=content_type,
        text=text,
        attributes=attributes,
        access=request.get("AccessControlList", []),
        problem=problem,
    )
    return Put(document, given.get("_data_source_id"), given.get("_data_source_sync_job_execution_id"), objection)


def failure(document_id: str, data_source_id: str | None, refused: InvalidDocument) -> dict[str, Any]:
    """Return an item of FailedDocuments."""
    item = {"Id": document_id, "ErrorCode": refused.code, "ErrorMessage": str(refused)}
    return item | ({"DataSourceId": data_source_id} if data_source_id else {})


def _attributes(request: dict[str, Any]) -> dict[str, dict[str, Any]]:
    attributes = {}
    for attribute in request.get("Attributes", []):
        value = attribute["Value"]
        if len(value) != 1:
            raise ValidationException(
                f"The attribute '{attribute['Key']}' of document '{request['Id']}' must have exactly one of "
                f"{', '.join(VALUES)}"
            )
        if attribute["Key"] in attributes:
            raise ValidationException(f"Document '{request['Id']}' has the attribute '{attribute['Key']}' twice")
        attributes[attribute["Key"]] = value
    return attributes


def _decoded(blob: str) -> bytes:
    try:
        return base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        raise SerializationException("Blob is not valid base64") from None
