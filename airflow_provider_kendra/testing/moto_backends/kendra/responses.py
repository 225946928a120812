"""Turns requests into calls of the backend, and their results into JSON."""

import gzip
import json
import logging
import re
import zlib
from collections.abc import Mapping
from typing import Any

from moto.core.common_types import TYPE_RESPONSE
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse
from moto.core.utils import camelcase_to_underscores
from moto.utilities.aws_headers import gen_amzn_requestid_long

from .exceptions import (
    IncompleteSignatureException,
    InternalServerException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
    SerializationException,
    UnknownOperationException,
)
from .models import KendraBackend, kendra_backends, lock
from .validations import parse_request

CONTENT_TYPE = "application/x-amz-json-1.1"

log = logging.getLogger(__name__)


class KendraResponse(BaseResponse):
    """One request, served under the service's lock: the server is threaded, the models are not."""

    def __init__(self) -> None:
        super().__init__(service_name="kendra")
        self.request: dict[str, Any] = {}

    @property
    def kendra_backend(self) -> KendraBackend:
        try:
            return kendra_backends[self.current_account][self.region]
        except KeyError:
            raise InvalidSignatureException(
                f"Credential should be scoped to a valid region: Kendra is not in '{self.region}'"
            ) from None

    def _get_action(self) -> str:
        target: str = self.headers.get("X-Amz-Target", "")
        return target.split(".")[-1]

    def _dispatch(self, request: Any, full_url: str | None = None, headers: Any = None) -> TYPE_RESPONSE:
        headers = request.headers if headers is None else headers
        try:
            check_signed(headers)
            body = _read_body(request, headers)
            self.allow_request_decompression = False
            self.setup_class(request, full_url, headers, use_raw_body=True)
        except ServiceException as error:
            return self.serialized(ActionResult(error))
        self.body = body
        return self.call_action()

    def call_action(self) -> TYPE_RESPONSE:
        operation = self._get_action()
        self.response_headers["Content-Type"] = CONTENT_TYPE
        try:
            if not hasattr(self, camelcase_to_underscores(operation)):
                raise UnknownOperationException(f"{operation[:100]} is not supported by the local Kendra")
            self.request = parse_request(operation, self.body)
            with lock:
                return super().call_action()
        except ServiceException as error:
            return self.serialized(ActionResult(error))
        except Exception as error:
            log.exception("%s failed in the local Kendra", operation)
            message = f"The local Kendra failed: {type(error).__name__}: {error}"
            return self.serialized(ActionResult(InternalServerException(message)))

    def serialized(self, action_result: ActionResult) -> TYPE_RESPONSE:
        """Serialize an error. moto's serializer fails for other content types, and warns of codes common to all AWS."""
        error = action_result.result
        assert isinstance(error, ServiceException)
        error.__traceback__ = None  # it refers to the body of the request, which can be large
        headers = {"Content-Type": CONTENT_TYPE, "X-Amzn-ErrorType": error.code}
        gen_amzn_requestid_long(headers)
        status = 500 if isinstance(error, InternalServerException) else 400
        return status, headers, json.dumps({"__type": error.code, "Message": error.message})

    # indexes

    def create_index(self) -> str:
        index = self.kendra_backend.create_index(**self._to_create)
        return json.dumps({"Id": index.id})

    def describe_index(self) -> str:
        return json.dumps(self.kendra_backend.describe_index(index_id=self.request["Id"]).to_dict())

    def update_index(self) -> str:
        self.kendra_backend.update_index(index_id=self.request["Id"], changes=self.request)
        return ""

    def delete_index(self) -> str:
        self.kendra_backend.delete_index(index_id=self.request["Id"])
        return ""

    def list_indices(self) -> str:
        indexes, token = self.kendra_backend.list_indices(**self._page)
        return _list("IndexConfigurationSummaryItems", [index.to_summary() for index in indexes], token)

    # data sources

    def create_data_source(self) -> str:
        source = self.kendra_backend.create_data_source(index_id=self.request.pop("IndexId"), **self._to_create)
        return json.dumps({"Id": source.id})

    def describe_data_source(self) -> str:
        return json.dumps(self.kendra_backend.describe_data_source(**self._data_source).to_dict())

    def update_data_source(self) -> str:
        self.kendra_backend.update_data_source(**self._data_source, changes=self.request)
        return ""

    def delete_data_source(self) -> str:
        self.kendra_backend.delete_data_source(**self._data_source)
        return ""

    def list_data_sources(self) -> str:
        sources, token = self.kendra_backend.list_data_sources(index_id=self.request["IndexId"], **self._page)
        return _list("SummaryItems", [source.to_summary() for source in sources], token)

    # tags

    def list_tags_for_resource(self) -> str:
        return json.dumps({"Tags": self.kendra_backend.list_tags_for_resource(arn=self.request["ResourceARN"])})

    def tag_resource(self) -> str:
        self.kendra_backend.tag_resource(arn=self.request["ResourceARN"], tags=self.request["Tags"])
        return "{}"

    def untag_resource(self) -> str:
        self.kendra_backend.untag_resource(arn=self.request["ResourceARN"], tag_keys=self.request["TagKeys"])
        return "{}"

    # sync jobs

    def start_data_source_sync_job(self) -> str:
        job = self.kendra_backend.start_data_source_sync_job(**self._data_source)
        return json.dumps({"ExecutionId": job.execution_id})

    def stop_data_source_sync_job(self) -> str:
        self.kendra_backend.stop_data_source_sync_job(**self._data_source)
        return ""

    def list_data_source_sync_jobs(self) -> str:
        period = self.request.get("StartTimeFilter", {})
        history, token = self.kendra_backend.list_data_source_sync_jobs(
            **self._data_source,
            **self._page,
            status=self.request.get("StatusFilter"),
            started_from=period.get("StartTime"),
            started_until=period.get("EndTime"),
        )
        return _list("History", history, token)

    # documents

    def batch_put_document(self) -> str:
        failed = self.kendra_backend.batch_put_document(
            index_id=self.request["IndexId"], documents=self.request["Documents"]
        )
        return json.dumps({"FailedDocuments": failed})

    def batch_delete_document(self) -> str:
        failed = self.kendra_backend.batch_delete_document(
            index_id=self.request["IndexId"],
            document_ids=self.request["DocumentIdList"],
            target=self.request.get("DataSourceSyncJobMetricTarget"),
        )
        return json.dumps({"FailedDocuments": failed})

    def batch_get_document_status(self) -> str:
        statuses, errors = self.kendra_backend.batch_get_document_status(
            index_id=self.request["IndexId"], documents=self.request["DocumentInfoList"]
        )
        return json.dumps({"DocumentStatusList": statuses, "Errors": errors})

    def query(self) -> str:
        return json.dumps(self.kendra_backend.query(index_id=self.request["IndexId"], request=self.request))

    def retrieve(self) -> str:
        return json.dumps(self.kendra_backend.retrieve(index_id=self.request["IndexId"], request=self.request))

    @property
    def _to_create(self) -> dict[str, Any]:
        """The request of a create operation as arguments; those of the resource's configuration keep their names."""
        names = {"ClientToken": "client_token", "Tags": "tags"}
        return {names.get(name, name): value for name, value in self.request.items()}

    @property
    def _data_source(self) -> dict[str, Any]:
        return {"index_id": self.request["IndexId"], "data_source_id": self.request["Id"]}

    @property
    def _page(self) -> dict[str, Any]:
        return {"max_results": self.request.get("MaxResults"), "next_token": self.request.get("NextToken")}


