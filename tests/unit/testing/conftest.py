"""The local Kendra as these tests meet it: over HTTP, and mocked in this process."""

import pytest

from airflow_provider_kendra.testing import LocalKendra, MockedKendra, mock_kendra


@pytest.fixture(scope="session")
def server():
    with LocalKendra() as kendra:
        yield kendra


@pytest.fixture
def kendra(server):
    """Over HTTP."""
    server.reset()
    return server


@pytest.fixture
def in_process():
    with mock_kendra():
        yield MockedKendra()


@pytest.fixture(params=[pytest.param("over HTTP", marks=pytest.mark.http), "in process"])
def anywhere(request):
    return request.getfixturevalue("kendra" if request.param == "over HTTP" else "in_process")


class Source:
    """One data source, spoken to as a client does."""

    def __init__(self, kendra, data_source_id, index_id):
        self.kendra = kendra
        self.client = kendra.client()
        self.ids = (index_id, data_source_id)
        self.key = {"IndexId": index_id, "Id": data_source_id}

    def start(self):
        return self.client.start_data_source_sync_job(**self.key)["ExecutionId"]

    def stop(self):
        self.client.stop_data_source_sync_job(**self.key)

    def page(self, **parameters):
        return self.client.list_data_source_sync_jobs(**self.key, **parameters)

    def jobs(self, **parameters):
        """The whole history, read page by page."""
        page = self.page(**parameters)
        jobs = page["History"]
        while "NextToken" in page:
            page = self.page(**parameters, NextToken=page["NextToken"])
            jobs += page["History"]
        return jobs

    def newest(self):
        return self.page()["History"][0]

    def counts(self):
        """The newest job's metrics as (added, modified, deleted, failed, scanned)."""
        metrics = self.newest()["Metrics"]
        names = ("Added", "Modified", "Deleted", "Failed", "Scanned")
        return tuple(int(metrics[f"Documents{name}"]) if f"Documents{name}" in metrics else None for name in names)

    def document(self, document_id, execution_id, data_source_id=None):
        said = {
            "_data_source_id": data_source_id or self.key["Id"],
            "_data_source_sync_job_execution_id": execution_id,
        }
        attributes = [{"Key": key, "Value": {"StringValue": value}} for key, value in said.items()]
        return {"Id": document_id, "Blob": b"text", "ContentType": "PLAIN_TEXT", "Attributes": attributes}

    def put(self, execution_id, *document_ids):
        documents = [self.document(each, execution_id) for each in document_ids]
        return self.client.batch_put_document(IndexId=self.key["IndexId"], Documents=documents)["FailedDocuments"]

    def delete(self, *document_ids, **target):
        target = {"DataSourceId": self.key["Id"]} | target
        return self.client.batch_delete_document(
            IndexId=self.key["IndexId"], DocumentIdList=list(document_ids), DataSourceSyncJobMetricTarget=target
        )["FailedDocuments"]


@pytest.fixture
def s3_source():
    """Makes an S3 data source on a bucket, with both new."""

    def make(kendra, **kwargs):
        kendra.client("s3").create_bucket(Bucket="documents")
        index_id = kendra.create_index()
        return Source(kendra, kendra.create_s3_data_source(index_id, "documents", **kwargs), index_id)

    return make


@pytest.fixture
def custom_source():
    """Makes a CUSTOM data source in a new index."""

    def make(kendra):
        index_id = kendra.create_index()
        return Source(kendra, kendra.create_custom_data_source(index_id), index_id)

    return make
