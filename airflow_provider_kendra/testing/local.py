"""Runs the local Kendra in a process of its own, and holds its levers."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import airflow_provider_kendra
from airflow_provider_kendra.testing import _extra

REGION = "us-east-1"
KEY = "testing"
ROLE_ARN = "arn:aws:iam::123456789012:role/kendra"
STARTUP_TIMEOUT = 60.0
CONTROL_TIMEOUT = 60.0

Metrics = Mapping[str, int | str]


@dataclass(frozen=True)
class Call:
    """
    A request that the local Kendra has received.

    :param operation: The operation of the API, such as ``ListDataSourceSyncJobs``.
    :param parameters: Its parameters, parsed from JSON. In requests over 1 MB, texts are cut to 1,000 characters.
    :param region: The AWS region that the client meant.
    :param time: When it came, in seconds since the epoch.
    :param status: The HTTP status of the answer; None if it was not answered (yet).
    :param error: The code of the error, ``ConnectionReset`` for a reset; None if it was answered well.
    """

    operation: str
    parameters: Any
    region: str
    time: float
    status: int | None
    error: str | None


class LocalKendra:
    """
    Amazon Kendra (and S3, STS and whatever else moto has) on loopback, while its context lasts.

    :param port: Where to listen. Default 0: a free port.
    """

    def __init__(self, *, port: int = 0):
        self._port = port
        self._url: str | None = None
        self._process: subprocess.Popen[str] | None = None
        self._session: Any = None
        self._own_client: Any = None

    @classmethod
    def attach(cls, url: str) -> Self:
        """
        Get the same levers on a local Kendra that somebody else runs.

        :param url: Where that one listens.
        """
        kendra = cls()
        kendra._url = url.rstrip("/")
        return kendra

    def __enter__(self) -> Self:
        if self._url is None:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """
        Start the server's process and wait until it listens; entering the context does so too.

        :raises ImportError: if the extra ``local`` is not installed.
        """
        _extra.check()
        # The developer's own AWS settings have no business there; our package must be found as it is here.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        root = str(Path(airflow_provider_kendra.__file__).parent.parent)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", __package__, "--port", str(self._port), "--until-stdin-closes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert process.stdout is not None
        too_late = threading.Timer(STARTUP_TIMEOUT, process.kill)
        too_late.start()
        first_line = process.stdout.readline()
        too_late.cancel()
        if not first_line:
            self.stop()
            raise RuntimeError(f"The local Kendra ended with code {process.returncode} before it listened")
        self._url = first_line.split()[-1]

    def stop(self) -> None:
        """End the server's process, if this object started it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._process = self._url = self._session = self._own_client = None

    @property
    def url(self) -> str:
        """Where it listens: the ``endpoint_url`` of any client."""
        if self._url is None:
            raise RuntimeError("The local Kendra is not running: use it as a context manager, or attach(url)")
        return self._url

    @property
    def connection_uri(self) -> str:
        """A value for AIRFLOW_CONN_AWS_DEFAULT, as a URI."""
        return f"aws://{KEY}:{KEY}@/?region_name={REGION}&endpoint_url={quote(self.url, safe='')}"

    @property
    def connection_json(self) -> str:
        """A value for AIRFLOW_CONN_AWS_DEFAULT, as JSON."""
        extra = {"region_name": REGION, "endpoint_url": self.url}
        return json.dumps({"conn_type": "aws", "login": KEY, "password": KEY, "extra": extra})

    def client(self, service: str = "kendra", **kwargs: Any) -> Any:
        """
        Make a boto3 client.

        :param service: Any service that moto has.
        :param kwargs: Further parameters of ``boto3.client``; they override.
        """
        from boto3.session import Session

        if self._session is None:
            self._session = Session(aws_access_key_id=KEY, aws_secret_access_key=KEY, region_name=REGION)
        return self._session.client(service, **({"endpoint_url": self.url} | kwargs))

    @property
    def _kendra(self) -> Any:
        if self._own_client is None:
            self._own_client = self.client()
        return self._own_client

    def create_index(self, name: str = "index") -> str:
        """
        Make an index and return its id.

        :param name: Its name.
        """
        index_id: str = self._kendra.create_index(Name=name, RoleArn=ROLE_ARN)["Id"]
        return index_id

    def create_custom_data_source(self, index_id: str, name: str = "custom") -> str:
        """
        Make a data source that takes ``BatchPutDocument``, and return its id.

        :param index_id: The index.
        :param name: Its name.
        """
        return self._create_data_source(IndexId=index_id, Name=name, Type="CUSTOM")

    def create_s3_data_source(
        self, index_id: str, bucket: str, *, name: str = "s3", prefixes: Sequence[str] = (), **kwargs: Any
    ) -> str:
        """
        Make a data source that crawls a bucket, and return its id.

        :param index_id: The index.
        :param bucket: The bucket, in the S3 of this same server.
        :param name: Its name.
        :param prefixes: Crawl only keys that begin with one of these. Default: all.
        :param kwargs: Further parameters of ``CreateDataSource``, such as ``Schedule``.
        """
        s3 = {"BucketName": bucket, "InclusionPrefixes": list(prefixes)}
        return self._create_data_source(
            IndexId=index_id, Name=name, Type="S3", RoleArn=ROLE_ARN, Configuration={"S3Configuration": s3},
            **kwargs,
        )  # fmt: skip

    def _create_data_source(self, **request: Any) -> str:
        data_source_id: str = self._kendra.create_data_source(**request)["Id"]
        return data_source_id

    def reset(self) -> None:
        """Forget all data, in every service, and all settings, faults and calls."""
        self._control("reset")

    def set_sync_duration(self, seconds: float | None, indexing: float | None = None) -> None:
        """
        Say how long syncs take that are started or stopped from now on. At first: 2 and 1 seconds.

        :param seconds: For crawling; None: until :meth:`advance` or :meth:`finish_sync_job`.
        :param indexing: Seconds for indexing. Default: half as long as the crawl.
        """
        self._control("set_sync_duration", seconds=seconds, indexing=indexing)

    def set_listing_delay(self, looks: int) -> None:
        """
        Leave each job that starts from now on out of the first lists asked for after its start: stale reads.

        :param looks: Out of so many; 0, as at first, for none.
        """
        self._control("set_listing_delay", looks=looks)

    def set_empty_first_page(self, is_empty: bool) -> None:
        """
        Let the first page of each history be empty and have a ``NextToken``, as AWS may answer.

        :param is_empty: Whether it is; at first it is not.
        """
        self._control("set_empty_first_page", is_empty=is_empty)

    def set_data_source_status(self, index_id: str, data_source_id: str, status: str) -> None:
        """
        Show a status of a data source. It changes nothing else: syncs start and run whatever the status is.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param status: ``CREATING``, ``UPDATING``, ``DELETING``, ``FAILED`` or ``ACTIVE``, which each is at first.
        """
        self._control("set_data_source_status", index_id=index_id, data_source_id=data_source_id, status=status)

    def advance(self, index_id: str, data_source_id: str) -> str:
        """
        Take the running sync one status further and return that status.

        :param index_id: The index.
        :param data_source_id: The data source.
        :raises ValueError: if none is running, or the data source is CUSTOM.
        """
        return str(self._control("advance", index_id=index_id, data_source_id=data_source_id))

    def finish_sync_job(
        self,
        index_id: str,
        data_source_id: str,
        status: str = "SUCCEEDED",
        *,
        metrics: Metrics | None = None,
        error_code: str | None = None,
        error_message: str | None = None,
        data_source_error_code: str | None = None,
    ) -> None:
        """
        End the running sync now, in this way.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param status: The status that it ends with.
        :param metrics: Counts under the names of the API, such as ``{"DocumentsFailed": 13}``. Default: as really
            counted.
        :param error_code: Its error code.
        :param error_message: Its error message.
        :param data_source_error_code: The error code of the data source's own side.
        :raises ValueError: if none is running.
        """
        self._control(
            "finish_sync_job", index_id=index_id, data_source_id=data_source_id, status=status,
            metrics=metrics, error_code=error_code, error_message=error_message,
            data_source_error_code=data_source_error_code,
        )  # fmt: skip

    def set_next_outcome(
        self,
        index_id: str,
        data_source_id: str,
        status: str = "SUCCEEDED",
        *,
        metrics: Metrics | None = None,
        error_code: str | None = None,
        error_message: str | None = None,
        data_source_error_code: str | None = None,
    ) -> None:
        """
        Let the running sync, else the next to start, end in this way when its time comes.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param status: The status that it ends with.
        :param metrics: Counts under the names of the API, such as ``{"DocumentsFailed": 13}``. Default: as really
            counted.
        :param error_code: Its error code.
        :param error_message: Its error message.
        :param data_source_error_code: The error code of the data source's own side.
        """
        self._control(
            "set_next_outcome", index_id=index_id, data_source_id=data_source_id, status=status,
            metrics=metrics, error_code=error_code, error_message=error_message,
            data_source_error_code=data_source_error_code,
        )  # fmt: skip

    def start_scheduled_sync(self, index_id: str, data_source_id: str) -> str:
        """
        Start a sync as a data source's schedule does, asked by no client, and return its execution id.

        Nobody can stop it, as is so in Kendra.

        :param index_id: The index.
        :param data_source_id: The data source.
        """
        return str(self._control("start_scheduled_sync", index_id=index_id, data_source_id=data_source_id))

    def fail_documents(
        self,
        index_id: str,
        data_source_id: str,
        document_ids: Sequence[str],
        *,
        times: int | None = None,
        error_code: str = "InternalError",
    ) -> None:
        """
        Refuse documents when they are put.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param document_ids: Their ids.
        :param times: The next so many times. Default None: always.
        :param error_code: The ``ErrorCode`` of each in ``FailedDocuments``.
        """
        self._control(
            "fail_documents", index_id=index_id, data_source_id=data_source_id,
            document_ids=list(document_ids), times=times, error_code=error_code,
        )  # fmt: skip

    def set_history(self, index_id: str, data_source_id: str, *histories: Sequence[Mapping[str, Any]]) -> None:
        """
        Show these histories: the next one at each look, and the last one from then on.

        A look is a list that is asked for without ``NextToken``.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param histories: Each a list of items as ``ListDataSourceSyncJobs`` has them in ``History``. None: the true
            history again.
        """
        self._control("set_history", args=[index_id, data_source_id, *histories])

    def inject(
        self,
        operation: str,
        *,
        times: int | None = None,
        rate: float | None = None,
        seed: int = 0,
        error: str | None = None,
        status: int | None = None,
        message: str | None = None,
        delay: float | None = None,
        reset: str | None = None,
        body: str | None = None,
        next_token: str | None = None,
    ) -> None:
        """
        Misbehave. Of several faults that fit a call, the one injected first strikes.

        ``error`` and ``status`` answer in Kendra's place, which then never hears of the request. With all others
        Kendra acts first, unless it is ``reset="before"``.

        :param operation: At this operation of Kendra; ``"*"`` for any.
        :param times: The next so many times. Default None, if ``rate`` is None too: always.
        :param rate: At each call with this probability, from 0 to 1.
        :param seed: Where the random numbers for ``rate`` begin: the same ones in each run.
        :param error: The error code to answer, such as ``"ThrottlingException"``.
        :param status: The HTTP status to answer. Default: what fits the code, else 400.
        :param message: The error message to answer.
        :param delay: Seconds between what Kendra does and its answer.
        :param reset: A TCP reset, ``"before"`` or ``"after"`` Kendra acts.
        :param body: What becomes of the answer's body: ``"truncated"``, ``"not-json"`` or ``"empty"``.
        :param next_token: The ``NextToken`` of the answer: ``"repeated"`` or ``"invalid"``.
        :raises ValueError: for an operation that Kendra does not have, or without any of the faults.
        """
        self._control(
            "inject", operation=operation, times=times, rate=rate, seed=seed, error=error, status=status,
            message=message, delay=delay, reset=reset, body=body, next_token=next_token,
        )  # fmt: skip

    def clear_faults(self) -> None:
        """Behave again."""
        self._control("clear_faults")

    def calls(self, operation: str | None = None) -> list[Call]:
        """
        Get the calls of Kendra since the last reset, in the order they came: the newest 100,000, or 100 MB.

        :param operation: Only of this operation. Default: of all.
        """
        return [Call(**call) for call in self._control("calls", operation=operation)]

    def call_count(self, operation: str | None = None) -> int:
        """
        Count the calls since the last reset, without fetching them.

        :param operation: Only of this operation. Default: of all.
        """
        return int(self._control("call_count", operation=operation))

    def _control(self, name: str, **parameters: Any) -> Any:
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=CONTROL_TIMEOUT)
        try:
            body = json.dumps(parameters, default=_epoch)
            connection.request("POST", f"/kendra-local/{name}", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(content["error"])
        return content["result"]


def _epoch(value: Any) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{value!r} has no place in a history")
