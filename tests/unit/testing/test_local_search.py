"""Query and Retrieve find what was synced or put, as Kendra's reference describes it."""

import json
import sqlite3
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_kendra.testing.moto_backends.kendra import ranking, search
from airflow_provider_kendra.testing.moto_backends.kendra.documents import Document
from tests.conftest import examples

HANDBOOK = {
    "handbook/holidays.txt": "Everybody has thirty days of holiday a year.",
    "handbook/expenses.txt": "Expenses are paid back within two weeks.",
    "handbook/travel.txt": "Trains come first, planes where there are no trains.",
}

IN_A_NEW_INDEX = {"fields": {each["Name"]: each for each in search.default_metadata()}, "languages": {}}


class Library:
    """An index that documents are put into directly."""

    def __init__(self, kendra):
        self.client = kendra.client()
        self.index_id = kendra.create_index()

    def put(self, document_id, text="text", *, access=None, **attributes):
        kinds = {str: "StringValue", list: "StringListValue", int: "LongValue"}
        listed = [{"Key": key, "Value": {kinds[type(value)]: value}} for key, value in attributes.items()]
        document = {"Id": document_id, "Blob": text.encode(), "ContentType": "PLAIN_TEXT", "Attributes": listed}
        if access:
            document["AccessControlList"] = [
                dict(zip(("Access", "Type", "Name"), each.split(), strict=True)) for each in access
            ]
        response = self.client.batch_put_document(IndexId=self.index_id, Documents=[document])
        assert response["FailedDocuments"] == []

    def query(self, text=None, **request):
        request |= {"QueryText": text} if text is not None else {}
        return self.client.query(IndexId=self.index_id, **request)

    def ids(self, text=None, **request):
        return [item["DocumentId"] for item in self.query(text, **request)["ResultItems"]]

    def retrieve(self, text, **request):
        return self.client.retrieve(IndexId=self.index_id, QueryText=text, **request)["ResultItems"]

    def update_field(self, name, kind="STRING_VALUE", **flags):
        field = {"Name": name, "Type": kind, "Search": flags}
        self.client.update_index(Id=self.index_id, DocumentMetadataConfigurationUpdates=[field])


@pytest.fixture
def library(in_process):
    return Library(in_process)


@pytest.fixture
def handbook(library):
    for document_id, text in HANDBOOK.items():
        library.put(document_id, text)
    return library


@contextmanager
def refused(message):
    with pytest.raises(ClientError, match=message) as caught:
        yield
    assert caught.value.response["Error"]["Code"] == "ValidationException"


# what is found


def test_a_question_finds_the_document_that_a_sync_brought(anywhere, s3_source):
    source = s3_source(anywhere)
    anywhere.set_sync_duration(0)
    for key, text in HANDBOOK.items():
        anywhere.client("s3").put_object(Bucket="documents", Key=key, Body=text.encode())
    question = {"IndexId": source.ids[0], "QueryText": "How many days of holiday does everybody have?"}
    assert source.client.query(**question)["ResultItems"] == []
    source.start()
    (item,) = source.client.query(**question)["ResultItems"]
    assert item["DocumentId"].endswith("handbook/holidays.txt")
    assert item["DocumentExcerpt"]["Text"] == HANDBOOK["handbook/holidays.txt"]
    (passage,) = source.client.retrieve(**question)["ResultItems"]
    assert passage["Content"] == HANDBOOK["handbook/holidays.txt"]


def test_a_document_that_was_deleted_or_has_failed_is_not_found(kendra, custom_source):
    source = custom_source(kendra)
    kendra.set_sync_duration(0)
    kendra.fail_documents(*source.ids, {"broken": "no text"})
    source.put(source.start(), "gone", "kept", "broken")
    source.stop()
    source.start()
    source.delete("gone")
    source.stop()
    found = source.client.query(IndexId=source.ids[0], QueryText="text")
    assert [item["DocumentId"] for item in found["ResultItems"]] == ["kept"]


