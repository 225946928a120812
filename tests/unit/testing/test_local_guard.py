"""The local Kendra answers its user's programs, and neither a web page nor a request without end."""

import json
import re
import socket
import threading
from io import BufferedReader
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

MEGABYTE = 1_000_000
JSON_TYPE = "Content-Type: application/json"
LIST_INDICES = "X-Amz-Target: AWSKendraFrontendService.ListIndices"
AUTHORIZED = "Authorization: AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/kendra/aws4_request, S=x"
CROSS_SITE = "Sec-Fetch-Site: cross-site"
FOREIGN = "Origin: https://evil.example"


def head(kendra, request_line, *headers, host=None):
    """The first bytes of a request; `host` replaces the right one, "" leaves it out."""
    host = urlsplit(kendra.url).netloc if host is None else host
    lines = [f"{request_line} HTTP/1.1", *([f"Host: {host}"] if host else []), *headers, "", ""]
    return "\r\n".join(lines).encode()


def connect(kendra):
    url = urlsplit(kendra.url)
    return socket.create_connection((url.hostname, url.port), timeout=60)


def answer(connection):
    """The status and the body of the answer; None if the connection was closed without one."""
    content = b"".join(iter(lambda: connection.recv(65536), b""))
    if not content:
        return None
    first, _, body = content.partition(b"\r\n\r\n")
    return int(first.split()[1]), body.decode()


def ask(kendra, request_line, *headers, body=b"", host=None):
    if body:
        headers += (f"Content-Length: {len(body)}",)
    with connect(kendra) as connection:
        connection.sendall(head(kendra, request_line, *headers, host=host) + body)
        return answer(connection)


@pytest.mark.parametrize(
    ("request_line", "headers"),
    [
        ("GET /kendra-local/reset", [CROSS_SITE, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"]),
        ("GET /kendra-local/reset", ["Referer: https://evil.example/"]),
        ("POST /kendra-local/reset", [FOREIGN, "Content-Type: text/plain"]),
        ("POST /kendra-local/reset", [FOREIGN, JSON_TYPE]),
        ("POST /kendra-local/reset", ["Origin: null", "Content-Type: application/x-www-form-urlencoded"]),
        ("POST /kendra-local/reset", ["Origin: http://localhost:8888", JSON_TYPE, "Sec-Fetch-Site: same-site"]),
        ("POST /kendra-local/reset", ["Content-Type: text/plain"]),
        ("POST /kendra-local/reset", ["Content-Type: Multipart/Form-Data; boundary=x"]),
        ("OPTIONS /kendra-local/reset", [FOREIGN, "Access-Control-Request-Method: POST"]),
        ("POST /", [FOREIGN, CROSS_SITE, LIST_INDICES]),
        ("POST /moto-api/reset", [FOREIGN, CROSS_SITE]),
        ("POST /moto-api/reset", [CROSS_SITE]),
        ("POST /moto-api/recorder/upload-recording", [FOREIGN, "Content-Type: text/plain"]),
        ("GET /moto-api/data.json", [CROSS_SITE]),
        ("GET /?Action=CreateQueue&QueueName=x&Version=2012-11-05", [CROSS_SITE]),
        ("PUT /documents", [FOREIGN]),
    ],
)
def test_a_request_of_a_web_page_is_refused_and_changes_nothing(kendra, request_line, headers):
    index_id = kendra.create_index()
    status, body = ask(kendra, request_line, *headers)
    assert status == 403
    assert re.search(r"The local Kendra [^.]+\.", body), body
    kendra.client().describe_index(Id=index_id)
    assert kendra.call_count() == 2, "the requests of the page are not in the log"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/kendra-local/reset", "/kendra%2Dlocal/reset", "//kendra-local/reset"])
def test_controls_accept_only_post(kendra, method, path):
    index_id = kendra.create_index()
    assert ask(kendra, f"{method} {path}", JSON_TYPE)[0] == 403
    kendra.client().describe_index(Id=index_id)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "evil-localhost",
     "127.0.0.1@evil.example", "evil.example#.localhost", "localhost:80:80", "[::1", "::1", "0.0.0.0", "10.0.0.1",
     "127.0.0.1, evil.example", "kendra.us-east-1.amazonaws.com", ""],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/moto-api/data.json", "/kendra-local/call_count"])
def test_a_host_that_was_rebound_to_loopback_is_refused(kendra, host, path):
    assert ask(kendra, f"POST {path}", JSON_TYPE, LIST_INDICES, host=host)[0] == 403


def test_a_refusal_says_which_names_are_served_and_which_type_controls_have(kendra):
    _, host = ask(kendra, "POST /kendra-local/reset", JSON_TYPE, host="evil.example")
    assert "accepts only loopback names, the names of --host and --allow-host, and their subdomains." in host
    _, content_type = ask(kendra, "POST /kendra-local/reset", "Content-Type: text/plain; charset=utf-8")
    assert "accepts no controls as text/plain: send them as application/json." in content_type


def test_a_second_host_does_not_hide_the_first(kendra):
    assert ask(kendra, "POST /kendra-local/call_count", "Host: evil.example", JSON_TYPE)[0] == 403


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:5005", "localhost", "LocalHost:80", "[::1]", "[::1]:5005", "documents.localhost:1"]
)
def test_each_name_of_loopback_is_answered(kendra, host):
    status, body = ask(kendra, "POST /kendra-local/call_count", JSON_TYPE, host=host)
    assert status == 200
    assert '{"result": 0}' in body


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [JSON_TYPE],
        ["Content-Type: application/json; charset=utf-8"],
        ["Content-Type: application/x-www-form-urlencoded"],
        [JSON_TYPE, "Sec-Fetch-Site: none"],
        [JSON_TYPE, "Sec-Fetch-Site: same-origin", "Origin: http://localhost:5005"],
    ],
)
def test_programs_and_pages_of_the_server_itself_can_use_controls(kendra, headers):
    assert ask(kendra, "POST /kendra-local/call_count", *headers, body=b"{}", host="localhost:5005")[0] == 200


