"""What a fault of CloudWatch Logs does to tasks and gates: the table in docs/guarantees.md, row by row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from airflow_provider_kendra.exceptions import KendraSyncJobMetricsError, KendraSyncJobRejectedError
from airflow_provider_kendra.operators.kendra import KendraSyncJobMetricsOperator
from airflow_provider_kendra.sensors.kendra import KendraSyncJobSensor
from tests.conftest import NEWEST_START, DataSource, counts, listed
from tests.task_runs import Clock, XComs

FAILED = 3
"""How many documents failed, as the sync job reports."""


def event(name: str, *, stream: str = "SYNC_RUN_HISTORY_REPORT/documents/job", **members: Any) -> dict[str, Any]:
    failed = {"Status": "FAILED"}
    body = {"DocumentId": name, "CrawlStatus": failed, "ConnectorDocumentStatus": failed, "ErrorMsg": "Denied"}
    at = int(NEWEST_START.timestamp() * 1000)
    return {"logStreamName": stream, "timestamp": at, "message": json.dumps(body | members)}


def page(*events: Any, token: Any = None) -> dict[str, Any]:
    return {"events": list(events), **({} if token is None else {"nextToken": token})}


def refused(code: str, status: int = 400) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "No."}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "FilterLogEvents")  # type: ignore[arg-type]


ALL = [event(name) for name in "abc"]


class Found(NamedTuple):
    """How many documents are named, after how many calls, and a part of the note; None for no note."""

    documents: int
    calls: int
    note: str | None


@dataclass(frozen=True)
class Fault:
    """The answers of CloudWatch Logs, of which the last is repeated, and what is found then."""

    answers: list[Any]
    failed: Found
    missing: Found
    seconds: float = 0.1
    """How long each call takes."""


NOT_ALL = "Not all events were read within"
LATE = "Kendra's logs name none of"
NOT_NAMED = "1 of the last 1 sync reports documents that failed, but Kendra's logs do not name all of them."

FAULTS = {
    "none": Fault([page(*ALL)], Found(3, 1, None), Found(3, 2, None)),
    "permission denied": Fault(
        [refused("AccessDeniedException")],
        Found(0, 1, "grant logs:FilterLogEvents on log-group:/aws/kendra/"),
        Found(0, 1, "grant logs:FilterLogEvents on log-group:/aws/kendra/"),
    ),
    "no log group": Fault(
        [refused("ResourceNotFoundException")], Found(0, 1, "does not exist"), Found(0, 1, "does not exist")
    ),
    "throttled once": Fault([refused("ThrottlingException"), page(*ALL)], Found(3, 2, None), Found(3, 3, None)),
    "throttled for ever": Fault(
        [refused("ThrottlingException")], Found(0, 5, "throttled the requests"), Found(0, 20, "throttled the requests")
    ),
    "throttled for ever, slowly": Fault(
        [refused("ThrottlingException")], Found(0, 3, "throttled"), Found(0, 8, "throttled"), seconds=7
    ),
    "throttled after a page": Fault(
        [page(*ALL[:2], token="1"), refused("ThrottlingException")],
        Found(2, 5, "throttled the requests"),
        Found(2, 20, "throttled the requests"),
    ),
    "a server error for ever": Fault(
        [refused("InternalFailure", 500)], Found(0, 5, "InternalFailure"), Found(0, 20, "InternalFailure")
    ),
    "no connection": Fault(
        [EndpointConnectionError(endpoint_url="https://logs")],
        Found(0, 5, "did not answer in time"),
        Found(0, 20, "did not answer in time"),
    ),
    "no response": Fault(
        [ReadTimeoutError(endpoint_url="https://logs")],
        Found(0, 3, "did not answer in time"),
        Found(0, 8, "did not answer in time"),
        seconds=7,
    ),
    "a response that does not end": Fault(
        [page(*ALL)], Found(0, 2, "did not answer in time"), Found(0, 6, "did not answer in time"), seconds=10**6
    ),
    "a response without events": Fault([{}], Found(0, 1, "could not be read"), Found(0, 1, "could not be read")),
    "events that are no list": Fault(
        [{"events": {"a": 1}}], Found(0, 1, "could not be read"), Found(0, 1, "could not be read")
    ),
    "a token that is no text": Fault(
        [page(*ALL, token=3)], Found(3, 1, "could not be read"), Found(3, 2, "could not be read")
    ),
    "empty pages with a token": Fault(
        [page(token="1"), page(token="2"), page(*ALL)], Found(3, 3, None), Found(3, 4, None)
    ),
    "empty pages without end": Fault(
        [lambda n: page(token=str(n))], Found(0, 5, f"{NOT_ALL} 5 calls and 20 s"), Found(0, 20, f"{NOT_ALL} 20 calls")
    ),
    "empty pages without end, slowly": Fault(
        [lambda n: page(token=str(n))], Found(0, 3, NOT_ALL), Found(0, 7, f"{NOT_ALL} 20 calls and 60 s"), seconds=9
    ),
    "the same token for ever": Fault(
        [page(*ALL, token="1")], Found(3, 2, "the same page twice"), Found(3, 4, "the same page twice")
    ),
    "more pages than calls": Fault(
        [lambda n: page(event(f"d{n}"), token=str(n))], Found(5, 5, NOT_ALL), Found(20, 20, NOT_ALL)
    ),
    "denied on the second page": Fault(
        [page(*ALL[:2], token="1"), refused("AccessDeniedException")],
        Found(2, 2, "The log events that were read name 2 of 3 documents that failed."),
        Found(2, 3, "grant logs:FilterLogEvents"),
    ),
    "a late report, or one that was deleted": Fault(
        [page()], Found(0, 2, f"{LATE} the 3 documents that failed. The log events may be late"), Found(0, 1, NOT_NAMED)
    ),
    "a report that is late in part": Fault(
        [page(*ALL[:2])], Found(2, 1, "name 2 of 3 documents that failed; the rest may be late"), Found(2, 2, NOT_NAMED)
    ),
    "no report": Fault(
        [page(), page(*(event(name, stream="documents/2026-01-31-18/job") for name in "abc"))],
        Found(3, 2, None),
        Found(0, 1, NOT_NAMED),
    ),
    "no report, and streams without a job": Fault(
        [page(), page(*(event(name, stream="documents/2026-01-31-18/0f0f") for name in "abc"))],
        Found(3, 2, "3 of the documents are from streams that do not name this sync job"),
        Found(0, 1, NOT_NAMED),
    ),
    "malformed events": Fault(
        [page(*ALL, None, 3, "x", [], {}, {"message": 3}, *({**ALL[0], "message": text} for text in
              ("", "no JSON", "[]", "{}", '"x"', "[" * 10_000, "\ud800"))), page(*ALL)],
        Found(3, 1, None),
        Found(3, 2, None),
    ),
    "events of other streams": Fault(
        [page(*ALL, event("x", stream="SYNC_RUN_HISTORY_REPORT/other/job"), event("y", stream="x"))],
        Found(3, 1, None),
        Found(3, 2, None),
    ),
    "a document twice": Fault([page(*ALL, *ALL)], Found(3, 1, None), Found(3, 2, None)),
    "huge events": Fault(
        [page(*(event(name * 10**6, ErrorMsg="x " * 10**5) for name in "abc"))], Found(3, 1, None), Found(3, 2, None)
    ),
}  # fmt: skip


class Logs:
    """Stands for the client of CloudWatch Logs; its calls take time on a clock."""

    def __init__(self, fault: Fault, clock: Clock, data_source_id: str) -> None:
        self._answers, self._seconds, self._clock = list(fault.answers), fault.seconds, clock
        self._data_source_id = data_source_id
        self.calls = 0

    def filter_log_events(self, **request: Any) -> Any:
        self.calls += 1
        self._clock.sleep(self._seconds)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        answer = answer(self.calls) if callable(answer) else answer
        if isinstance(answer.get("events"), list):
            return answer | {"events": list(map(self._of_data_source, answer["events"]))}
        return answer

    def _of_data_source(self, event: Any) -> Any:
        if not isinstance(event, dict) or "logStreamName" not in event:
            return event
        return event | {"logStreamName": event["logStreamName"].replace("documents", self._data_source_id)}

    def call_within(self, seconds: float, call: Callable[[], Any]) -> Any:
        """Give up a call on the same clock."""
        began = self._clock.elapsed
        try:
            return call()
        finally:
            if self._clock.elapsed - began > seconds:
                self._clock.elapsed = began + max(seconds, 0)
                raise TimeoutError


@pytest.fixture
def source(data_source: DataSource) -> DataSource:
    data_source.show([listed("job", "INCOMPLETE", EndTime=NEWEST_START, Metrics=counts(failed=FAILED))])
    return data_source


class Ended(NamedTuple):
    result: Any
    failed: dict[str, Any]
    calls: int
    seconds: float


def run(task: Any, fault: Fault, xcoms: XComs | None = None) -> Ended:
    """Run a task with these answers of CloudWatch Logs, up to its result or error."""
    xcoms, clock = xcoms or XComs(), Clock()
    task.hook._logs_client = logs = Logs(fault, clock, task.data_source_id)
    result: Any
    with clock.in_place(), patch("airflow_provider_kendra.hooks.kendra.call_within", logs.call_within):
        try:
            result = task.execute({"ti": xcoms})
        except (KendraSyncJobRejectedError, KendraSyncJobMetricsError) as error:
            result = error
    return Ended(result, xcoms.pushed.get("failed_documents", {}), logs.calls, clock.elapsed)


def sensor(source: DataSource, **arguments: Any) -> KendraSyncJobSensor:
    return KendraSyncJobSensor(task_id="wait", **source.as_kwargs, execution_id="job", **arguments)


def gate(source: DataSource, **arguments: Any) -> KendraSyncJobMetricsOperator:
    arguments = {"max_missing_documents": 0, "list_failed_documents": 0} | arguments
    return KendraSyncJobMetricsOperator(task_id="gate", **source.as_kwargs, **arguments)


each_fault = pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in FAULTS.items()])


@each_fault
def test_a_fault_does_not_change_how_a_wait_ends_and_the_note_says_what_is_missing(
    source: DataSource, fault: Fault
) -> None:
    accepted = run(sensor(source, max_documents_failed=5), fault)
    assert accepted.result["status"] == "INCOMPLETE"
    rejected = run(sensor(source), fault)
    assert isinstance(rejected.result, KendraSyncJobRejectedError)
    assert str(rejected.result).startswith("Sync INCOMPLETE: 3 documents failed; max_documents_failed=3 or more")

    documents, calls, note = fault.failed
    for ended in (accepted, rejected):
        assert (len(ended.failed["documents"]), ended.failed["found"], ended.calls) == (documents, documents, calls)
        assert (ended.failed["expected"], ended.failed["is_complete"]) == (FAILED, note is None)
        assert (note or "") in (ended.failed["note"] or "")
        assert ended.calls <= 5
        assert ended.seconds <= 20
    assert (rejected.failed["note"] or "").removesuffix(".") in str(rejected.result)


@each_fault
def test_a_gate_on_missing_documents_is_not_met_while_it_is_not_known_which_are_missing(
    source: DataSource, fault: Fault
) -> None:
    documents, calls, note = fault.missing
    ended = run(gate(source), fault)
    assert isinstance(ended.result, KendraSyncJobMetricsError)
    unknown = "it is not known which documents are missing (max_missing_documents=0)"
    many = f"{documents} documents are missing after failing in an earlier sync (max_missing_documents=0)"
    assert ended.result.violations == [many if documents else unknown]
    assert (note or "").removesuffix(".") in str(ended.result)
    assert (ended.calls, ended.calls <= 20, ended.seconds <= 60) == (calls, True, True)

    tolerant = run(gate(source, max_missing_documents=20), fault)
    assert isinstance(tolerant.result, KendraSyncJobMetricsError) is (note is not None)


class FullDatabase(XComs):
    def xcom_push(self, key: str, value: Any) -> None:
        if key == "failed_documents":
            raise OSError("database or disk is full")


def test_an_xcom_that_cannot_be_pushed_changes_nothing_and_the_error_names_the_documents(
    source: DataSource, caplog: pytest.LogCaptureFixture
) -> None:
    task = sensor(source)
    with patch.object(type(task), "log") as log:
        ended = run(task, FAULTS["none"], FullDatabase())
    assert ". Failed: a (crawl: Denied); b (crawl: Denied); c (crawl: Denied). By reason" in str(ended.result)
    [warning] = [call.args[0] % call.args[1:] for call in log.warning.call_args_list]
    assert warning == "The XCom failed_documents could not be pushed: database or disk is full"
