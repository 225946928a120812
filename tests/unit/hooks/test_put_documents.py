"""Documents go into a CUSTOM data source in batches, and none is lost without a word."""

from __future__ import annotations

import copy
import io
import logging
import re
import traceback
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_kendra._batches import BYTES_IN_BATCH, DOCUMENTS_IN_BATCH, batches_of, sort_failures
from airflow_provider_kendra.exceptions import KendraDocumentsError, KendraError, KendraRequestError
from airflow_provider_kendra.hooks.kendra import PUT_ATTEMPTS, KendraSyncJobsHook
from tests.conftest import DataSource, examples
from tests.task_runs import Clock

PUT = "BatchPutDocument"


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with clock.in_place():
        yield clock


class Batch:
    """The running sync of a CUSTOM data source."""

    def __init__(self, source: DataSource) -> None:
        self.source = source
        self.execution_id = source.start()
        self.hook = KendraSyncJobsHook()

    def put(self, documents: Any) -> None:
        self.hook.put_documents(*self.source.ids, self.execution_id, documents)

    def refuse(self, *names: str, **how: Any) -> None:
        self.source.kendra.fail_documents(*self.source.ids, names, **how)

    @property
    def calls(self) -> list[list[dict[str, Any]]]:
        """The documents of each call."""
        return [call.parameters["Documents"] for call in self.source.kendra.calls(PUT)]

    @property
    def sent(self) -> list[list[str]]:
        return [[document["Id"] for document in documents] for documents in self.calls]


@pytest.fixture
def batch(custom_data_source: DataSource, clock: Clock) -> Batch:
    return Batch(custom_data_source)


def documents(number: int) -> list[dict[str, Any]]:
    return [{"Id": f"document-{n}", "Blob": b"text"} for n in range(number)]


@pytest.mark.parametrize(
    ("number", "sizes"), [(0, []), (1, [1]), (9, [9]), (10, [10]), (11, [10, 1]), (35, [10, 10, 10, 5])]
)
def test_any_number_of_documents_goes_in_tens(batch, number, sizes):
    batch.put(documents(number))
    assert [len(sent) for sent in batch.sent] == sizes
    assert list(chain.from_iterable(batch.sent)) == [document["Id"] for document in documents(number)]


def test_a_generator_is_read_no_further_than_the_batch_that_is_sent(batch):
    calls_when_read = []

    def read() -> Iterator[dict[str, Any]]:
        for document in documents(25):
            calls_when_read.append(len(batch.calls))
            yield document

    batch.put(read())
    assert calls_when_read == [0] * 10 + [1] * 10 + [2] * 5


def attributes(document: dict[str, Any]) -> dict[str, str]:
    return {each["Key"]: each["Value"]["StringValue"] for each in document["Attributes"]}


def test_each_document_says_which_sync_it_belongs_to(batch):
    batch.put(documents(1))
    [[sent]] = batch.calls
    assert attributes(sent) == {
        "_data_source_id": batch.source.data_source_id,
        "_data_source_sync_job_execution_id": batch.execution_id,
    }


def attribute(key: str, value: str) -> dict[str, Any]:
    return {"Key": key, "Value": {"StringValue": value}}


def test_other_attributes_stay_and_wrong_ones_are_replaced(batch):
    given = [attribute("_category", "news"), attribute("_data_source_id", "last-year")]
    batch.put([{"Id": "a", "Blob": b"text", "Title": "A", "Attributes": given}])
    [[sent]] = batch.calls
    assert attributes(sent) == {
        "_category": "news",
        "_data_source_id": batch.source.data_source_id,
        "_data_source_sync_job_execution_id": batch.execution_id,
    }
    assert len(sent["Attributes"]) == 3
    assert sent["Title"] == "A"


def test_what_was_passed_is_not_changed(batch):
    passed = [{"Id": "a", "Blob": b"text", "Attributes": [attribute("_data_source_id", "last-year")]}]
    before = copy.deepcopy(passed)
    batch.put(passed)
    assert passed == before