def test_the_dashboard_opens_from_the_address_bar(kendra):
    assert ask(kendra, "GET /moto-api/", "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate")[0] == 200


def test_a_refusal_is_an_error_that_boto3_understands(kendra):
    def pretend(request, **kwargs):
        request.headers["Origin"] = "https://evil.example"

    for service, call in (("kendra", "list_indices"), ("s3", "list_buckets")):
        client = kendra.client(service)
        client.meta.events.register("before-send", pretend)
        with pytest.raises(ClientError, match=r"AccessDenied.*does not serve web pages"):
            getattr(client, call)()


@pytest.mark.parametrize(
    ("length", "status"),
    [("-1", 400), ("+2", 400), ("2.0", 400), ("0x2", 400), ("two", 400), ("٢", 400), ("", 400),
     ("2\r\nContent-Length: 3", 400),
     ("100000000", 413), ("9" * 30, 413), ("9" * 5000, 413)],
)  # fmt: skip
@pytest.mark.parametrize("target", [f"POST / HTTP/1.1\r\n{LIST_INDICES}", "POST /kendra-local/reset", "PUT /b/key"])
def test_a_content_length_that_is_no_length_or_too_large_is_refused_at_once(kendra, target, length, status):
    """The connection stays open for writing: an answer can only come from a server that waits for no body."""
    request_line, _, header = target.partition(" HTTP/1.1\r\n")
    got, body = ask(kendra, request_line, f"Content-Length: {length}", *filter(None, [header]))
    assert got == status
    assert "body" in body or "Content-Length" in body


def test_a_client_that_asks_before_it_sends_is_answered_once(kendra):
    """As curl and boto3's S3 client do."""
    for length, expected in ((2, [b"100", b"200"]), (100 * MEGABYTE, [b"413"])):
        headers = (JSON_TYPE, f"Content-Length: {length}", "Expect: 100-continue")
        with connect(kendra) as connection:
            connection.sendall(head(kendra, "POST /kendra-local/call_count", *headers))
            received = connection.recv(65536)
            connection.sendall(b"{}")
            received += b"".join(iter(lambda: connection.recv(65536), b""))
        assert re.findall(rb"HTTP/1.1 (\d+)", received) == expected


def test_a_body_that_is_too_large_gets_an_error_that_boto3_understands(kendra):
    config = Config(retries={"total_max_attempts": 1})
    index_id = kendra.create_index()
    document = {"Id": "a", "Blob": b"a" * (75 * MEGABYTE)}
    with pytest.raises(ClientError, match="EntityTooLarge") as caught:
        kendra.client(config=config).batch_put_document(IndexId=index_id, Documents=[document])
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    kendra.client("s3").create_bucket(Bucket="documents")
    with pytest.raises(ClientError, match="EntityTooLarge"):
        kendra.client("s3", config=config).put_object(Bucket="documents", Key="a", Body=b"a" * (100 * MEGABYTE))


