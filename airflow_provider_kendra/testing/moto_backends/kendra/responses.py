"""Turns requests into calls of the backend, and their results into JSON."""

import json
from typing import Any

from moto.core.common_types import TYPE_RESPONSE
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse
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
        except ServiceException as error:
            error.__traceback__ = None  # it refers to the body of the request, which can be large
            return self.serialized(ActionResult(error))
        with lock:
            return super().call_action()

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
