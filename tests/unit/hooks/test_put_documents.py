"""Documents go into a CUSTOM data source in batches, and none is lost without a word."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest

from airflow_provider_kendra.exceptions import KendraDocumentsError
from airflow_provider_kendra.hooks.kendra import PUT_ATTEMPTS, KendraSyncJobsHook
from tests.conftest import DataSource
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
    with pytest.raises(KendraDocumentsError, match="did not take 3 documents") as raised:
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
