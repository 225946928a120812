"""Turns requests into calls of the backend, and their results into JSON."""

import json
from typing import Any

from moto.core.common_types import TYPE_RESPONSE
from moto.core.exceptions import JsonRESTError
from moto.core.responses import BaseResponse
from moto.core.utils import camelcase_to_underscores

from .exceptions import UnknownOperationException
from .models import KendraBackend, kendra_backends, lock
from .validations import parse_request


class KendraResponse(BaseResponse):
    """One request, served under the service's lock: the server is threaded, the models are not."""

    def __init__(self) -> None:
        super().__init__(service_name="kendra")
        self.request: dict[str, Any] = {}

    @property
    def kendra_backend(self) -> KendraBackend:
        return kendra_backends[self.current_account][self.region]

    def _get_action(self) -> str:
        target: str = self.headers.get("X-Amz-Target", "")
        return target.split(".")[-1]

    def call_action(self) -> TYPE_RESPONSE:
        operation = self._get_action()
        self.response_headers["Content-Type"] = "application/x-amz-json-1.1"
        try:
            self.request = parse_request(operation, self.body)
            if not hasattr(self, camelcase_to_underscores(operation)):
                raise UnknownOperationException(f"{operation} is not supported by the local Kendra")
        except JsonRESTError as error:
            return error.code, {**self.response_headers, **dict(error.get_headers())}, error.description
        with lock:
            return super().call_action()

    def create_index(self) -> str:
        return json.dumps({"Id": self.kendra_backend.create_index(self.request).id})

    def describe_index(self) -> str:
        return json.dumps(self.kendra_backend.get_index(self.request["Id"]).to_dict())

    def delete_index(self) -> str:
        self.kendra_backend.delete_index(self.request["Id"])
        return ""

    def list_indices(self) -> str:
        indexes, token = self.kendra_backend.list_indices(self.request.get("MaxResults"), self.request.get("NextToken"))
        return self._page("IndexConfigurationSummaryItems", [i.to_summary() for i in indexes], token)

    def create_data_source(self) -> str:
        return json.dumps({"Id": self.kendra_backend.create_data_source(self.request).id})

    def describe_data_source(self) -> str:
        return json.dumps(self.kendra_backend.get_data_source(**self._data_source).to_dict())

    def update_data_source(self) -> str:
        self.kendra_backend.update_data_source(**self._data_source, changes=self.request)
        return ""

    def delete_data_source(self) -> str:
        self.kendra_backend.delete_data_source(**self._data_source)
        return ""

    def list_data_sources(self) -> str:
        sources, token = self.kendra_backend.list_data_sources(
            self.request["IndexId"], self.request.get("MaxResults"), self.request.get("NextToken")
        )
        return self._page("SummaryItems", [source.to_summary() for source in sources], token)

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
            status=self.request.get("StatusFilter"),
            started_from=period.get("StartTime"),
            started_until=period.get("EndTime"),
            max_results=self.request.get("MaxResults"),
            next_token=self.request.get("NextToken"),
        )
        return self._page("History", history, token)

    def batch_put_document(self) -> str:
        failed = self.kendra_backend.batch_put_document(self.request["IndexId"], self.request["Documents"])
        return json.dumps({"FailedDocuments": failed})

    def batch_delete_document(self) -> str:
        failed = self.kendra_backend.batch_delete_document(
            self.request["IndexId"],
            self.request["DocumentIdList"],
            self.request.get("DataSourceSyncJobMetricTarget"),
        )
        return json.dumps({"FailedDocuments": failed})

    @property
    def _data_source(self) -> dict[str, Any]:
        return {"index_id": self.request["IndexId"], "data_source_id": self.request["Id"]}

    @staticmethod
    def _page(key: str, items: list[dict[str, Any]], token: str | None) -> str:
        return json.dumps({key: items} | ({"NextToken": token} if token else {}))