def test_a_document_that_kendra_failed_to_take_is_sent_again_alone(batch):
    batch.refuse("document-3", times=2)
    batch.put(documents(12))
    assert [len(sent) for sent in batch.sent] == [10, 1, 1, 2]
    assert batch.sent[1] == batch.sent[2] == ["document-3"]


def test_a_document_that_kendra_keeps_failing_to_take_is_an_error_in_the_end(batch, clock):
    batch.refuse("document-3")
    with pytest.raises(KendraDocumentsError) as raised:
        batch.put(documents(12))
    assert [(each["Id"], each["ErrorCode"]) for each in raised.value.failures] == [("document-3", "InternalError")]
    assert len(batch.sent) == PUT_ATTEMPTS + 1
    assert clock.sleeps == sorted(clock.sleeps), "the pauses grow"


def test_a_document_that_is_wrong_is_not_sent_again(batch):
    batch.refuse("document-3", error_code="InvalidRequest")
    with pytest.raises(KendraDocumentsError):
        batch.put(documents(5))
    assert len(batch.sent) == 1


def test_all_that_failed_is_in_one_error_after_everything_was_sent(batch):
    batch.refuse("document-3", "document-21", error_code="InvalidRequest")
    batch.refuse("document-4")
    with pytest.raises(KendraDocumentsError, match="rejected 3 documents") as raised:
        batch.put(documents(25))
    assert {each["Id"]: each["ErrorCode"] for each in raised.value.failures} == {
        "document-3": "InvalidRequest",
        "document-4": "InternalError",
        "document-21": "InvalidRequest",
    }
    assert batch.sent[-1] == ["document-20", "document-21", "document-22", "document-23", "document-24"]


def test_the_message_names_the_first_few_and_says_what_to_check(batch):
    batch.refuse(*(f"document-{n}" for n in range(8)), error_code="InvalidRequest")
    with pytest.raises(KendraDocumentsError, match=r"document-4: InvalidRequest .*; …\. The sync job must be running"):
        batch.put(documents(8))


def test_documents_put_after_the_stop_are_an_error(batch):
    batch.hook.stop_sync_job(*batch.source.ids)
    with pytest.raises(KendraDocumentsError) as raised:
        batch.put(documents(3))
    assert [each["Id"] for each in raised.value.failures] == ["document-0", "document-1", "document-2"]


def test_documents_put_for_another_sync_are_an_error(batch):
    batch.execution_id = "another"
    with pytest.raises(KendraDocumentsError, match="sync job another"):
        batch.put(documents(1))


@pytest.mark.parametrize("execution_id", ["", "None", None, "with a space"])
def test_a_sync_that_cannot_be_one_is_refused_before_anything_is_read(batch, execution_id):
    batch.execution_id = execution_id
    unread = iter(documents(1))
    with pytest.raises(ValueError, match="execution_id"):
        batch.put(unread)
    assert len(list(unread)) == 1


def test_an_answer_that_cannot_be_read_is_no_success(batch):
    batch.source.kendra.inject(PUT, times=1, body="not-json")
    with pytest.raises(Exception, match=r"could not be read|Unable to parse"):
        batch.put(documents(1))


def report(batch: Batch, *answers: list[dict[str, str]]) -> None:
    """Let Kendra's next answers report these failures, the last one none."""
    left = list(answers)

    def change(parsed: dict[str, Any], **_: Any) -> None:
        parsed["FailedDocuments"] = left.pop(0) if left else []

    batch.hook.conn.meta.events.register("after-call.kendra.BatchPutDocument", change)


INTERNAL = {"ErrorCode": "InternalError", "ErrorMessage": "later"}
INVALID = {"ErrorCode": "InvalidRequest", "ErrorMessage": "bad"}


def ids(*numbers: int) -> list[str]:
    return [f"document-{n}" for n in numbers]


