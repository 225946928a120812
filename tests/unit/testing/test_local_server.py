"""The server: its faults are real, its log is complete, and it outlives nobody."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import IncompleteRead

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from airflow_provider_kendra.testing import LocalKendra
from airflow_provider_kendra.testing import __main__ as command

LIST = "ListDataSourceSyncJobs"
START = "StartDataSourceSyncJob"


@pytest.fixture
def source(kendra, custom_source):
    """Its client tries once, so that a fault is seen as it is."""
    source = custom_source(kendra)
    source.client = kendra.client(config=Config(retries={"total_max_attempts": 1}, read_timeout=1))
    return source


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        ({"error": "ThrottlingException"}, "ThrottlingException", 400),
        ({"error": "AccessDeniedException"}, "AccessDeniedException", 400),
        ({"error": "ExpiredTokenException"}, "ExpiredTokenException", 400),
        ({"error": "InternalServerException"}, "InternalServerException", 500),
        ({"error": "ThrottlingException", "status": 429}, "ThrottlingException", 429),
        ({"status": 503}, "503", 503),
    ],
)
def test_an_injected_error_is_answered_in_kendras_place(kendra, source, fault, code, status):
    kendra.inject(START, **fault, message="told so")
    with pytest.raises(ClientError) as caught:
        source.start()
    assert caught.value.response["Error"] == {"Code": code, "Message": "told so"}
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert source.jobs() == []
    assert [(call.status, call.error) for call in kendra.calls(START)] == [(status, fault.get("error"))]


def outcomes(source, count):
    seen = []
    for _ in range(count):
        try:
            source.page()
            seen.append(True)
        except ClientError:
            seen.append(False)
    return seen


def test_a_fault_applies_as_often_as_requested(kendra, source):
    kendra.inject(LIST, error="ThrottlingException", times=2)
    assert outcomes(source, 4) == [False, False, True, True]


def test_a_fault_applies_only_to_its_own_operation(kendra, source):
    kendra.inject(START, error="ThrottlingException")
    assert outcomes(source, 1) == [True]
    kendra.inject("*", error="ThrottlingException")
    assert outcomes(source, 1) == [False]
    kendra.clear_faults()
    assert outcomes(source, 1) == [True]


def test_faults_of_one_operation_apply_in_the_order_they_were_injected(kendra, source):
    kendra.inject(LIST, error="ThrottlingException", times=1)
    kendra.inject(LIST, reset="before", times=1)
    with pytest.raises(ClientError):
        source.page()
    with pytest.raises(ConnectionClosedError):
        source.page()
    assert outcomes(source, 1) == [True]


def test_a_rate_is_kept_and_repeats_with_its_seed(kendra, source):
    seen = []
    for _ in range(2):
        kendra.clear_faults()
        kendra.inject(LIST, error="ThrottlingException", rate=0.5, seed=7)
        seen.append(outcomes(source, 40))
    assert seen[0] == seen[1]
    assert 10 < sum(seen[0]) < 30


@pytest.mark.parametrize(("when", "started"), [("before", False), ("after", True)])
def test_a_reset_breaks_the_connection_before_or_after_kendra_acts(kendra, source, when, started):
    kendra.inject(START, reset=when, times=1)
    with pytest.raises(ConnectionClosedError):
        source.start()
    assert bool(source.jobs()) is started
    assert [(call.status, call.error) for call in kendra.calls(START)] == [(None, "ConnectionReset")]


def test_a_reset_is_a_tcp_reset_not_an_orderly_end(kendra):
    kendra.inject("ListIndices", reset="before")
    host, port = kendra.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AWSKendraFrontendService.ListIndices\r\n"
            b"Content-Length: 2\r\n\r\n{}"
        )
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_a_late_answer_times_out_though_kendra_has_acted(kendra, source):
    source.client = kendra.client(config=Config(retries={"total_max_attempts": 1}, read_timeout=0.05))
    kendra.inject(START, delay=0.3, times=1)
    with pytest.raises(ReadTimeoutError):
        source.start()
    source.client = kendra.client()
    assert len(source.jobs()) == 1


def test_a_slow_answer_arrives(kendra, source):
    kendra.inject(LIST, delay=0.05, times=1)
    before = time.monotonic()
    assert source.jobs() == []
    assert time.monotonic() - before >= 0.05


def answer(kendra):
    headers = {"X-Amz-Target": "AWSKendraFrontendService.ListIndices", "Content-Type": "application/x-amz-json-1.1"}
    headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/kendra/aws4_request, S=x"
    with urllib.request.urlopen(urllib.request.Request(kendra.url, b"{}", headers)) as response:
        return response.read()


def test_a_truncated_body_ends_before_its_announced_length(kendra):
    whole = answer(kendra)
    kendra.inject("ListIndices", body="truncated", times=1)
    with pytest.raises(IncompleteRead) as caught:
        answer(kendra)
    assert whole.startswith(caught.value.partial)
    assert answer(kendra) == whole


@pytest.mark.parametrize(("body", "expected"), [("empty", b""), ("not-json", b"<html>")])
def test_a_body_can_be_empty_or_no_json(kendra, body, expected):
    kendra.inject("ListIndices", body=body)
    assert answer(kendra)[:6] == expected


@pytest.mark.parametrize("body", ["not-json", "empty"])
def test_boto3_parses_a_damaged_body_as_an_empty_response(kendra, source, body):
    kendra.inject(START, body=body)
    assert source.client.start_data_source_sync_job(**source.key).keys() == {"ResponseMetadata"}
    assert len(source.jobs()) == 1


def test_a_repeated_token_returns_the_same_page_again(kendra, source):
    kendra.set_history(*source.ids, [{"ExecutionId": name} for name in "abcd"])
    kendra.inject(LIST, next_token="repeated")
    pages = [source.page(MaxResults=2)]
    for _ in range(3):
        pages.append(source.page(MaxResults=2, NextToken=pages[-1]["NextToken"]))
    assert [[job["ExecutionId"] for job in page["History"]] for page in pages] == [["a", "b"]] + [["c", "d"]] * 3
    assert len({page["NextToken"] for page in pages}) == 1


def test_an_invalid_token_is_refused_when_it_comes_back(kendra, source):
    kendra.inject(LIST, next_token="invalid", times=1)
    page = source.page()
    with pytest.raises(source.client.exceptions.ValidationException):
        source.page(NextToken=page["NextToken"])


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        ("ListDataSourceSyncJob", {"error": "ThrottlingException"}),
        (LIST, {}),
        (LIST, {"reset": "sometimes"}),
        (LIST, {"body": "odd"}),
    ],
)
def test_a_fault_that_could_never_apply_is_rejected(kendra, operation, fault):
    with pytest.raises(ValueError, match=r"must be one of|no operation|needs one"):
        kendra.inject(operation, **fault)


def test_calls_are_logged_in_order_without_the_controls(kendra, custom_source):
    before = time.time()
    source = custom_source(kendra)
    kendra.set_sync_duration(0)
    kendra.client(region_name="eu-west-1").list_indices(MaxResults=3)
    with pytest.raises(ClientError):
        source.client.describe_index(Id=source.ids[0][::-1])
    calls = kendra.calls()
    assert [call.operation for call in calls] == ["CreateIndex", "CreateDataSource", "ListIndices", "DescribeIndex"]
    assert (calls[2].parameters, calls[2].region) == ({"MaxResults": 3}, "eu-west-1")
    assert [(call.status, call.error) for call in calls[2:]] == [(200, None), (400, "ResourceNotFoundException")]
    assert before <= calls[0].time <= calls[-1].time <= time.time()
    assert (kendra.call_count(), kendra.call_count("ListIndices")) == (4, 1)


def test_another_process_can_use_the_same_controls(kendra, source):
    other = LocalKendra.attach(kendra.url)
    other.inject(LIST, error="ThrottlingException", times=1)
    assert outcomes(source, 2) == [False, True]
    assert other.call_count(LIST) == 2
    other.stop()
    assert outcomes(source, 1) == [True], "an attached server is somebody else's to stop"


def test_many_clients_at_once_are_all_answered(kendra, source):
    source.client = kendra.client(config=Config(retries={"total_max_attempts": 1}, max_pool_connections=100))
    source.start()
    with ThreadPoolExecutor(100) as pool:
        pages = list(pool.map(lambda _: source.page(), range(300)))
    assert {page["History"][0]["Status"] for page in pages} == {"SYNCING"}
    assert kendra.call_count(LIST) == 300


def test_of_many_starts_at_once_one_succeeds(kendra, source):
    def start(_):
        try:
            return bool(source.start())
        except source.client.exceptions.ResourceInUseException:
            return False

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(start, range(20))) == 1


def listens(url):
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.slow
def test_the_server_ends_with_its_context_and_is_on_loopback_only():
    with LocalKendra() as kendra:
        url = kendra.url
        assert url.startswith("http://127.0.0.1:")
        assert listens(url)
    assert not listens(url)
    with pytest.raises(RuntimeError, match="not running"):
        _ = kendra.url


@pytest.mark.slow
def test_the_server_ends_when_its_parent_is_killed():
    code = "from airflow_provider_kendra.testing import LocalKendra as K; k = K(); k.start(); print(k.url, flush=True)"
    parent = subprocess.Popen(
        [sys.executable, "-c", code + "; input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    url = parent.stdout.readline().strip()
    assert listens(url)
    parent.kill()
    parent.communicate()
    until = time.monotonic() + 10
    while listens(url) and time.monotonic() < until:
        time.sleep(0.01)
    assert not listens(url)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_where_it_is_and_ends_cleanly_on_a_signal(how):
    process = subprocess.Popen(
        [sys.executable, "-m", "airflow_provider_kendra.testing"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    first, _, *export = (process.stdout.readline() for _ in range(4))
    kendra = LocalKendra.attach(first.split()[-1])
    show = "".join(export) + 'printf %s "$AIRFLOW_CONN_AWS_DEFAULT"'
    assert max(map(len, export)) < 100
    assert subprocess.run(["sh", "-c", show], capture_output=True, text=True).stdout == kendra.connection_uri
    assert kendra.call_count() == 0
    os.kill(process.pid, how)
    assert process.communicate(timeout=10)[1] == ""
    assert process.returncode == 0


@pytest.mark.slow
def test_with_a_host_of_its_own_it_also_serves_the_names_that_were_allowed():
    with LocalKendra(host="0.0.0.0", allow_hosts=["kendra"]) as kendra:
        assert kendra.url.startswith("http://127.0.0.1:"), "as this machine reaches it"
        port = kendra.url.rpartition(":")[2]
        for host, expected in (
            ("kendra", 200), (f"Kendra:{port}", 200), (f"documents.kendra:{port}", 200), (f"localhost:{port}", 200),
            ("evil.example", 403), ("kendra.evil.example", 403), ("evilkendra", 403), ("0.0.0.0", 403),
        ):  # fmt: skip
            request = urllib.request.Request(f"{kendra.url}/kendra-local/call_count", b"{}", {"Host": host})
            assert status_of(request) == expected, host
        request.add_header("Host", "kendra")
        request.add_header("Origin", "https://evil.example")
        assert status_of(request) == 403, "a web page"


@pytest.mark.slow
def test_buckets_are_found_under_an_allowed_name():
    with LocalKendra(host="0.0.0.0", allow_hosts=["kendra"]) as kendra:
        s3 = kendra.client("s3", endpoint_url=kendra.url)
        s3.meta.events.register("before-send", lambda request, **_: request.headers.__setitem__("Host", "kendra:80"))
        s3.create_bucket(Bucket="documents")
        s3.put_object(Bucket="documents", Key="a/b", Body=b"text")
        assert s3.get_object(Bucket="documents", Key="a/b")["Body"].read() == b"text"


def status_of(request):
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_help_says_what_another_host_means(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["kendra", "--help"])
    with pytest.raises(SystemExit, match="0"):
        command.main()
    assert "everyone who reaches the address" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--host", "", "'' is not an address or host name"),
        ("--allow-host", "", "'' is not an address or host name"),
        ("--allow-host", "a b", "'a b' is not an address or host name"),
        ("--port", "65536", "'65536' is not a number from 0 to 65535"),
        ("--port", "-1", "'-1' is not a number from 0 to 65535"),
    ],
)
def test_an_invalid_host_or_port_is_refused(capsys, monkeypatch, option, value, sentence):
    monkeypatch.setattr(sys, "argv", ["kendra", f"{option}={value}"])
    with pytest.raises(SystemExit, match="2"):
        command.main()
    assert sentence in capsys.readouterr().err


def test_a_server_that_cannot_start_says_so(kendra, capfd):
    taken = int(kendra.url.rpartition(":")[2])
    with pytest.raises(RuntimeError, match="ended with code 1 before it listened"):
        LocalKendra(port=taken).start()


def test_a_local_kendra_that_runs_is_not_started_again(kendra):
    for running in (kendra, LocalKendra.attach(kendra.url)):
        with pytest.raises(RuntimeError, match=f"^This LocalKendra is running already, at {kendra.url}$"):
            running.start()