def test_a_result_has_the_members_of_the_reference(library):
    library.put(
        "1", "Thirty days of holiday.", _document_title="Holidays", _source_uri="https://example.com/1", team="HR"
    )
    response = library.query("holiday")
    (item,) = response["ResultItems"]
    assert response["TotalNumberOfResults"] == 1
    assert response["FacetResults"] == []
    assert item.pop("Id").startswith(response["QueryId"])
    assert item.pop("FeedbackToken")
    assert item == {
        "Type": "DOCUMENT",
        "Format": "TEXT",
        "AdditionalAttributes": [],
        "DocumentId": "1",
        "DocumentTitle": {
            "Text": "Holidays",
            "Highlights": [{"BeginOffset": 0, "EndOffset": 8, "TopAnswer": False, "Type": "STANDARD"}],
        },
        "DocumentExcerpt": {
            "Text": "Thirty days of holiday.",
            "Highlights": [{"BeginOffset": 15, "EndOffset": 22, "TopAnswer": False, "Type": "STANDARD"}],
        },
        "DocumentURI": "https://example.com/1",
        "DocumentAttributes": [
            {"Key": "_document_title", "Value": {"StringValue": "Holidays"}},
            {"Key": "_source_uri", "Value": {"StringValue": "https://example.com/1"}},
            {"Key": "team", "Value": {"StringValue": "HR"}},
        ],
        "ScoreAttributes": {"ScoreConfidence": "VERY_HIGH"},
    }


def test_a_document_without_title_uri_and_text_is_shown_by_its_id(library):
    library.put("picture", " ")
    (item,) = library.query()["ResultItems"]
    assert item["DocumentExcerpt"] == {"Text": "picture", "Highlights": []}
    assert "DocumentTitle" not in item
    assert "DocumentURI" not in item


def test_the_excerpt_is_the_passage_that_matches(library):
    library.put("long", "word " * 500 + "the needle " + "word " * 500)
    (item,) = library.query("needles")["ResultItems"]
    text, (highlight,) = item["DocumentExcerpt"]["Text"], item["DocumentExcerpt"]["Highlights"]
    assert len(text.split()) <= 100
    assert text[highlight["BeginOffset"] : highlight["EndOffset"]] == "needle"


def test_retrieve_returns_several_passages_of_one_document(library):
    library.put("long", ("needle " + "word " * 399) * 3)
    passages = library.retrieve("needle")
    assert [item["DocumentId"] for item in passages] == ["long"] * 3
    assert all(len(item["Content"].split()) == 200 for item in passages)


def test_a_better_match_comes_first_and_equal_ones_in_a_stable_order(library):
    for document_id in "cab":
        library.put(document_id, "travel by train")
    library.put("best", "holiday travel")
    assert library.ids("holiday travel") == ["best", "c", "a", "b"]
    ratings = [item["ScoreAttributes"]["ScoreConfidence"] for item in library.query("holiday travel")["ResultItems"]]
    assert ratings == ["VERY_HIGH", "LOW", "LOW", "LOW"]


def test_stop_words_find_nothing_beside_other_words(handbook):
    assert handbook.ids("Where are the expenses?") == ["handbook/expenses.txt"]


def test_without_query_text_all_documents_match(handbook):
    response = handbook.query()
    assert [item["DocumentId"] for item in response["ResultItems"]] == list(HANDBOOK)
    assert {item["ScoreAttributes"]["ScoreConfidence"] for item in response["ResultItems"]} == {"NOT_AVAILABLE"}


def test_only_english_documents_are_found_unless_the_filter_names_a_language(library):
    library.put("en", "radio")
    library.put("es", "radio", _language_code="es")
    spanish = {"EqualsTo": {"Key": "_language_code", "Value": {"StringValue": "es"}}}
    assert library.ids("radio") == ["en"]
    assert library.ids("radio", AttributeFilter=spanish) == ["es"]


def test_the_language_of_a_data_source_is_that_of_its_documents(in_process, s3_source):
    source = s3_source(in_process)
    source.client.update_data_source(**source.key, LanguageCode="es")
    in_process.set_sync_duration(0)
    in_process.client("s3").put_object(Bucket="documents", Key="1.txt", Body=b"radio")
    source.start()
    assert source.client.query(IndexId=source.ids[0], QueryText="radio")["ResultItems"] == []
    spanish = {"EqualsTo": {"Key": "_language_code", "Value": {"StringValue": "es"}}}
    found = source.client.query(IndexId=source.ids[0], QueryText="radio", AttributeFilter=spanish)
    assert len(found["ResultItems"]) == 1