def _list(key: str, items: list[dict[str, Any]], token: str | None) -> str:
    return json.dumps({key: items} | ({"NextToken": token} if token else {}))


def check_signed(headers: Mapping[str, str]) -> None:
    """Refuse requests that are not signed for Kendra; the signature itself is not checked."""
    authorization = headers.get("Authorization")
    if not authorization:
        raise MissingAuthenticationTokenException()
    credential = re.match(r"AWS4-[A-Z0-9-]+\s.*?\bCredential=([^,\s]+)", authorization)
    scope = credential[1].split("/") if credential else []
    if len(scope) not in (4, 5) or scope[-1] != "aws4_request":  # version 4a names no region
        raise IncompleteSignatureException("The Authorization header has no credential scope of Signature Version 4")
    if scope[-2] != "kendra":
        raise InvalidSignatureException("Credential should be scoped to correct service: 'kendra'.")


def _read_body(request: Any, headers: Mapping[str, str]) -> bytes:
    # moto before 5.2 passes on botocore's own request, which has no get_data.
    body = request.get_data() if hasattr(request, "get_data") else request.body
    body = body.read() if hasattr(body, "read") else body or b""
    body = body.encode() if isinstance(body, str) else body
    if headers.get("Content-Encoding") != "gzip":
        return bytes(body)
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error):
        raise SerializationException("The request body is not valid gzip") from None