@pytest.mark.parametrize(
    ("answers", "sent", "kept"),
    [
        pytest.param([[INTERNAL]], [ids(0, 1, 2)] * 2, [], id="without Id: the whole batch"),
        pytest.param([[{**INTERNAL, "Id": ""}]], [ids(0, 1, 2)] * 2, [], id="an empty Id: the whole batch"),
        pytest.param(
            [[INTERNAL, {**INVALID, "Id": "document-1"}]],
            [ids(0, 1, 2), ids(0, 2)],
            [{**INVALID, "Id": "document-1"}],
            id="without Id: not those with a verdict of their own",
        ),
        pytest.param(
            [[INTERNAL, {**INTERNAL, "Id": "document-2"}]], [ids(0, 1, 2)] * 2, [], id="without Id beside a named one"
        ),
        pytest.param(
            [[INTERNAL] + [{**INVALID, "Id": f"document-{n}"} for n in range(3)]],
            [ids(0, 1, 2)],
            [INTERNAL] + [{**INVALID, "Id": f"document-{n}"} for n in range(3)],
            id="without Id where every document has a verdict",
        ),
        pytest.param(
            [[{**INTERNAL, "Id": "nobody's"}]], [ids(0, 1, 2)], [{**INTERNAL, "Id": "nobody's"}], id="an unknown Id"
        ),
        pytest.param([[INVALID]], [ids(0, 1, 2)], [INVALID], id="another error without Id"),
        pytest.param(
            [[{**INTERNAL, "Id": "nobody's"}, {**INTERNAL, "Id": "document-1"}]] * 2,
            [ids(0, 1, 2), ids(1), ids(1)],
            [{**INTERNAL, "Id": "nobody's"}],
            id="an unknown Id reported again is one failure",
        ),
        pytest.param([[INTERNAL]] * PUT_ATTEMPTS, [ids(0, 1, 2)] * PUT_ATTEMPTS, [INTERNAL], id="without Id, always"),
    ],
)
def test_what_is_sent_again_is_what_kendra_may_have_failed_to_take(batch, answers, sent, kept):
    report(batch, *answers)
    if kept:
        with pytest.raises(KendraDocumentsError) as raised:
            batch.put(documents(3))
        assert raised.value.failures == kept
    else:
        batch.put(documents(3))
    assert batch.sent == sent


def test_two_documents_with_the_same_id_are_both_sent_and_both_sent_again(batch):
    batch.refuse("document-0", times=1)
    batch.put([*documents(2), {"Id": "document-0", "Blob": b"newer"}])
    assert batch.sent == [["document-0", "document-1", "document-0"], ["document-0", "document-0"]]


@pytest.mark.parametrize(
    ("error", "is_retried"),
    [
        ({"error": "AccessDeniedException", "status": 400}, False),
        ({"error": "InternalServerException", "status": 500}, True),
        ({"reset": "before"}, True),
        ({"body": "not-json"}, True),
    ],
)
def test_failures_of_earlier_batches_are_kept_when_a_later_call_raises(batch, error, is_retried):
    batch.refuse("document-3", error_code="InvalidRequest")

    def read() -> Iterator[dict[str, Any]]:
        for number, document in enumerate(documents(25)):
            if number == 20:
                batch.source.kendra.inject(PUT, **error)
            yield document

    with pytest.raises(KendraDocumentsError) as raised:
        batch.put(read())
    assert [each["Id"] for each in raised.value.failures] == ["document-3"]
    assert raised.value.__cause__ is not None
    assert "after 2 batches (20 documents)" in str(raised.value)
    assert "document-3: InvalidRequest" in str(raised.value)
    assert isinstance(raised.value, KendraRequestError) is not is_retried
    assert isinstance(raised.value, AirflowFailException) is not is_retried