@pytest.mark.parametrize("kind", ["ANSWER", "QUESTION_ANSWER"])
def test_there_are_no_results_of_another_type(handbook, kind):
    assert handbook.query("holiday", QueryResultTypeFilter=kind)["TotalNumberOfResults"] == 0


# the text of a query is words, never syntax


def documents(*texts):
    return [(None, Document(id=str(number), text=text)) for number, text in enumerate(texts)]


def found(documents, text):
    return [
        item["DocumentId"] for item in search.query(documents, {"QueryText": text}, **IN_A_NEW_INDEX)["ResultItems"]
    ]


@settings(deadline=None, max_examples=examples(200))
@given(noise=st.text(max_size=1000))
@example('"')
@example('" OR text:* NEAR(a b, 2) ^x')
@example("-title : {a} AND NOT ( +")
@example("\0")
@example("🙂\ud800\ue000\ue001")
@example("?!…")
@example("a" * 1000)
@example(" ".join(map(str, range(500))))
def test_any_text_can_be_asked_and_does_not_hide_the_words_in_it(noise):
    library = documents("needle", noise, "hay")
    json.dumps(search.query(library, {"QueryText": noise}, **IN_A_NEW_INDEX))
    json.dumps(search.retrieve(library, {"QueryText": noise}, **IN_A_NEW_INDEX))
    assert "0" in found(library, f"needle {noise}")


@settings(deadline=None, max_examples=examples(100))
@given(
    text=st.text(alphabet=st.sampled_from("aé ,\n\0\"'\ue000\ue001🙂"), max_size=60),
    word=st.sampled_from(["a", "é", "aa", "needle"]),
)
def test_highlights_are_the_words_that_match(text, word):
    library = documents(f"{text} needle {text}")
    for item in search.query(library, {"QueryText": f"{word} needle"}, **IN_A_NEW_INDEX)["ResultItems"]:
        shown = item["DocumentExcerpt"]["Text"]
        marked = [shown[each["BeginOffset"] : each["EndOffset"]] for each in item["DocumentExcerpt"]["Highlights"]]
        assert "needle" in marked
        assert {each.replace("é", "a").replace("a", "") for each in marked} <= {"", "needle"}


@pytest.mark.parametrize("text", ["?!", "…", "", "\0"])
def test_a_text_without_words_finds_nothing(text):
    assert found(documents("text ?! …"), text) == []


def test_words_match_by_their_stem_without_case_and_accents():
    assert found(documents("Two Cafés", "tea"), "cafe") == ["0"]


def test_a_python_without_full_text_search_says_so(handbook, monkeypatch):
    class Database(sqlite3.Connection):
        def execute(self, statement, *parameters):
            raise sqlite3.OperationalError("no such module: fts5")

    connect = sqlite3.connect
    monkeypatch.setattr(ranking.sqlite3, "connect", lambda name: connect(name, factory=Database))
    with refused("QueryText needs a Python whose SQLite has FTS5: no such module: fts5"):
        handbook.query("holiday")
    assert len(handbook.ids()) == 3


# pages


def test_pages_follow_each_other_and_end_at_a_hundred_results():
    library = documents(*["needle"] * 130)

    def page(number, size=None):
        request = {"QueryText": "needle", "PageNumber": number} | ({"PageSize": size} if size else {})
        return search.query(library, request, **IN_A_NEW_INDEX)

    assert [item["DocumentId"] for item in page(2)["ResultItems"]] == [str(number) for number in range(10, 20)]
    assert [len(page(number, 40)["ResultItems"]) for number in (1, 2, 3, 4)] == [40, 40, 20, 0]
    assert len(page(1, 500)["ResultItems"]) == 100
    assert page(4, 40)["TotalNumberOfResults"] == 130
    assert (
        len(search.retrieve(library, {"QueryText": "needle", "PageSize": 500}, **IN_A_NEW_INDEX)["ResultItems"]) == 100
    )


@pytest.mark.parametrize("name", ["PageNumber", "PageSize"])
def test_a_page_that_can_not_be_is_refused(handbook, name):
    with refused(f"{name} must be at least 1, not 0"):
        handbook.query(**{name: 0})


# filters


def equals(key, value):
    kind = "StringListValue" if isinstance(value, list) else "StringValue"
    return {"EqualsTo": {"Key": key, "Value": {kind: value}}}


