"""How many requests a server answers in a second to parallel clients that open a connection for each."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

CLIENTS = 8


def main(url: str, service: str, target: str, content_type: str, request: dict[str, Any], seconds: float) -> None:
    """Send the same signed request again and again, and print how many a second were answered."""
    body = json.dumps(request).encode()
    signed = AWSRequest("POST", f"{url}/", {"X-Amz-Target": target, "Content-Type": content_type}, body)
    SigV4Auth(Credentials("testing", "testing"), service, "us-east-1").add_auth(signed)
    headers = dict(signed.headers.items())
    netloc = urlsplit(url).netloc
    _ask(netloc, body, headers)  # what a server imports for its first request is not counted
    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        counts = clients.map(lambda _: _ask_until(began + seconds, netloc, body, headers), range(CLIENTS))
    print(json.dumps({"requests_per_s": round(sum(counts) / (time.perf_counter() - began))}))


def _ask_until(end: float, netloc: str, body: bytes, headers: dict[str, str]) -> int:
    count = 0
    while time.perf_counter() < end:
        _ask(netloc, body, headers)
        count += 1
    return count


def _ask(netloc: str, body: bytes, headers: dict[str, str]) -> None:
    connection = HTTPConnection(netloc, timeout=60)
    try:
        connection.request("POST", "/", body, headers)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(content.decode())


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