def test_a_value_that_kendra_quotes_about_a_single_document_is_not_shown(batch):
    quoted = "Value '[Principal(name=jdoe)]' at 'accessControlList' failed to satisfy constraint: x"
    rejected = {"Id": "document-0", "ErrorCode": "InvalidRequest", "ErrorMessage": quoted}
    batch.hook.conn.meta.events.register(
        "after-call.kendra.BatchPutDocument", lambda parsed, **_: parsed.update(FailedDocuments=[rejected])
    )
    with pytest.raises(KendraDocumentsError) as raised:
        batch.put(documents(1))
    assert "jdoe" not in f"{raised.value} {raised.value.failures}"
    assert "accessControlList" in str(raised.value)


def test_failures_of_the_same_batch_are_kept_when_sending_it_again_raises(batch):
    batch.refuse("document-1", error_code="InvalidRequest")
    batch.refuse("document-2")
    batch.hook.conn.meta.events.register(
        "after-call.kendra.BatchPutDocument",
        lambda **_: batch.source.kendra.inject(PUT, error="AccessDeniedException", status=400),
    )
    with pytest.raises(KendraDocumentsError, match=r"after 1 batch \(5 documents\)") as raised:
        batch.put(documents(5))
    assert {each["Id"]: each["ErrorCode"] for each in raised.value.failures} == {
        "document-1": "InvalidRequest",
        "document-2": "InternalError",
    }


def test_failures_are_kept_when_the_documents_cannot_be_read_to_their_end(batch):
    batch.refuse("document-3", error_code="InvalidRequest")

    def read() -> Iterator[dict[str, Any]]:
        yield from documents(12)
        raise OSError("the wiki is gone")

    with pytest.raises(KendraDocumentsError, match="the wiki is gone") as raised:
        batch.put(read())
    assert isinstance(raised.value.__cause__, OSError)
    assert not isinstance(raised.value, KendraRequestError)
    assert [each["Id"] for each in raised.value.failures] == ["document-3"]