def test_filters_combine():
    def passing(attribute_filter):
        values = [Document(id=f"{a}{b}", attributes={"_category": {"StringValue": a}, "_version": {"StringValue": b}})
                  for a in "xy" for b in "12"]  # fmt: skip
        response = search.query(
            [(None, each) for each in values], {"AttributeFilter": attribute_filter}, **IN_A_NEW_INDEX
        )
        return [item["DocumentId"] for item in response["ResultItems"]]

    x, one = equals("_category", "x"), equals("_version", "1")
    assert passing(x) == ["x1", "x2"]
    assert passing({"AndAllFilters": [x, one]}) == ["x1"]
    assert passing({"OrAllFilters": [x, one]}) == ["x1", "x2", "y1"]
    assert passing({"NotFilter": x}) == ["y1", "y2"]
    assert passing({"AndAllFilters": [{"NotFilter": x}, {"OrAllFilters": [x]}]}) == []


@pytest.mark.parametrize(
    ("operator", "key", "value", "ids"),
    [
        ("ContainsAll", "_authors", {"StringListValue": ["ann", "bob"]}, ["both"]),
        ("ContainsAny", "_authors", {"StringListValue": ["bob", "eve"]}, ["both", "bob"]),
        ("EqualsTo", "_authors", {"StringListValue": ["bob"]}, ["bob"]),
        ("GreaterThan", "_view_count", {"LongValue": 2}, ["bob"]),
        ("GreaterThanOrEquals", "_view_count", {"LongValue": 2}, ["both", "bob"]),
        ("LessThan", "_view_count", {"LongValue": 2}, []),
        ("LessThanOrEquals", "_view_count", {"LongValue": 2}, ["both"]),
        ("EqualsTo", "_view_count", {"StringValue": "2"}, []),
    ],
)
def test_each_operator_compares(library, operator, key, value, ids):
    library.put("both", _authors=["ann", "bob"], _view_count=2)
    library.put("bob", _authors=["bob"], _view_count=3)
    library.put("none")
    assert library.ids(AttributeFilter={operator: {"Key": key, "Value": value}}) == ids


def test_dates_compare(library):
    document = {"Id": "1", "Blob": b"text", "Attributes": [{"Key": "_created_at", "Value": {"DateValue": 1000}}]}
    library.client.batch_put_document(IndexId=library.index_id, Documents=[document])
    before = {"LessThan": {"Key": "_created_at", "Value": {"DateValue": "1970-01-01T01:00:00+00:00"}}}
    assert library.ids(AttributeFilter=before) == ["1"]
    assert library.ids(AttributeFilter={"NotFilter": before}) == []


def test_the_properties_of_a_document_are_attributes(in_process, custom_source):
    source = custom_source(in_process)
    in_process.set_sync_duration(0)
    execution_id = source.start()
    document = source.document("1", execution_id)
    document["Attributes"] += [{"Key": "_source_uri", "Value": {"StringValue": "https://example.com/1"}}]
    source.client.batch_put_document(IndexId=source.ids[0], Documents=[document | {"Title": "One"}])
    source.stop()
    for key, value in {
        "_data_source_id": source.ids[1],
        "_source_uri": "https://example.com/1",
        "_document_title": "One",
        "_document_id": "1",
        "_language_code": "en",
    }.items():
        found = source.client.query(IndexId=source.ids[0], AttributeFilter=equals(key, value))
        assert found["TotalNumberOfResults"] == 1, key
        assert source.client.query(IndexId=source.ids[0], AttributeFilter=equals(key, "x"))["ResultItems"] == []


@pytest.mark.parametrize(
    ("attribute_filter", "message"),
    [
        ({}, "cannot have 0 operators. It must have one and only one"),
        (equals("_category", "x") | {"NotFilter": equals("_category", "x")}, "cannot have 2 operators"),
        ({"OrAllFilters": [equals("_category", "x")] * 11}, "cannot have a length of more than 10"),
        ({"AndAllFilters": [{"OrAllFilters": [{"NotFilter": equals("_category", "x")}]}]}, "depth of more than 2"),
        ({"ContainsAny": {"Key": "_category", "Value": {"StringValue": "x"}}}, "ContainsAny .* needs StringListValue"),
        ({"LessThan": {"Key": "_category", "Value": {"StringValue": "x"}}}, "LessThan .* needs LongValue or DateValue"),
        ({"EqualsTo": {"Key": "_category", "Value": {}}}, "must have exactly one type"),
        (equals("team", "x"), "'team', which is not a field of the index: add it with UpdateIndex"),
    ],
)
def test_a_filter_that_can_not_be_applied_is_refused(handbook, attribute_filter, message):
    with refused(message):
        handbook.query("holiday", AttributeFilter=attribute_filter)


