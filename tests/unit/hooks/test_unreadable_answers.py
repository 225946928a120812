"""An answer that is no JSON object is never believed, also one whose length is not stated."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from airflow_provider_kendra.exceptions import KendraError
from airflow_provider_kendra.hooks._aws_errors import ErrorKind, classify_error
from airflow_provider_kendra.hooks.kendra import MAX_EMPTY_PAGES, KendraSyncJobsHook
from tests.task_runs import Clock

INDEX, SOURCE = "i" * 36, "source"


class Service:
    """Answers each request with these bodies, the last one again and again; it states no length, and closes."""

    def __init__(self, *bodies: bytes | Callable[[int], bytes]) -> None:
        self.calls = 0
        self.bodies = bodies

    def body(self) -> bytes:
        body = self.bodies[min(self.calls, len(self.bodies) - 1)]
        self.calls += 1
        return body if isinstance(body, bytes) else body(self.calls)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Service]]:
    servers = []

    def start(*bodies: bytes | Callable[[int], bytes]) -> Service:
        service = Service(*bodies)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(service.body())

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        extra = {"region_name": "us-east-1", "endpoint_url": f"http://127.0.0.1:{server.server_port}"}
        connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        return service

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


CALLS: dict[str, Callable[[KendraSyncJobsHook], Any]] = {
    "list_sync_jobs": lambda hook: hook.list_sync_jobs(INDEX, SOURCE),
    "list_data_sources": lambda hook: list(hook.list_data_sources(INDEX)),
    "describe_data_source": lambda hook: hook.describe_data_source(INDEX, SOURCE),
    "stop_sync_job": lambda hook: hook.stop_sync_job(INDEX, SOURCE),
    "put_documents": lambda hook: hook.put_documents(INDEX, SOURCE, "job", [{"Id": "a", "Blob": b"a"}]),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("body", [b"<html>Please log in</html>", b"[]", b'"text"', b"null", b"{"])
def test_a_page_of_a_proxy_with_status_200_is_an_error_that_may_pass(
    serve: Callable[..., Service], call: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_kendra.hooks.kendra.time", Clock())
    serve(body)
    with pytest.raises(KendraError, match="could not be read") as error:
        CALLS[call](KendraSyncJobsHook())
    assert classify_error(error.value) is ErrorKind.TRANSIENT


def test_a_request_that_was_not_sent_is_not_reported_as_an_answer(serve: Callable[..., Service]) -> None:
    service = serve(b"{}")
    hook = KendraSyncJobsHook()

    def fail(**_: object) -> None:
        raise ValueError("the source of the credentials is broken.")

    hook.conn.meta.events.register("before-sign.kendra", fail)
    said = r"The call DescribeDataSource failed: ValueError: the source of the credentials is broken\. Try again\."
    with pytest.raises(KendraError, match=said) as error:
        hook.describe_data_source(INDEX, SOURCE)
    assert service.calls == 0
    assert classify_error(error.value) is ErrorKind.TRANSIENT


def test_an_answer_without_a_length_is_read(serve: Callable[..., Service]) -> None:
    serve(b'{"History": [{"ExecutionId": "job-1", "Status": "SUCCEEDED"}]}')
    (job,) = KendraSyncJobsHook().list_sync_jobs(INDEX, SOURCE)
    assert job.execution_id == "job-1"


def test_a_stop_may_be_answered_with_nothing(serve: Callable[..., Service]) -> None:
    service = serve(b"")
    KendraSyncJobsHook().stop_sync_job(INDEX, SOURCE)
    assert service.calls == 2, "the history is read, and the stop sent once"


def test_pages_without_jobs_and_ever_new_tokens_come_to_an_end(serve: Callable[..., Service]) -> None:
    service = serve(lambda number: json.dumps({"History": [], "NextToken": f"token-{number}"}).encode())
    with pytest.raises(KendraError, match="consecutive pages have no sync job"):
        KendraSyncJobsHook().list_sync_jobs(INDEX, SOURCE)
    assert service.calls == MAX_EMPTY_PAGES + 1


def test_a_page_is_sorted_newest_first_and_jobs_without_a_start_keep_their_places(
    serve: Callable[..., Service],
) -> None:
    starts = {"old": 1, "none": None, "new": 3, "middle": 2}
    history = [
        {"ExecutionId": name, "Status": "SUCCEEDED"} | ({"StartTime": 1_767_225_600 + start} if start else {})
        for name, start in starts.items()
    ]
    serve(json.dumps({"History": history}).encode())
    jobs = KendraSyncJobsHook().list_sync_jobs(INDEX, SOURCE)
    assert [job.execution_id for job in jobs] == ["new", "none", "middle", "old"]