def test_an_error_raises_as_it_is_when_no_document_has_failed(batch):
    batch.source.kendra.inject(PUT, error="AccessDeniedException", status=400)
    with pytest.raises(ClientError):
        batch.put(documents(1))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"Id": "a", "Blob": b"text"}, r"documents is a single document.*\[document\]"),
        ("a", "documents is of type str, but must be a list"),
        (b"a", "documents is of type bytes, but must be a list"),
        (None, "documents is of type NoneType, but must be a list"),
        (7, "documents is of type int, but must be a list"),
        (["a"], r"documents\[0\] is of type str, but must be a mapping"),
        ([{"Id": "a"}, None], r"documents\[1\] is of type NoneType, but must be a mapping"),
        ([{"Blob": b"text"}], r"documents\[0\] has no Id"),
        ([{"Id": "", "Blob": b"text"}], r"documents\[0\] has no Id"),
        ([{"Id": 7, "Blob": b"text"}], r"documents\[0\] has an Id of type int, but it must be text"),
        ([{"Id": "a", "Attributes": {"_category": "news"}}], r"documents\[0\] has Attributes that are not a list"),
        ([{"Id": "a", "Attributes": ["news"]}], r"documents\[0\] has Attributes that are not a list"),
    ],
)
def test_what_is_no_list_of_documents_is_refused_in_a_sentence_before_anything_is_sent(batch, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        batch.put(wrong)
    assert batch.sent == []


def test_the_secret_contents_of_a_wrong_document_are_not_shown(batch):
    with pytest.raises(ValueError, match="has no Id") as raised:
        batch.put([{"Blob": b"secret"}])
    assert "secret" not in str(raised.value)


def shown(error: BaseException) -> str:
    """What a log can show of an error: its traceback, and the arguments of the whole chain."""
    seen: list[BaseException] = [error]
    for each in seen:
        inner = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
        seen += [inner] if inner is not None and inner not in seen else []
    return "".join((*traceback.format_exception(error), *(repr((each.args, vars(each))) for each in seen)))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"Id": "a", "Title": ["planted"]}, "documents[0].Title is of type list, but must be str"),
        ({"Id": ["planted"]}, "documents[0] has an Id of type list, but it must be text"),
        ("planted", "documents[0] is of type str"),
        (
            {"Id": "a", "AccessControlList": {f"planted-{n}@example.com": "ALLOW" for n in range(80)}},
            "documents[0].AccessControlList is of type dict, but must be list or tuple",
        ),
        (
            {"Id": "a", "Attributes": [{"Key": "k", "Value": {"StringListValue": "Dear Bob, valid planted 42"}}]},
            "documents[0].Attributes[0].Value.StringListValue is of type str, but must be list or tuple",
        ),
        (
            {"Id": "a", "Attributes": [{"Key": "k", "Value": {"StringValue": {"planted": 1}}}]},
            "documents[0].Attributes[0].Value.StringValue is of type dict, but must be str",
        ),
        (
            {"Id": "a", "Attributes": [{"Key": "k", "Value": {"planted": 1}}]},
            "documents[0].Attributes[0].Value has an unknown member, known are: StringValue, ",
        ),
        ({"Id": "a", "Attributes": [{"Key": "planted"}]}, "documents[0].Attributes[0] has no Value"),
        (
            {"Id": "a", "Title": "planted", "S3Path": {"Bucket": "", "Key": "planted"}},
            "S3Path.Bucket is shorter than 3",
        ),
        ({"Id": "a", "Attributes": [{"Key": "k", "Value": {"LongValue": "planted"}}]}, "LongValue is of type str"),
        ({"Id": "a", "Attributes": [{"Key": "k", "Value": {"DateValue": "planted"}}]}, "DateValue is of type str"),
        (
            {"Id": "a", "Attributes": [{"Key": "k", "Value": {"DateValue": float("inf")}}]},
            "documents[0] has a value that can't be read (",
        ),
        ({"Id": "a", "Title": ["planted"], **{f"planted-{n}": n for n in range(9)}}, "and 5 more"),
        ({"Id": "a", "Blob": "planted\ud800"}, "documents[0] has a Blob with a surrogate, which UTF-8 cannot encode"),
    ],
)
def test_an_error_says_which_part_of_a_document_is_wrong_but_not_what_is_in_it(batch, document, said):
    with pytest.raises((ValueError, KendraError)) as raised:
        batch.put([document])
    assert said in str(raised.value)
    assert "planted" not in shown(raised.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"Title": 5}, "documents[23].Title is of type int, but must be str"),
        ({"Blob": 5}, "documents[23] has a Blob of type int, but it must be bytes."),
        ({"Blob": None}, "documents[23] has a Blob of type NoneType, but it must be bytes."),
        ({"Blob": io.BytesIO(b"planted")}, "documents[23] has a Blob of type BytesIO, but it must be bytes."),
        (
            {"Blob": "planted\ud800"},
            "documents[23] has a Blob with a surrogate, which UTF-8 cannot encode. Pass bytes.",
        ),
        (
            {"Attributes": [{"Key": "k", "Value": {"DateValue": float("inf")}}]},
            "documents[23] has a value that can't be read (",
        ),
        *(
            (
                {"Attributes": [{"Key": "k", "Value": {"StringValue": "v"}}, {"Key": key, "Value": {}}]},
                f"documents[23].Attributes[1] has a Key of type {type(key).__name__}, but it must be text.",
            )
            for key in (["planted"], {"planted": 1}, 5, None)
        ),
    ],
)
def test_a_wrong_document_is_named_by_its_position_in_what_was_passed(batch, wrong, said):
    batch.refuse("document-3", error_code="InternalError", times=1)  # its batch is sent twice
    with pytest.raises(ValueError, match=re.escape(said)) as raised:
        batch.put([*documents(23), {"Id": "last", **wrong}, {"Id": "after it", "Blob": b""}])
    assert "planted" not in shown(raised.value)


def test_what_is_no_list_of_documents_is_not_shown_either(batch):
    text = "planted"
    with pytest.raises(ValueError, match="documents is of type str") as raised:
        batch.put(text)
    assert "planted" not in shown(raised.value)