def test_a_field_that_update_index_adds_can_be_filtered(library):
    library.put("1", team="HR")
    library.put("2", team="IT")
    library.update_field("team")
    assert library.ids(AttributeFilter=equals("team", "HR")) == ["1"]


# attributes, facets, sorting


def test_only_the_requested_attributes_are_in_the_response(library):
    library.put("1", team="HR", floor="2", _category="x")
    requested = library.query(RequestedDocumentAttributes=["team", "_category"])["ResultItems"][0]
    assert [each["Key"] for each in requested["DocumentAttributes"]] == ["team"], "_category is not Displayable"
    library.update_field("_category", Displayable=True)
    (item,) = library.query()["ResultItems"]
    assert [each["Key"] for each in item["DocumentAttributes"]] == ["team", "floor", "_category"]


def test_facets_count_the_documents_of_each_value(library):
    for number, (city, dogs) in enumerate([("Paris", ["husky"]), ("Rome", ["husky", "corgi"]), ("Rome", [])]):
        library.put(str(number), _category=city, **({"dogs": dogs} if dogs else {}))
    library.update_field("_category", Facetable=True)
    library.update_field("dogs", "STRING_LIST_VALUE", Facetable=True)
    facets = [{"DocumentAttributeKey": "_category", "Facets": [{"DocumentAttributeKey": "dogs", "MaxResults": 1}]}]
    (result,) = library.query(Facets=facets, PageSize=1)["FacetResults"]
    assert result["DocumentAttributeValueType"] == "STRING_VALUE"
    cities = [
        (pair["DocumentAttributeValue"]["StringValue"], pair["Count"])
        for pair in result["DocumentAttributeValueCountPairs"]
    ]
    assert cities == [("Rome", 2), ("Paris", 1)]
    (nested,) = result["DocumentAttributeValueCountPairs"][0]["FacetResults"]
    assert nested["DocumentAttributeValueCountPairs"] == [
        {"DocumentAttributeValue": {"StringValue": "husky"}, "Count": 1}
    ]


def test_results_are_sorted_by_attributes_and_then_by_relevance(library):
    for document_id, views in [("few", 1), ("many", 9), ("none", None), ("few, better", 1)]:
        library.put(
            document_id, "needle" + " hay" * ("better" not in document_id), **({"_view_count": views} if views else {})
        )
    by = {"DocumentAttributeKey": "_view_count", "SortOrder": "DESC"}
    assert library.ids("needle", SortingConfiguration=by) == ["many", "few, better", "few", "none"]
    by["SortOrder"] = "ASC"
    assert library.ids("needle", SortingConfigurations=[by]) == ["few, better", "few", "many", "none"]


def test_a_value_of_another_type_than_its_field_is_sorted_as_none(library):
    library.put("text", _view_count="many")
    library.put("number", _view_count=1)
    by = {"DocumentAttributeKey": "_view_count", "SortOrder": "ASC"}
    assert library.ids(SortingConfiguration=by) == ["number", "text"]


def test_results_can_not_be_sorted_by_a_list_of_strings(library):
    library.update_field("dogs", "STRING_LIST_VALUE", Sortable=True)
    with refused("can't be sorted by 'dogs', which is a list of strings"):
        library.query(SortingConfiguration={"DocumentAttributeKey": "dogs", "SortOrder": "ASC"})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"SortingConfiguration": {"DocumentAttributeKey": "_authors", "SortOrder": "ASC"}}, "'_authors' is not Sort"),
        ({"SortingConfiguration": {"DocumentAttributeKey": "x", "SortOrder": "ASC"}}, "'x' is not a field"),
        ({"SortingConfigurations": [{"DocumentAttributeKey": "_version", "SortOrder": "ASC"}] * 4}, "more than 3"),
        ({"Facets": [{"DocumentAttributeKey": "_category"}]}, "'_category' is not Facetable"),
        ({"Facets": [{}]}, "DocumentAttributeKey is required"),
        ({"CollapseConfiguration": {"DocumentAttributeKey": "_version"}}, "does not support CollapseConfiguration"),
        ({"UserContext": {"Token": "x"}}, "can't read a Token"),
        ({"UserContext": {"Token": "x", "UserId": "x"}}, "can't have both Token and UserId"),
    ],
)
def test_what_can_not_be_done_is_refused(handbook, request_, message):
    with refused(message):
        handbook.query("holiday", **request_)