def test_a_body_in_chunks_is_read(kendra):
    call = b'{"operation": "ListIndices"}'
    chunks = b"".join(b"%x\r\n%c\r\n" % (1, byte) for byte in call) + b"0\r\n\r\n"
    with connect(kendra) as connection:
        request = head(kendra, "POST /kendra-local/call_count", JSON_TYPE, "Transfer-Encoding: chunked")
        connection.sendall(request + chunks)
        assert '{"result": 0}' in answer(connection)[1]
    kendra.client("s3").create_bucket(Bucket="documents")
    with connect(kendra) as connection:
        connection.sendall(head(kendra, "PUT /documents/key", "Transfer-Encoding: chunked") + chunks)
        assert answer(connection)[0] == 200
    assert kendra.client("s3").get_object(Bucket="documents", Key="key")["Body"].read() == call


@pytest.mark.parametrize("chunk", [b"-5\r\nabcde\r\n", b"zz\r\nabc\r\n", b"3\r\nabcdef\r\n"])
def test_chunks_that_are_malformed_are_refused(kendra, chunk):
    with connect(kendra) as connection:
        request = head(kendra, "POST /kendra-local/call_count", JSON_TYPE, "Transfer-Encoding: chunked")
        connection.sendall(request + chunk)
        assert answer(connection)[0] == 400


def send_without_end(connection, part):
    try:
        while True:
            connection.sendall(part)
    except OSError:
        pass