@pytest.mark.parametrize(
    "value",
    ["planted" * 400, "planted' at 'documents' failed to satisfy constraint: planted" * 40, "planted\n\0" * 300],
    ids=["long", "like a message", "control characters"],
)
def test_a_value_that_kendra_rejects_is_not_shown(batch, value):
    with pytest.raises(ClientError, match="failed to satisfy constraint: Member must have length") as raised:
        batch.put([{"Id": "a", "Attributes": [attribute("k", value)]}])
    assert "'documents.1.member.attributes.1.member.value.stringValue'" in str(raised.value)
    assert "planted" not in shown(raised.value)


def test_several_values_that_kendra_rejects_are_not_shown(batch):
    values = ["planted" * n for n in (300, 400, 500)]
    with pytest.raises(ClientError, match="failed to satisfy constraint") as raised:
        batch.put([{"Id": "a", "Attributes": [attribute("k", value) for value in values]}])
    assert "planted" not in shown(raised.value)


@pytest.mark.parametrize("validates", [True, False])
def test_a_rejected_document_after_a_failed_one_is_not_shown(batch, validates):
    batch.hook = KendraSyncJobsHook(config={"parameter_validation": validates})
    batch.refuse("document-3", error_code="InvalidRequest")
    wrong = {"Id": "a", "Title": {"planted": "planted"}}
    with pytest.raises((KendraDocumentsError, ClientError)) as raised:
        batch.put([*documents(10), wrong])
    assert "planted" not in shown(raised.value)


class Odd:
    """A value of no type that Kendra takes, whose text is secret."""

    def __repr__(self) -> str:
        return "planted"


PLANTED = st.sampled_from(
    [
        "planted",
        "planted, type: <class 'str'>, valid types: planted",
        'planted", must be one of: planted',
        "planted\nInvalid type for parameter planted, value: planted",
        "planted' at 'planted' failed to satisfy constraint: Member must planted",
        "planted" * 400,
        "\ud800planted\0",
    ]
)
ODD = st.recursive(
    PLANTED | st.integers() | st.floats() | st.booleans() | st.none() | st.just(b"planted") | st.builds(Odd),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(PLANTED, inner, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from(["Key", "k", "Name", "Type", "Access"]) | PLANTED
MEMBERS = st.dictionaries(
    KEYS | st.sampled_from(["Value", "StringListValue", "DateValue", "LongValue"]), ODD, max_size=3
)
VALUES = st.dictionaries(st.sampled_from(["StringValue", "StringListValue", "LongValue", "DateValue"]), ODD, max_size=1)
ATTRIBUTES = st.builds(lambda key, value: {"Key": key, "Value": value}, KEYS, VALUES | ODD)
PRINCIPALS = st.builds(
    lambda name, kind, access: {"Name": name, "Type": kind, "Access": access},
    PLANTED | ODD,
    st.just("USER") | ODD,
    st.just("ALLOW") | ODD,
)
DOCUMENTS = st.fixed_dictionaries(
    {"Id": st.just("a") | ODD.filter(lambda value: not isinstance(value, str))},
    optional={
        "Title": ODD,
        "Blob": ODD,
        "ContentType": ODD,
        "Attributes": st.lists(ATTRIBUTES | MEMBERS, max_size=2) | ODD,
        "AccessControlList": st.lists(PRINCIPALS | MEMBERS, max_size=2) | ODD,
        "HierarchicalAccessControlList": st.lists(st.builds(lambda p: {"PrincipalList": [p]}, PRINCIPALS)) | ODD,
        "S3Path": MEMBERS | ODD,
        "AccessControlConfigurationId": ODD,
        "planted": ODD,
    },
) | ODD.filter(lambda value: not isinstance(value, dict) or not isinstance(value.get("Id"), str))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(400))
@given(put=st.lists(DOCUMENTS, min_size=1, max_size=2))
def test_whatever_is_wrong_with_documents_no_error_or_log_line_shows_what_is_in_them(batch, put):
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    logging.getLogger().addHandler(handler)
    raised = ""
    try:
        batch.put(put)
    except Exception as error:
        raised = shown(error)
    finally:
        logging.getLogger().removeHandler(handler)
    assert "planted" not in raised + lines.getvalue()


def sized(*sizes: int) -> list[dict[str, Any]]:
    return [{"Id": f"document-{n}", "Blob": b"x" * size} for n, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([40, 60, 1], [2, 1]),
        ([40, 61], [1, 1]),
        ([101], [1]),
        ([1, 101, 1], [1, 1, 1]),
        ([100, 0, 1], [2, 1]),
        ([10] * 11, [10, 1]),
    ],
)
def test_the_bytes_of_a_batch_are_bounded(batch, monkeypatch, sizes, batches):
    monkeypatch.setattr("airflow_provider_kendra._batches.BYTES_IN_BATCH", 100)
    batch.put(sized(*sizes))
    assert [len(sent) for sent in batch.sent] == batches


