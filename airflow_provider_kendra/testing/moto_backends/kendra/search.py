"""Query and Retrieve over the documents of an index."""

from typing import Any

from .documents import Document

Found = list[tuple[str | None, Document]]


def default_metadata() -> list[dict[str, Any]]:
    """Return the document attributes that every index has."""
    return []


def query(documents: Found, request: dict[str, Any]) -> dict[str, Any]:
    """Answer Query."""
    return {"QueryId": "", "ResultItems": [], "FacetResults": [], "TotalNumberOfResults": 0}


def retrieve(documents: Found, request: dict[str, Any]) -> dict[str, Any]:
    """Answer Retrieve."""
    return {"QueryId": "", "ResultItems": []}