def memory(process, name):
    """Kilobytes, as Linux counts them: VmRSS is used now, VmHWM was the most."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", status)[1])


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the memory of a process")
@pytest.mark.parametrize("target", ["/", "/kendra-local/inject", "/documents/key"])
def test_three_large_bodies_take_no_memory(kendra, target):
    Path(f"/proc/{kendra._process.pid}/clear_refs").write_text("5")
    before = memory(kendra._process, "VmHWM")
    connections = [connect(kendra) for _ in range(3)]
    for connection in connections:
        connection.sendall(head(kendra, f"POST {target}", LIST_INDICES, f"Content-Length: {100 * MEGABYTE}"))
    for connection in connections:
        with connection:
            send = threading.Thread(target=send_without_end, args=(connection, b"a" * MEGABYTE))
            send.start()
            assert answer(connection)[0] == 413
            connection.shutdown(socket.SHUT_RDWR)
            send.join()
    assert memory(kendra._process, "VmHWM") - before < 20_000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the memory of a process")
def test_a_large_body_that_was_served_is_freed_at_once(kendra):
    ask(kendra, "POST /", LIST_INDICES, JSON_TYPE, body=b"{}")
    before = memory(kendra._process, "VmRSS")
    body = json.dumps({"NextToken": "a" * 60 * MEGABYTE}).encode()
    status, said = ask(kendra, "POST /", LIST_INDICES, AUTHORIZED, JSON_TYPE, body=body)
    assert (status, len(said) < 2000) == (400, True)
    ask(kendra, "POST /", LIST_INDICES, AUTHORIZED, JSON_TYPE, body=b"{}")
    assert memory(kendra._process, "VmRSS") - before < 60_000, "not one of the copies is left"


def test_a_large_document_is_taken_but_does_not_stay_in_the_log(kendra, custom_source):
    source = custom_source(kendra)
    execution_id = source.start()
    document = source.document("a", execution_id) | {"Blob": b"a" * (40 * MEGABYTE)}
    source.client.batch_put_document(IndexId=source.ids[0], Documents=[document])
    (call,) = kendra.calls("BatchPutDocument")
    assert (call.parameters["IndexId"], call.parameters["Documents"][0]["Id"]) == (source.ids[0], "a")
    assert call.parameters["Documents"][0]["Blob"].endswith("… (1000 of 53333336 characters)")
    assert len(json.dumps(call.parameters)) < 10_000


class TestInThisProcess:
    """Limits made small, so that nothing needs to be waited for."""

    @pytest.fixture
    def limits(self, monkeypatch):
        from airflow_provider_kendra.testing import guard

        return lambda **values: [monkeypatch.setattr(guard, name, value) for name, value in values.items()]

    @pytest.fixture
    def here(self):
        from airflow_provider_kendra.testing.server import Server

        server = Server()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        server.server_close()

    @pytest.mark.parametrize(
        ("begun", "status"),
        [
            (b"", None),
            (b"POST / HT", None),
            (b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz", None),
            (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{", 408),
            (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", 408),
        ],
    )
    def test_a_sender_that_stops_in_the_middle_holds_no_thread(self, here, limits, begun, status):
        limits(REQUEST_SECONDS=0.1)
        with connect(here) as connection:
            connection.sendall(begun)
            got = answer(connection)
            assert (got and got[0]) == status

    @pytest.mark.parametrize(
        "part", [b"10000\r\n" + b"a" * 65536 + b"\r\n", b"1;" + b"a" * 65536, b"1\r\na\r\n" * 10_000]
    )
    def test_chunks_without_end_are_refused(self, here, limits, part):
        limits(MAX_BODY=100_000, MAX_OVERHEAD=100_000)
        with connect(here) as connection:
            connection.sendall(head(here, "POST /", LIST_INDICES, "Transfer-Encoding: chunked"))
            sender = threading.Thread(target=send_without_end, args=(connection, part))
            sender.start()
            assert answer(connection)[0] in (400, 413)
            connection.shutdown(socket.SHUT_RDWR)
            sender.join()

    @pytest.mark.parametrize(
        ("header", "begun"),
        [
            ("Content-Length: 9", b"{}"),
            *(("Transfer-Encoding: chunked", each) for each in (b"", b"9\r\n{}", b"2\r\n{}\r\n")),
        ],
    )
    def test_a_sender_that_ends_too_early_gets_an_error(self, here, header, begun):
        with connect(here) as connection:
            connection.sendall(head(here, "POST /", LIST_INDICES, header) + begun)
            connection.shutdown(socket.SHUT_WR)
            assert answer(connection)[0] == 400

    def test_a_receiver_that_does_not_read_holds_no_thread(self, here, limits, monkeypatch):
        limits(REQUEST_SECONDS=0.1)
        before = set(threading.enumerate())
        from airflow_provider_kendra.testing import controls

        monkeypatch.setitem(controls.CONTROLS, "flood", lambda: "a" * (50 * MEGABYTE))
        with connect(here) as connection:
            connection.sendall(head(here, "POST /kendra-local/flood", JSON_TYPE))
            connection.recv(1)
            for thread in set(threading.enumerate()) - before:
                thread.join(60)
                assert not thread.is_alive()

    def test_the_time_for_a_request_is_not_renewed_by_each_byte(self, limits):
        from airflow_provider_kendra.testing.guard import RequestReader

        limits(REQUEST_SECONDS=30.0)
        times = iter([0.0, 1.0, 29.0, 30.0])
        ours, theirs = socket.socketpair()
        with ours, theirs:
            reader = BufferedReader(RequestReader(ours, lambda: next(times)), 1)
            theirs.sendall(b"abc")
            assert reader.read(1) + reader.read(1) == b"ab"
            with pytest.raises(TimeoutError):
                reader.read(1)

    def test_the_log_of_calls_is_bounded_in_size(self, here, monkeypatch):
        from airflow_provider_kendra.testing import calls, controls

        monkeypatch.setattr(calls, "LOGGED_BYTES", 1000)
        controls.reset()
        for number in range(10):
            ask(here, "POST /", LIST_INDICES, body=json.dumps({"NextToken": f"{number}" * 300}).encode())
        assert [call.parameters["NextToken"][0] for call in controls.calls()] == ["7", "8", "9"]
        assert controls.call_count() == 10

    @pytest.mark.parametrize("body", [b"[" + b"1," * 10_000 + b"1]", b"a" * 20_000])
    def test_a_large_request_that_is_none_of_kendras_is_logged_by_its_beginning(self, here, monkeypatch, body):
        from airflow_provider_kendra.testing import calls, controls

        monkeypatch.setattr(calls, "LOGGED_BODY", 2000)
        controls.reset()
        ask(here, "POST /", LIST_INDICES, body=body)
        (call,) = controls.calls()
        assert len(call.parameters) < 1100
        assert call.parameters.startswith(body[:100].decode())


def test_a_refused_call_of_kendra_has_the_same_code_in_its_header_and_its_body(kendra):
    with connect(kendra) as connection:
        connection.sendall(head(kendra, "POST /", FOREIGN, LIST_INDICES))
        headers, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    assert b"X-Amzn-ErrorType: AccessDeniedException\r\n" in headers
    assert json.loads(body)["__type"] == "AccessDeniedException"
