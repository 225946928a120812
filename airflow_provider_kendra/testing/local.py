"""The local Kendra as an object: in a process of its own, or mocked in this one."""

import json
import os
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import airflow_provider_kendra
from airflow_provider_kendra.testing import _extra
from airflow_provider_kendra.testing.calls import Call
from airflow_provider_kendra.testing.checks import epoch

REGION = "us-east-1"
KEY = "testing"
ROLE_ARN = "arn:aws:iam::123456789012:role/kendra"
STARTUP_TIMEOUT = 60.0
CONTROL_TIMEOUT = 60.0

Metrics = Mapping[str, int | str]


class Controls(ABC):
    """What both forms of the local Kendra offer to tests."""

    _session: Any = None
    _own_client: Any = None

    def client(self, service: str = "kendra", **kwargs: Any) -> Any:
        """
        Make a boto3 client.

        :param service: Any service that moto supports.
        :param kwargs: Further parameters of ``boto3.client``, which override the defaults.
        """
        from boto3.session import Session

        if self._session is None:
            self._session = Session(aws_access_key_id=KEY, aws_secret_access_key=KEY, region_name=REGION)
        return self._session.client(service, **kwargs)

    @abstractmethod
    def _control(self, name: str, **arguments: Any) -> Any:
        """Run a control and return its result."""

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
        :param bucket: A bucket in this server's S3.
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
        """Delete all data of every service, and all settings, faults and logged calls."""
        self._control("reset")

    def set_sync_duration(self, seconds: float | None, indexing: float | None = None) -> None:
        """
        Set the duration of syncs that start, or are stopped, from now on. Initially 2 s for crawling, 1 s for indexing.

        :param seconds: For crawling; None: until :meth:`advance` or :meth:`finish_sync_job`.
        :param indexing: Seconds for indexing. Default: half of ``seconds``; if that is None too, until :meth:`advance`.
        """
        self._control("set_sync_duration", seconds=seconds, indexing=indexing)

    def set_listing_delay(self, looks: int) -> None:
        """
        Omit each new job from the first list responses after its start, as stale reads do.

        :param looks: How many list responses omit it; initially 0.
        """
        self._control("set_listing_delay", looks=looks)

    def set_empty_first_page(self, is_empty: bool) -> None:
        """
        Make the first page of each history empty, with a ``NextToken``, as AWS may do.

        :param is_empty: Whether it is empty; initially False.
        """
        self._control("set_empty_first_page", is_empty=is_empty)

    def set_creation_time(self, seconds: float, updating: float | None = None) -> None:
        """
        Set how long indexes and data sources that are made from now on stay ``CREATING``.

        Until they are ``ACTIVE``, updates, syncs, uploads and searches get a ``ConflictException``.

        :param seconds: Seconds; initially 0.
        :param updating: How long they are ``UPDATING`` after a change, in seconds. Default: ``seconds``.
        """
        self._control("set_creation_time", seconds=seconds, updating=updating)

    def set_log_delay(self, seconds: float) -> None:
        """
        Set how long after the end of a sync its CloudWatch log streams can be read.

        :param seconds: Seconds, for syncs that end from now on; initially 0.
        """
        self._control("set_log_delay", seconds=seconds)

    def set_quotas(
        self,
        *,
        indexes: int | None = None,
        data_sources: int | None = None,
        documents: int | None = None,
        text_bytes: int | None = None,
    ) -> None:
        """
        Set quotas. Those that are not given are reset to their initial values.

        :param indexes: Indexes that an account can have in a region. Initially unlimited.
        :param data_sources: Data sources that an index can have. Initially unlimited.
        :param documents: Documents for each unit of an index's capacity. Initially as in Kendra: 100,000 in
            ``ENTERPRISE_EDITION``, 20,000 in ``GEN_AI_ENTERPRISE_EDITION``, 10,000 in ``DEVELOPER_EDITION``.
        :param text_bytes: Bytes of extracted text for each unit. Initially 30 GB, 200 MB and 3 GB.
        """
        self._control(
            "set_quotas", indexes=indexes, data_sources=data_sources, documents=documents, text_bytes=text_bytes
        )

    def run_schedules(self, is_running: bool = True) -> None:
        """
        Let the schedules of data sources start syncs by the clock, as Kendra does.

        :param is_running: Whether they do, from now on; initially False.
        """
        self._control("run_schedules", is_running=is_running)

    def set_clock(self, time: datetime | None) -> None:
        """
        Stop Kendra's clock at a time. Syncs and schedules that are due by then proceed, each at the time it was due.

        :param time: A time with a time zone; None lets the clock show the real time again, as initially.
        """
        self._control("set_clock", time=time)

    def advance_clock(self, seconds: float) -> None:
        """
        Put Kendra's clock forward, whether it is stopped or not.

        :param seconds: Seconds.
        """
        self._control("advance_clock", seconds=seconds)

    def set_data_source_status(self, index_id: str, data_source_id: str, status: str) -> None:
        """
        Set the status of a data source. Nothing else changes: syncs start and run whatever the status is.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param status: ``CREATING``, ``UPDATING``, ``DELETING``, ``FAILED`` or ``ACTIVE`` (initially).
        """
        self._control("set_data_source_status", index_id=index_id, data_source_id=data_source_id, status=status)

    def advance(self, index_id: str, data_source_id: str) -> str:
        """
        Advance the running sync to its next status and return that status.

        The sync of a CUSTOM data source can be advanced only after a stop.

        :param index_id: The index.
        :param data_source_id: The data source.
        :raises ValueError: if none is running, or it is a CUSTOM data source's and was not stopped.
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
        End the running sync now, with this outcome.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param status: The status that it ends with.
        :param metrics: Counts under the names of the API, such as ``{"DocumentsFailed": 13}``. Default: the actual
            counts.
        :param error_code: Its ``ErrorCode``.
        :param error_message: Its ``ErrorMessage``.
        :param data_source_error_code: Its ``DataSourceErrorCode``.
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
        Set the outcome of the running sync, or else of the next one.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param status: The status that it ends with.
        :param metrics: Counts under the names of the API, such as ``{"DocumentsFailed": 13}``. Default: the actual
            counts.
        :param error_code: Its ``ErrorCode``.
        :param error_message: Its ``ErrorMessage``.
        :param data_source_error_code: Its ``DataSourceErrorCode``.
        """
        self._control(
            "set_next_outcome", index_id=index_id, data_source_id=data_source_id, status=status,
            metrics=metrics, error_code=error_code, error_message=error_message,
            data_source_error_code=data_source_error_code,
        )  # fmt: skip

    def start_scheduled_sync(self, index_id: str, data_source_id: str) -> str:
        """
        Start a sync as a data source's schedule does, without a request, and return its execution id.

        As in Kendra, it cannot be stopped.

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
        stage: str | None = None,
        reason: str = "The document could not be indexed",
    ) -> None:
        """
        Make documents fail. As in Kendra, a crawl only tries documents that are new or have changed.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param document_ids: Their ids. Those of a bucket are ``s3://bucket/key``.
        :param times: How many times; 0 ends the failures. Default None: always.
        :param error_code: The error code, such as that of each item in ``FailedDocuments``.
        :param stage: ``crawl``, ``sync`` or ``index``; ``put`` to reject them when they are put. Default: ``put`` for
            a CUSTOM data source, ``crawl`` for others.
        :param reason: The error message.
        """
        self._control(
            "fail_documents", index_id=index_id, data_source_id=data_source_id,
            document_ids=document_ids, times=times, error_code=error_code, stage=stage, reason=reason,
        )  # fmt: skip

    def set_documents(self, index_id: str, data_source_id: str, documents: Sequence[Mapping[str, Any]] | None) -> None:
        """
        Set the documents that the next syncs of a data source find, whatever its type, except CUSTOM.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param documents: Each a mapping with ``id`` and, if wanted, ``title``, ``text``, ``source_uri``,
            ``attributes`` (texts by key) and ``access`` (items of ``AccessControlList``). None: go back to crawling
            the bucket of an S3 data source.
        """
        self._control("set_documents", index_id=index_id, data_source_id=data_source_id, documents=documents)

    def set_history(self, index_id: str, data_source_id: str, *histories: Sequence[Mapping[str, Any]]) -> None:
        """
        Return these histories: one after the other at each list request without ``NextToken``, then always the last.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param histories: Each a list of ``History`` items of ``ListDataSourceSyncJobs``. Without any, the real history
            is returned again.
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
        Inject a fault. If several match a call, the first one applies.

        ``error`` and ``status`` replace Kendra's response, and the request has no effect. With the others, Kendra
        handles the request first, except with ``reset="before"``.

        :param operation: The operation of Kendra; ``"*"`` for any.
        :param times: How many times. Default None: always, or as often as ``rate`` says.
        :param rate: The probability for each call, from 0 to 1.
        :param seed: The seed of the random numbers for ``rate``: the same seed gives the same faults.
        :param error: The error code to return, such as ``"ThrottlingException"``.
        :param status: The HTTP status to return. Default: the one that fits the code, else 400.
        :param message: The error message to return.
        :param delay: Seconds between Kendra's action and its response.
        :param reset: A TCP reset, ``"before"`` or ``"after"`` Kendra acts.
        :param body: How the body of the response is damaged: ``"truncated"``, ``"not-json"`` or ``"empty"``.
        :param next_token: The ``NextToken`` of the response: ``"repeated"`` or ``"invalid"``.
        :raises ValueError: for an unknown operation, or if no fault is given.
        """
        self._control(
            "inject", operation=operation, times=times, rate=rate, seed=seed, error=error, status=status,
            message=message, delay=delay, reset=reset, body=body, next_token=next_token,
        )  # fmt: skip

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._control("clear_faults")

    def calls(self, operation: str | None = None) -> list[Call]:
        """
        Return the calls of Kendra since the last reset, oldest first: the newest 100,000, or 100 MB.

        :param operation: Only calls of this operation. Default: all.
        """
        calls: list[Call] = self._control("calls", operation=operation)
        return calls

    def call_count(self, operation: str | None = None) -> int:
        """
        Count the calls since the last reset, without fetching them.

        :param operation: Only calls of this operation. Default: all.
        """
        return int(self._control("call_count", operation=operation))


class LocalKendra(Controls):
    """
    Amazon Kendra, S3, STS and other services of moto in a server process that lives as long as its context.

    :param port: Where to listen. Default 0: a free port.
    :param host: The address to listen on. Default: for this machine only. With another one, such as ``0.0.0.0``,
        everyone who reaches it can read and change what is there.
    :param allow_hosts: The host names, without a port, by which other machines and containers reach the server.
    """

    def __init__(self, *, port: int = 0, host: str = "127.0.0.1", allow_hosts: Sequence[str] = ()):
        self._port = port
        self._host = host
        self._allow_hosts = tuple(allow_hosts)
        self._url: str | None = None
        self._process: subprocess.Popen[str] | None = None

    @classmethod
    def attach(cls, url: str) -> Self:
        """
        Control a local Kendra that is already running.

        :param url: Its URL.
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
        :raises RuntimeError: if the server does not start, or is running already.
        """
        if self._url is not None:
            raise RuntimeError(f"This LocalKendra is running already, at {self._url}")
        _extra.check()
        # Without the developer's AWS settings, and with this very package importable.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        root = str(Path(airflow_provider_kendra.__file__).parent.parent)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", __package__, *self._arguments(), "--until-stdin-closes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert process.stdout is not None
        watchdog = threading.Timer(STARTUP_TIMEOUT, process.kill)
        watchdog.start()
        first_line = process.stdout.readline()
        watchdog.cancel()
        if not first_line.startswith("Local Kendra at "):
            self.stop()
            raise RuntimeError(
                first_line.strip() or f"The local Kendra ended with code {process.returncode} before it listened"
            )
        self._url = first_line.split()[-1]

    def _arguments(self) -> list[str]:
        allowed = [f"--allow-host={name}" for name in self._allow_hosts]
        return ["--port", str(self._port), "--host", self._host, *allowed]

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

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that point boto3, the AWS CLI and other SDKs to it and keep them away from AWS."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AIRFLOW_CONN_AWS_DEFAULT": self.connection_json,
        }

    def client(self, service: str = "kendra", **kwargs: Any) -> Any:
        """
        Make a boto3 client.

        :param service: Any service that moto supports.
        :param kwargs: Further parameters of ``boto3.client``, which override the defaults.
        """
        return super().client(service, **({"endpoint_url": self.url} | kwargs))

    def calls(self, operation: str | None = None) -> list[Call]:  # documented above
        return [Call(**call) for call in self._control("calls", operation=operation)]

    def _control(self, name: str, **arguments: Any) -> Any:
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=CONTROL_TIMEOUT)
        try:
            body = json.dumps(arguments, default=_sent)
            connection.request("POST", f"/kendra-local/{name}", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(content["error"])
        return content["result"]


class MockedKendra(Controls):
    """
    The Kendra of `mock_kendra`, in this process, while the mock is active.

    Faults happen as over HTTP, with one exception: a ``delay`` delays the call, but never triggers a read time-out.

    :raises ImportError: if the extra ``local`` is not installed.
    :raises RuntimeError: if the installed moto has a Kendra of its own, or if any method but ``client`` is called while
        no mock is active: the next mock would discard what it set.
    """

    def __init__(self) -> None:
        _extra.check()
        from airflow_provider_kendra.testing import controls

        self._controls = controls

    @property
    def _kendra(self) -> Any:
        self._controls.require_mock()
        return super()._kendra

    def _control(self, name: str, **arguments: Any) -> Any:
        self._controls.require_mock()
        return self._controls.call(name, arguments)


def _sent(value: Any) -> Any:
    if isinstance(value, datetime):
        return epoch("A time", value)
    if isinstance(value, Collection) and not isinstance(value, bytes):
        return list(value)
    raise ValueError(f"{value!r} can't be sent to the local Kendra")
