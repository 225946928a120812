"""Splits documents into BatchPutDocument and BatchDeleteDocument calls, and selects those to send again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_kendra._text import plain

DOCUMENTS_IN_BATCH = 10
"""The maximum number of documents that BatchPutDocument and BatchDeleteDocument take in one call."""

BYTES_IN_BATCH = 50_000_000
"""
The maximum number of bytes of ``Blob`` in one call. Kendra states a limit of 50 MB for a document and none for a call,
so a larger document is sent in a call of its own, for Kendra to accept or reject.
"""

LONGEST_DOCUMENT_ID = 2_048
"""The maximum number of characters of a document's id."""

_SURROGATE = re.compile("[\ud800-\udfff]")

Document = dict[str, Any]
Failure = dict[str, Any]


def check_documents(documents: object) -> Iterable[object]:
    """
    Validate an iterable of documents and return it.

    :param documents: What the DAG author passed.
    :raises ValueError: if it is not a list or other iterable of documents.
    """
    if isinstance(documents, Mapping):
        raise ValueError("documents is a single document, but must be a list of documents: pass [document].")
    if isinstance(documents, str | bytes | bytearray) or not isinstance(documents, Iterable):
        kind = type(documents).__name__
        raise ValueError(f"documents is of type {kind}, but must be a list, or other iterable, of mappings.")
    return documents


def prepare(documents: Iterable[object], attributes: Mapping[str, str]) -> Iterator[Document]:
    """
    Check each document when it is read, and add the attributes to a copy of it.

    :param documents: ``Document`` structures of BatchPutDocument.
    :param attributes: String attributes that replace those of the same key.
    :raises ValueError: naming the position of a document that can't be sent. Its contents are not shown.
    """
    for position, document in enumerate(documents):
        name = f"documents[{position}]"
        if not isinstance(document, Mapping):
            kind = type(document).__name__
            raise ValueError(f"{name} is of type {kind}, but must be a mapping such as {{'Id': …, 'Blob': …}}.")
        document_id = document.get("Id")
        if document_id in (None, ""):
            raise ValueError(f"{name} has no Id. Give each document the Id that it has in the index.")
        if not isinstance(document_id, str):
            raise ValueError(f"{name} has an Id of type {type(document_id).__name__}, but it must be text.")
        if "Blob" in document:
            _check_blob(name, document["Blob"])
        given = document.get("Attributes") or ()
        _check_attributes(name, given)
        kept = [attribute for attribute in given if attribute.get("Key") not in attributes]
        added = [{"Key": key, "Value": {"StringValue": value}} for key, value in attributes.items()]
        yield {**document, "Attributes": [*kept, *added]}


def _check_blob(name: str, blob: object) -> None:
    if not isinstance(blob, bytes | bytearray | str):
        raise ValueError(f"{name} has a Blob of type {type(blob).__name__}, but it must be bytes.")
    if isinstance(blob, str) and _SURROGATE.search(blob):
        raise ValueError(f"{name} has a Blob with a surrogate, which UTF-8 cannot encode. Pass bytes.")


def _check_attributes(name: str, attributes: object) -> None:
    if not isinstance(attributes, list | tuple) or not all(isinstance(each, Mapping) for each in attributes):
        raise ValueError(f"{name} has Attributes that are not a list of {{'Key': …, 'Value': …}}.")
    for position, attribute in enumerate(attributes):
        key = attribute.get("Key", "")
        if not isinstance(key, str):
            kind = type(key).__name__
            raise ValueError(f"{name}.Attributes[{position}] has a Key of type {kind}, but it must be text.")


def check_document_ids(document_ids: object) -> Iterator[Document]:
    """
    Check ids when they are read, and return each as a document with only an ``Id``.

    :param document_ids: What the DAG author passed.
    :raises ValueError: if it is not an iterable of ids, or if one is not a valid id; the error names its position.
    """
    if isinstance(document_ids, str | bytes | bytearray | Mapping) or not isinstance(document_ids, Iterable):
        kind = type(document_ids).__name__
        raise ValueError(f"document_ids is of type {kind}, but must be a list, or other iterable, of ids.")
    return _each_id(document_ids)


def _each_id(document_ids: Iterable[object]) -> Iterator[Document]:
    for position, document_id in enumerate(document_ids):
        if not isinstance(document_id, str) or not 1 <= len(document_id) <= LONGEST_DOCUMENT_ID:
            # What was passed as an id can be a document, or its text.
            kind = type(document_id).__name__
            what = f"text of {len(document_id)} characters" if isinstance(document_id, str) else f"of type {kind}"
            raise ValueError(
                f"document_ids[{position}] is {what}, but must be text of 1 to {LONGEST_DOCUMENT_ID} characters."
            )
        yield {"Id": document_id}


def status_by_id(response: Mapping[str, Any]) -> dict[str, dict[str, str | None]]:
    """
    Return the status of each document of a response of BatchGetDocumentStatus, by id.

    :param response: The response.
    """
    found = {
        each["DocumentId"]: {
            "status": each.get("DocumentStatus"),
            "failure_code": each.get("FailureCode"),
            "failure_reason": each.get("FailureReason"),
        }
        for each in response.get("DocumentStatusList") or ()
        if each.get("DocumentId")
    }
    errors = {
        each["DocumentId"]: {
            "status": "ERROR",
            "failure_code": each.get("ErrorCode"),
            "failure_reason": each.get("ErrorMessage"),
        }
        for each in response.get("Errors") or ()
        if each.get("DocumentId")
    }
    return {
        document_id: {name: None if text is None else plain(text) for name, text in status.items()}
        for document_id, status in {**found, **errors}.items()
    }


def batches_of(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """
    Divide documents into batches, in order, each as large as one call may be.

    :param documents: Consumed lazily, at most one document beyond the current batch.
    """
    batch: list[Document] = []
    size = 0
    for document in documents:
        added = _size(document)
        if batch and size + added > BYTES_IN_BATCH:
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += added
        if len(batch) == DOCUMENTS_IN_BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _size(document: Document) -> int:
    blob = document.get("Blob") or b""
    if isinstance(blob, str):
        return len(blob.encode(errors="surrogatepass"))
    return len(blob) if isinstance(blob, bytes | bytearray) else 0


def sort_failures(batch: Sequence[Document], failed: Iterable[Failure]) -> tuple[list[Document], list[Failure]]:
    """
    Return the documents to send again, and the failures that are final.

    ``InternalError`` is worth a retry. Without an Id it can mean any document of the batch. Then all documents without
    another error are sent again, which is harmless: a document replaces the one with the same Id.

    :param batch: The documents that were sent.
    :param failed: ``FailedDocuments`` of the response.
    """
    failed = list(failed)
    sent = {document["Id"] for document in batch}
    internal = {failure.get("Id") or None for failure in failed if _is_internal(failure)}
    again = internal & sent
    if None in internal:
        again |= sent - {failure.get("Id") for failure in failed}
    kept = [
        failure
        for failure in failed
        if failure.get("Id") not in again and not (again and _is_internal(failure) and not failure.get("Id"))
    ]
    return [document for document in batch if document["Id"] in again], kept


def _is_internal(failure: Failure) -> bool:
    return bool(failure.get("ErrorCode") == "InternalError")
