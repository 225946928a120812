"""
Query and Retrieve over the documents of an index.

The ranking is a stand-in, see :mod:`.ranking`. Not supported: Kendra's query syntax (a query is read as words),
answers and FAQs (all results are of type DOCUMENT), relevance tuning, spell correction, user tokens, hierarchical
access control lists. CollapseConfiguration is refused.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from moto.moto_api._internal import mock_random

from . import ranking
from .documents import Document
from .exceptions import ValidationException
from .filters import Candidate, keys, matcher, principals_of_context

Found = list[tuple[str | None, Document]]
Fields = Mapping[str, dict[str, Any]]

#: From the API reference of Query, Retrieve, SortingConfiguration and Facet.
MAX_RESULTS = 100
MAX_SORT_FIELDS = 3
MAX_FACET_VALUES = 10
DEFAULT_PAGE_SIZE = 10
QUERY_WORDS = 100  # of a passage
RETRIEVE_WORDS = 200
MAX_SHOWN = 2048  # characters of an excerpt and of a Url, in the service model

#: The lowest share of the best score that has this confidence. A stand-in: Kendra's rule is not public.
CONFIDENCE = ((0.75, "VERY_HIGH"), (0.5, "HIGH"), (0.25, "MEDIUM"), (0.0, "LOW"))

KINDS = {
    "STRING_VALUE": "StringValue",
    "STRING_LIST_VALUE": "StringListValue",
    "LONG_VALUE": "LongValue",
    "DATE_VALUE": "DateValue",
}
_URL = re.compile(r"(https?|ftp|file)://\S*")


def default_metadata() -> list[dict[str, Any]]:
    """
    Return the fields that every index has.

    Their names and meaning: "Using Amazon Kendra reserved or common document fields" in Kendra's developer guide. Their
    flags: what Terraform's documentation of `aws_kendra_index` gives for a new index.
    """
    string: dict[str, Any] = {"ValueImportanceMap": {}}
    date: dict[str, Any] = {"Freshness": False, "Duration": "25920000s", "RankOrder": "ASCENDING"}
    number: dict[str, Any] = {"RankOrder": "ASCENDING"}
    return [
        _field("_authors", "STRING_LIST_VALUE", {}, sortable=False),
        _field("_category", "STRING_VALUE", string),
        _field("_created_at", "DATE_VALUE", date),
        _field("_data_source_id", "STRING_VALUE", string),
        _field("_document_title", "STRING_VALUE", string, importance=2, displayable=True, searchable=True),
        _field("_excerpt_page_number", "LONG_VALUE", number, importance=2, sortable=False),
        _field("_faq_id", "STRING_VALUE", string),
        _field("_file_type", "STRING_VALUE", string),
        _field("_language_code", "STRING_VALUE", string),
        _field("_last_updated_at", "DATE_VALUE", date),
        _field("_source_uri", "STRING_VALUE", string, displayable=True, sortable=False),
        _field("_tenant_id", "STRING_VALUE", string),
        _field("_version", "STRING_VALUE", string),
        _field("_view_count", "LONG_VALUE", number),
    ]


def _field(
    name: str,
    kind: str,
    relevance: dict[str, Any],
    *,
    importance: int = 1,
    displayable: bool = False,
    searchable: bool = False,
    sortable: bool = True,
) -> dict[str, Any]:
    flags = {"Facetable": False, "Searchable": searchable, "Displayable": displayable, "Sortable": sortable}
    return {"Name": name, "Type": kind, "Relevance": {"Importance": importance} | relevance, "Search": flags}


def query(documents: Found, request: dict[str, Any], *, fields: Fields, languages: Mapping[str, str]) -> dict[str, Any]:
    """
    Answer Query with the best passage of each document that matches.

    Without `QueryText` every document matches. As in the real service, documents that are not in English are left out
    unless the filter has `_language_code`.

    :param fields: The fields of the index by name.
    :param languages: By data source id, the language of documents without `_language_code`. Default: English.
    """
    if request.get("CollapseConfiguration"):
        raise ValidationException("The local Kendra does not support CollapseConfiguration")
    sort_keys = _sort_keys(request, fields)
    page = _page(request)
    candidates = _candidates(documents, request, fields, languages)
    if request.get("QueryResultTypeFilter", "DOCUMENT") != "DOCUMENT":
        candidates = []
    texts = [(each.document.title, each.document.text) for each in candidates]
    best: dict[int, ranking.Hit] = {}
    for hit in ranking.find(texts, request.get("QueryText"), words_per_passage=QUERY_WORDS):
        best.setdefault(hit.place, hit)
    found = _sorted([(hit, candidates[hit.place]) for hit in best.values()], sort_keys)
    query_id = str(mock_random.uuid4())
    confidence, shown = _confidence(best.values()), _displayed(request, fields)
    facets = [_facet(each, [candidate for _, candidate in found], fields) for each in request.get("Facets", [])]
    return {
        "QueryId": query_id,
        "ResultItems": [
            _query_item(query_id, hit, candidate, shown(candidate)) | confidence(hit)
            for hit, candidate in found[:MAX_RESULTS][page]
        ],
        "FacetResults": facets,
        "TotalNumberOfResults": len(found),
    }


def retrieve(
    documents: Found, request: dict[str, Any], *, fields: Fields, languages: Mapping[str, str]
) -> dict[str, Any]:
    """Answer Retrieve with the passages that match, which can be several of one document. See :func:`query`."""
    page = _page(request)
    candidates = _candidates(documents, request, fields, languages)
    texts = [(each.document.title, each.document.text) for each in candidates]
    hits = [hit for hit in ranking.find(texts, request["QueryText"], words_per_passage=RETRIEVE_WORDS) if hit.text]
    query_id = str(mock_random.uuid4())
    confidence, shown = _confidence(hits), _displayed(request, fields)
    items = []
    for hit in hits[:MAX_RESULTS][page]:
        candidate = candidates[hit.place]
        title, content = ranking.read_marks(hit.title)[0], ranking.read_marks(hit.text)[0]
        described = _described(query_id, candidate, shown(candidate))
        items.append(described | {"DocumentTitle": title, "Content": content} | confidence(hit))
    return {"QueryId": query_id, "ResultItems": items}


def _candidates(
    documents: Found, request: dict[str, Any], fields: Fields, languages: Mapping[str, str]
) -> list[Candidate]:
    """Return the documents that pass the filter and that the user may read."""
    attribute_filter = request.get("AttributeFilter")
    principals = principals_of_context(request.get("UserContext") or {})
    passes = matcher(attribute_filter, fields) if attribute_filter is not None else None
    is_english_only = attribute_filter is None or "_language_code" not in keys(attribute_filter)
    candidates = (Candidate(each, source_id, languages.get(source_id or "", "en")) for source_id, each in documents)
    return [
        candidate
        for candidate in candidates
        if (passes is None or passes(candidate))
        and (principals is None or principals.may_read(candidate))
        and (not is_english_only or candidate.attributes["_language_code"].get("StringValue") == "en")
    ]


def _page(request: dict[str, Any]) -> slice:
    number, size = request.get("PageNumber", 1), request.get("PageSize", DEFAULT_PAGE_SIZE)
    for name, value in (("PageNumber", number), ("PageSize", size)):
        if value < 1:
            raise ValidationException(f"{name} must be at least 1, not {value}")
    size = min(size, MAX_RESULTS)
    return slice((number - 1) * size, number * size)


def _sort_keys(request: dict[str, Any], fields: Fields) -> list[tuple[str, str, bool]]:
    """Return what to sort by, most important first: each attribute, the kind of its value, and whether descending."""
    one, several = request.get("SortingConfiguration"), request.get("SortingConfigurations") or []
    sorting = several or ([one] if one else [])
    if len(sorting) > MAX_SORT_FIELDS:
        raise ValidationException(f"SortingConfigurations can't have more than {MAX_SORT_FIELDS} fields")
    sort_keys = []
    for each in sorting:
        key = each["DocumentAttributeKey"]
        _check_flag(key, "Sortable", fields)
        kind = KINDS[fields[key]["Type"]]
        if kind == "StringListValue":
            raise ValidationException(f"Results can't be sorted by '{key}', which is a list of strings")
        sort_keys.append((key, kind, each["SortOrder"] == "DESC"))
    return sort_keys


def _sorted(
    found: list[tuple[ranking.Hit, Candidate]], sort_keys: list[tuple[str, str, bool]]
) -> list[tuple[ranking.Hit, Candidate]]:
    """Sort results; those without a value come last, and equal ones stay sorted by relevance."""
    for key, kind, descending in reversed(sort_keys):
        values = [candidate.attributes.get(key, {}).get(kind) for _, candidate in found]
        having = [(value, result) for value, result in zip(values, found, strict=True) if value is not None]
        lacking = [result for value, result in zip(values, found, strict=True) if value is None]
        having.sort(key=lambda pair: pair[0], reverse=descending)
        found = [result for _, result in having] + lacking
    return found


def _check_flag(key: str, flag: str, fields: Fields) -> None:
    if key not in fields:
        raise ValidationException(f"'{key}' is not a field of the index: add it with UpdateIndex")
    if not fields[key].get("Search", {}).get(flag, False):
        raise ValidationException(f"The field '{key}' is not {flag}: change it with UpdateIndex")


def _facet(facet: dict[str, Any], candidates: list[Candidate], fields: Fields) -> dict[str, Any]:
    """Count the documents that have each value of an attribute, the most frequent first."""
    key = facet.get("DocumentAttributeKey")
    nested = facet.get("Facets", [])
    if len(nested) > 1 or any(inner.get("Facets") for inner in nested):
        raise ValidationException("A facet can have only one nested facet")
    if key is None:
        raise ValidationException("DocumentAttributeKey is required in Facets")
    _check_flag(key, "Facetable", fields)
    having: dict[tuple[str, Any], list[Candidate]] = {}
    for candidate in candidates:
        for kind, value in candidate.attributes.get(key, {}).items():
            for each in dict.fromkeys(value) if isinstance(value, list) else [value]:
                having.setdefault(("StringValue" if isinstance(value, list) else kind, each), []).append(candidate)
    counts = Counter({value: len(each) for value, each in having.items()})
    pairs = []
    for (kind, value), count in counts.most_common(facet.get("MaxResults", MAX_FACET_VALUES)):
        pair: dict[str, Any] = {"DocumentAttributeValue": {kind: value}, "Count": count}
        if nested:
            pair["FacetResults"] = [_facet(each, having[kind, value], fields) for each in nested]
        pairs.append(pair)
    return {
        "DocumentAttributeKey": key,
        "DocumentAttributeValueType": fields[key]["Type"],
        "DocumentAttributeValueCountPairs": pairs,
    }


def _confidence(hits: Iterable[ranking.Hit]) -> Callable[[ranking.Hit], dict[str, Any]]:
    """Return the function that rates a result by its share of the best score."""
    best = max((hit.score or 0 for hit in hits), default=0)

    def rate(hit: ranking.Hit) -> dict[str, Any]:
        if hit.score is None or best <= 0:
            return {"ScoreAttributes": {"ScoreConfidence": "NOT_AVAILABLE"}}
        share = hit.score / best
        return {"ScoreAttributes": {"ScoreConfidence": next(name for lowest, name in CONFIDENCE if share >= lowest)}}

    return rate


def _displayed(request: dict[str, Any], fields: Fields) -> Callable[[Candidate], list[dict[str, Any]]]:
    """Return the function that lists those attributes of a document that the response shows."""
    requested = request.get("RequestedDocumentAttributes")

    def is_displayed(key: str) -> bool:
        if requested is not None and key not in requested:
            return False
        if key not in fields:
            return not key.startswith("_")
        return bool(fields[key].get("Search", {}).get("Displayable", True))

    return lambda candidate: [
        {"Key": key, "Value": value} for key, value in candidate.attributes.items() if is_displayed(key)
    ]


def _query_item(
    query_id: str, hit: ranking.Hit, candidate: Candidate, attributes: list[dict[str, Any]]
) -> dict[str, Any]:
    item = _described(query_id, candidate, attributes)
    title = {"DocumentTitle": _with_highlights(hit.title)} if hit.title else {}
    # The model wants an excerpt of at least one character, which a document without text does not have.
    excerpt = _with_highlights(hit.text or hit.title or ranking.clean(candidate.document.id))
    return item | title | {
        "Type": "DOCUMENT",
        "Format": "TEXT",
        "AdditionalAttributes": [],
        "DocumentExcerpt": excerpt,
        "FeedbackToken": item["Id"],
    }  # fmt: skip


def _described(query_id: str, candidate: Candidate, attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what results of Query and Retrieve have in common."""
    uri = candidate.document.source_uri
    item: dict[str, Any] = {"Id": f"{query_id}-{mock_random.uuid4()}", "DocumentId": candidate.document.id}
    if _URL.fullmatch(uri) and len(uri) <= MAX_SHOWN:
        item["DocumentURI"] = uri
    return item | {"DocumentAttributes": attributes}


def _with_highlights(marked: str) -> dict[str, Any]:
    text, spans = ranking.read_marks(marked)
    return {
        "Text": text[:MAX_SHOWN],
        "Highlights": [
            {"BeginOffset": begin, "EndOffset": end, "TopAnswer": False, "Type": "STANDARD"}
            for begin, end in spans
            if end <= MAX_SHOWN
        ],
    }