# access control lists


@pytest.fixture
def secrets(library):
    library.put("public")
    library.put("ann", access=["ALLOW USER ann"])
    library.put("staff", access=["ALLOW GROUP staff", "DENY USER bob"])
    return library


@pytest.mark.parametrize(
    ("context", "ids"),
    [
        ({}, ["public", "ann", "staff"]),
        ({"UserId": "ann"}, ["public", "ann"]),
        ({"UserId": "eve", "Groups": ["staff"]}, ["public", "staff"]),
        ({"UserId": "bob", "Groups": ["staff"]}, ["public"]),
        ({"UserId": "staff", "Groups": ["ann"]}, ["public"]),
    ],
)
def test_a_user_finds_public_documents_and_those_that_their_access_lists_allow(secrets, context, ids):
    assert secrets.ids(UserContext=context) == ids
    assert sorted(item["DocumentId"] for item in secrets.retrieve("text", UserContext=context)) == sorted(ids)


def test_filters_on_user_and_groups_are_access_too(secrets):
    def of(user, groups):
        return {"OrAllFilters": [equals("_user_id", user), equals("_group_ids", groups)]}

    assert secrets.ids(AttributeFilter=of("ann", ["staff"])) == ["public", "ann", "staff"]
    assert secrets.ids(AttributeFilter=of("bob", ["staff"])) == ["public"]


def test_a_filter_can_name_several_users(secrets):
    either = {"OrAllFilters": [equals("_user_id", "zoe"), equals("_user_id", "ann")]}
    assert secrets.ids(AttributeFilter=either) == ["public", "ann"]


def test_a_group_of_one_data_source_may_read_only_its_documents():
    access = [{"Name": "staff", "Type": "GROUP", "Access": "ALLOW"}]
    library = [(source_id, Document(id=source_id, access=access)) for source_id in ("wiki", "crm")]
    context = {"DataSourceGroups": [{"GroupId": "staff", "DataSourceId": "crm"}]}
    (item,) = search.query(library, {"UserContext": context}, **IN_A_NEW_INDEX)["ResultItems"]
    assert item["DocumentId"] == "crm"


# fields of an index


def test_an_index_has_the_reserved_fields(library):
    fields = library.client.describe_index(Id=library.index_id)["DocumentMetadataConfigurations"]
    assert {field["Name"]: field["Type"] for field in fields} == {
        "_authors": "STRING_LIST_VALUE",
        "_category": "STRING_VALUE",
        "_created_at": "DATE_VALUE",
        "_data_source_id": "STRING_VALUE",
        "_document_title": "STRING_VALUE",
        "_excerpt_page_number": "LONG_VALUE",
        "_faq_id": "STRING_VALUE",
        "_file_type": "STRING_VALUE",
        "_language_code": "STRING_VALUE",
        "_last_updated_at": "DATE_VALUE",
        "_source_uri": "STRING_VALUE",
        "_tenant_id": "STRING_VALUE",
        "_version": "STRING_VALUE",
        "_view_count": "LONG_VALUE",
    }


def test_an_update_of_a_field_keeps_the_flags_that_it_does_not_name(library):
    library.update_field("color", Facetable=True, Displayable=True)
    library.update_field("color", Sortable=True)
    index = library.client.describe_index(Id=library.index_id)
    (field,) = [each for each in index["DocumentMetadataConfigurations"] if each["Name"] == "color"]
    assert field["Search"] == {"Facetable": True, "Displayable": True, "Sortable": True}


def test_a_facet_has_only_one_nested_facet(library):
    facet = {"DocumentAttributeKey": "_category"}
    once = {**facet, "Facets": [facet]}
    library.update_field("_category", Facetable=True)
    library.put("a", _category="x")
    assert library.query(Facets=[once])["FacetResults"]
    for nested in ([once], [facet, facet]):
        with refused("A facet can have only one nested facet"):
            library.query(Facets=[{**facet, "Facets": nested}])