def test_text_counts_with_the_bytes_that_are_sent(batch, monkeypatch):
    monkeypatch.setattr("airflow_provider_kendra._batches.BYTES_IN_BATCH", 100)
    batch.put([{"Id": name, "Blob": "ü" * 30} for name in "ab"])
    assert batch.sent == [["a"], ["b"]]


def test_a_batch_at_the_byte_limit_is_sent_after_at_most_one_more_document_is_read(batch, monkeypatch):
    monkeypatch.setattr("airflow_provider_kendra._batches.BYTES_IN_BATCH", 100)
    calls_when_read = []

    def read() -> Iterator[dict[str, Any]]:
        for document in sized(*[60] * 4):
            calls_when_read.append(len(batch.calls))
            yield document

    batch.put(read())
    assert calls_when_read == [0, 0, 1, 2]


@given(
    sizes=st.lists(st.integers(0, 2 * BYTES_IN_BATCH)),
    kind=st.sampled_from([bytes, bytearray]),
)
def test_batches_hold_every_document_in_order_within_both_bounds(sizes, kind):
    class Blob(kind):
        """As long as it says, without taking the memory."""

        def __new__(cls, size: int) -> Blob:
            blob = super().__new__(cls)
            blob.size = size
            return blob

        def __init__(self, size: int) -> None:
            super().__init__()

        def __len__(self) -> int:
            return self.size

    made = [{"Id": str(number), "Blob": Blob(size)} for number, size in enumerate(sizes)]
    found = list(batches_of(made))
    assert list(chain.from_iterable(found)) == made
    for each in found:
        assert 1 <= len(each) <= DOCUMENTS_IN_BATCH
        assert len(each) == 1 or sum(len(document["Blob"]) for document in each) <= BYTES_IN_BATCH
    for one, following in pairwise(found):
        is_full = len(one) == DOCUMENTS_IN_BATCH
        assert is_full or sum(len(document["Blob"]) for document in [*one, following[0]]) > BYTES_IN_BATCH


REPORTED = st.one_of(st.none(), st.sampled_from(["", "nobody's", *ids(0, 1, 2, 3)]))
FAILURE = st.builds(
    lambda document_id, code: {"ErrorCode": code, **({} if document_id is None else {"Id": document_id})},
    REPORTED,
    st.sampled_from(["InternalError", "InvalidRequest"]),
)


@given(failed=st.lists(FAILURE))
def test_each_reported_failure_is_kept_or_its_document_is_sent_again(failed):
    again, kept = sort_failures(documents(4), failed)
    sent_again = {document["Id"] for document in again}
    for failure in failed:
        is_named = failure.get("Id") in ids(0, 1, 2, 3)
        if failure in kept:
            assert failure.get("Id") not in sent_again
        elif is_named:
            assert failure["Id"] in sent_again
        else:
            assert failure["ErrorCode"] == "InternalError"
            assert sent_again
    assert (not failed) or again or kept
