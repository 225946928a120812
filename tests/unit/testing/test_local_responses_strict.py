"""Every response of every operation, as sent over HTTP, fits the service model; so does every error."""

import json
import uuid
from base64 import b64encode
from datetime import UTC, datetime

import pytest

from tests.unit.testing.generated import valid
from tests.unit.testing.wire import CONTENT_TYPE, Wire, complaints, members, members_sent, model, supported_operations

ROLE = "arn:aws:iam::123456789012:role/kendra"
ABSENT = str(uuid.UUID(int=1))
START = datetime(2026, 1, 31, 6, tzinfo=UTC)

#: Errors of the protocol, which every AWS service can send and no service model has.
PROTOCOL_ERRORS = {"SerializationException", "UnknownOperationException"}

#: Members that the local Kendra never sends, by operation: the first part of their paths.
NEVER_SENT = {
    "BatchGetDocumentStatus": ["Errors[].DataSourceId"],
    "DescribeDataSource": ["ErrorMessage"],
    "DescribeIndex": ["ErrorMessage"],
    # It has no FAQs, tables, spelling, featured results and collapsed results.
    "Query": [
        "ResultItems[].AdditionalAttributes[]", "ResultItems[].TableExcerpt", "ResultItems[].CollapsedResultDetail",
        "FacetResults[].DocumentAttributeValueCountPairs[].DocumentAttributeValue.StringListValue",
        "Warnings", "SpellCorrectedQueries", "FeaturedResultsItems",
    ],
}  # fmt: skip


class Scenario:
    """Uses every operation, with what makes optional members occur, and in most ways that fail."""

    def __init__(self, kendra):
        self.kendra = kendra
        self.wire = Wire(kendra.url)
        self.call = self.wire.call
        kendra.set_clock(START)
        self.sources = {}
        self.index_id = self.indexes()
        self.data_sources()
        self.tags()
        self.crawls()
        self.pages_of_syncs()
        self.documents()
        self.searches()
        self.changes()
        self.errors()
        self.deletions()

    def indexes(self):
        """Indexes with every member, also while they are created and changed."""
        self.kendra.set_creation_time(60)
        whole = valid(model().operation_model("CreateIndex").input_shape, everything=True)
        index_id = self.made("CreateIndex", **whole | {"Edition": "ENTERPRISE_EDITION"})
        self.call("CreateIndex", Name="second", RoleArn=ROLE, Edition="DEVELOPER_EDITION")
        self.call("DescribeIndex", Id=index_id)
        self.call("CreateDataSource", IndexId=index_id, Name="early", Type="CUSTOM")
        self.kendra.advance_clock(60)
        whole = valid(model().operation_model("UpdateIndex").input_shape, everything=True)
        self.call("UpdateIndex", **whole | {"Id": index_id, "UserContextPolicy": "ATTRIBUTE_FILTER"})
        self.call("DescribeIndex", Id=index_id)
        self.kendra.advance_clock(60)
        self.kendra.set_creation_time(0)
        page = self.call("ListIndices", MaxResults=1)
        self.call("ListIndices", MaxResults=1, NextToken=page["NextToken"])
        return index_id

    def data_sources(self):
        """A data source of each type, with every member of its configuration."""
        shape = model().operation_model("CreateDataSource").input_shape
        configurations = valid(shape.members["Configuration"], everything=True)
        configurations["TemplateConfiguration"] = {"Template": {"type": "S3", "version": "1.0.0"}}
        common = valid(shape, everything=True) | {"IndexId": self.index_id, "Schedule": "cron(0 18 ? * MON-FRI *)"}
        for kind in shape.members["Type"].enum:
            request = {"IndexId": self.index_id, "Name": kind, "Type": kind}
            name = next((each for each in configurations if each.lower() == f"{kind}configuration".lower()), None)
            if name is not None:
                unique = {"Name": kind, "Type": kind, "ClientToken": kind, "RoleArn": ROLE}
                request = common | unique | {"Configuration": {name: configurations[name]}}
            self.sources[kind] = self.made("CreateDataSource", **request)
            self.call("DescribeDataSource", **self.key(kind))
        page = self.call("ListDataSources", IndexId=self.index_id, MaxResults=5)
        self.call("ListDataSources", IndexId=self.index_id, NextToken=page["NextToken"])

    def made(self, operation, **request):
        content = self.call(operation, **request)
        assert "Id" in content, content
        return content["Id"]

    def key(self, kind):
        return {"IndexId": self.index_id, "Id": self.sources[kind]}

    def tags(self):
        arn = f"arn:aws:kendra:us-east-1:123456789012:index/{self.index_id}"
        self.call("TagResource", ResourceARN=arn, Tags=[{"Key": "team", "Value": "search"}])
        self.call("ListTagsForResource", ResourceARN=arn)
        self.call("UntagResource", ResourceARN=arn, TagKeys=["team"])

    def crawls(self):
        """Syncs of a bucket: running, complete, incomplete, stopped and failed."""
        s3 = self.kendra.client("s3")
        s3.create_bucket(Bucket="documents")
        for name in ("a.txt", "b.html", "c.bin"):
            s3.put_object(Bucket="documents", Key=name, Body=f"What {name} says about penguins")
        configuration = {"S3Configuration": {"BucketName": "documents"}}
        self.call("UpdateDataSource", **self.key("S3"), Configuration=configuration, Schedule="")
        outcomes = [{}, {"status": "INCOMPLETE"}, {"status": "FAILED", "error_code": "InternalError",
                    "error_message": "The role cannot be assumed", "data_source_error_code": "403"}]  # fmt: skip
        ids = (self.index_id, self.sources["S3"])
        for outcome in outcomes:
            self.kendra.set_next_outcome(*ids, **outcome)
            self.call("StartDataSourceSyncJob", **self.key("S3"))
            self.call("ListDataSourceSyncJobs", **self.key("S3"))
            self.kendra.advance_clock(2)
            self.call("ListDataSourceSyncJobs", **self.key("S3"))
            self.kendra.advance_clock(60)
        self.call("StartDataSourceSyncJob", **self.key("S3"))
        self.call("StartDataSourceSyncJob", **self.key("S3"))
        self.call("StopDataSourceSyncJob", **self.key("S3"))
        self.call("ListDataSourceSyncJobs", **self.key("S3"))
        self.kendra.advance_clock(60)

    def pages_of_syncs(self):
        page = self.call("ListDataSourceSyncJobs", **self.key("S3"), MaxResults=2)
        self.call("ListDataSourceSyncJobs", **self.key("S3"), NextToken=page["NextToken"])
        period = {"StartTime": START.timestamp(), "EndTime": START.timestamp() + 86_400.5}
        self.call("ListDataSourceSyncJobs", **self.key("S3"), StatusFilter="FAILED", StartTimeFilter=period)
        self.call("ListDataSourceSyncJobs", **self.key("JIRA"))

    def documents(self):
        """Documents put directly and in a sync; accepted, rejected, failed later, updated and deleted."""
        execution_id = self.call("StartDataSourceSyncJob", **self.key("CUSTOM"))["ExecutionId"]
        of_sync = [text("_data_source_id", self.sources["CUSTOM"]),
                   text("_data_source_sync_job_execution_id", execution_id)]  # fmt: skip
        self.kendra.fail_documents(self.index_id, self.sources["CUSTOM"], ["rejected"])
        self.kendra.fail_documents(self.index_id, self.sources["CUSTOM"], ["failed"], stage="index")
        self.put(*({"Id": name, "Attributes": of_sync} for name in ("good", "rejected", "failed")))
        self.statuses("good")
        self.call("StopDataSourceSyncJob", **self.key("CUSTOM"))
        self.kendra.advance_clock(60)
        self.call("ListDataSourceSyncJobs", **self.key("CUSTOM"))
        self.put({"Id": "direct", "Title": "Penguins", "Attributes": [
            text("_source_uri", "https://example.com/direct"), {"Key": "_view_count", "Value": {"LongValue": 7}},
            {"Key": "_created_at", "Value": {"DateValue": 1.7e9}},
            {"Key": "_authors", "Value": {"StringListValue": ["Jane", "Joe"]}}, text("_category", "birds"),
        ]})  # fmt: skip
        self.put({"Id": "direct", "Title": "Penguins, again", "Attributes": [text("_category", "birds")]})
        self.call("BatchPutDocument", IndexId=self.index_id, Documents=[
            {"Id": "from-s3", "S3Path": {"Bucket": "documents", "Key": "a.txt"}},
            {"Id": "lost", "S3Path": {"Bucket": "documents", "Key": "absent"}}, {"Id": "nothing"},
        ])  # fmt: skip
        self.statuses("good", "failed", "direct", "lost", "never")
        half = {"DocumentId": "good", "Attributes": [text("jobExecutionId", execution_id)]}
        self.call("BatchGetDocumentStatus", IndexId=self.index_id, DocumentInfoList=[half])
        target = {"DataSourceId": self.sources["CUSTOM"], "DataSourceSyncJobId": ABSENT}
        delete = {"IndexId": self.index_id, "DocumentIdList": ["from-s3", "never"]}
        self.call("BatchDeleteDocument", **delete, DataSourceSyncJobMetricTarget=target)
        self.call("BatchDeleteDocument", **delete)

    def put(self, *documents):
        content = {"Blob": b64encode(b"What a document says about penguins").decode(), "ContentType": "PLAIN_TEXT"}
        self.call("BatchPutDocument", IndexId=self.index_id, Documents=[content | each for each in documents])

    def statuses(self, *document_ids):
        documents = [{"DocumentId": each} for each in document_ids]
        self.call("BatchGetDocumentStatus", IndexId=self.index_id, DocumentInfoList=documents)

    def searches(self):
        """Questions with facets, filters, sorting and pages, and ones without results."""
        self.put({"Id": "full", "Title": "Penguins swim", "Attributes": [
            text("_source_uri", "https://example.com/full"), {"Key": "_view_count", "Value": {"LongValue": 7}},
            {"Key": "_created_at", "Value": {"DateValue": 1.7e9}}, text("_category", "birds"),
            {"Key": "_authors", "Value": {"StringListValue": ["Jane", "Joe"]}},
        ]})  # fmt: skip
        keys = ["_category", "_authors", "_view_count", "_created_at"]
        types = ["STRING_VALUE", "STRING_LIST_VALUE", "LONG_VALUE", "DATE_VALUE"]
        flags = {"Facetable": True, "Displayable": True, "Sortable": True}
        self.call("UpdateIndex", Id=self.index_id, DocumentMetadataConfigurationUpdates=[
            {"Name": key, "Type": kind, "Search": flags if kind != "STRING_LIST_VALUE" else flags | {"Sortable": False}}
            for key, kind in zip(keys, types, strict=True)
        ])  # fmt: skip
        facets = [{"DocumentAttributeKey": key} for key in keys]
        facets[0]["Facets"] = [{"DocumentAttributeKey": "_view_count"}]
        category = {"EqualsTo": {"Key": "_category", "Value": {"StringValue": "birds"}}}
        asked = {"IndexId": self.index_id, "QueryText": "penguins"}
        self.call("Query", **asked, Facets=facets, AttributeFilter=category)
        self.call("Query", **asked, PageSize=1, PageNumber=2,
                  SortingConfiguration={"DocumentAttributeKey": "_view_count", "SortOrder": "DESC"})  # fmt: skip
        self.call("Query", **asked | {"QueryText": "zebras"})
        self.call("Query", IndexId=self.index_id)
        self.call("Retrieve", **asked, AttributeFilter=category, RequestedDocumentAttributes=keys)
        self.call("Retrieve", **asked | {"QueryText": "zebras"})

    def changes(self):
        self.kendra.set_creation_time(0, updating=60)
        self.call("UpdateDataSource", **self.key("S3"), Name="renamed", Description="")
        self.call("DescribeDataSource", **self.key("S3"))
        self.kendra.advance_clock(60)
        for status in ("FAILED", "DELETING"):
            self.kendra.set_data_source_status(self.index_id, self.sources["JIRA"], status)
            self.call("DescribeDataSource", **self.key("JIRA"))
            self.call("ListDataSources", IndexId=self.index_id)

    def errors(self):
        """For each operation: nothing there, broken rules, the wrong JSON, and errors as a test injects them."""
        for name in supported_operations():
            operation = model().operation_model(name)
            self.call(name, **valid(operation.input_shape) | {"ClientToken": "errors"})
            self.call(name, **dict.fromkeys(operation.input_shape.members, ""))
            self.wire.send(name, b"{")
            self.wire.send(name, b"[]")
            for shape in operation.error_shapes:
                self.kendra.inject(name, times=1, error=shape.name, message="Injected")
                self.call(name)
        self.call("ListFaqs", IndexId=self.index_id)
        self.kendra.set_quotas(indexes=2, data_sources=1)
        self.call("CreateIndex", Name="third", RoleArn=ROLE)
        self.call("CreateDataSource", IndexId=self.index_id, Name="one-more", Type="CUSTOM")
        self.kendra.set_quotas()

    def deletions(self):
        self.call("DeleteDataSource", **self.key("CUSTOM"))
        self.call("DeleteIndex", Id=self.index_id)


def text(key, value):
    return {"Key": key, "Value": {"StringValue": value}}


@pytest.fixture(scope="module")
def responses(server):
    server.reset()
    responses = Scenario(server).wire.responses
    server.reset()
    return responses


@pytest.mark.parametrize("name", supported_operations())
def test_every_response_fits_the_model(responses, name):
    shape = model().operation_model(name).output_shape
    served = [each for each in responses if each.operation == name and each.status == 200]
    assert served, f"The scenario has no successful {name}"
    for response in served:
        assert response.headers["content-type"] == CONTENT_TYPE
        assert response.headers["x-amzn-requestid"]
        if shape is None:
            assert response.content == {}
        else:
            assert list(complaints(shape, json.loads(response.body))) == []


@pytest.mark.parametrize("name", supported_operations())
def test_every_member_of_the_model_occurs_or_is_known_never_to(responses, name):
    shape = model().operation_model(name).output_shape
    served = [each.content for each in responses if each.operation == name and each.status == 200]
    sent = {path for content in served if shape for path in members_sent(shape, content)}
    never = tuple(NEVER_SENT.get(name, ["-"]))
    assert [path for path in sorted(sent) if path.startswith(never)] == []
    assert [path for path in members(shape) if path not in sent and not path.startswith(never)] == []


@pytest.mark.parametrize("name", supported_operations())
def test_every_error_is_one_that_the_operation_has_and_fits_its_shape(responses, name):
    shapes = {shape.name: shape for shape in model().operation_model(name).error_shapes}
    errors = [each for each in responses if each.operation == name and each.status != 200]
    assert {each.error for each in errors} >= {*shapes, "SerializationException"}
    for response in errors:
        assert response.error in shapes.keys() | PROTOCOL_ERRORS
        assert response.status == (500 if response.error == "InternalServerException" else 400)
        assert response.headers["content-type"] == CONTENT_TYPE
        assert response.headers["x-amzn-requestid"]
        assert response.headers["x-amzn-errortype"] == response.error
        content = response.content
        assert content.pop("__type") == response.error
        assert content["Message"]
        assert list(complaints(shapes.get(response.error, shapes["ValidationException"]), content)) == []


def test_an_operation_that_is_not_supported_gets_an_error_of_the_protocol(responses):
    refused = next(each for each in responses if each.operation == "ListFaqs")
    assert (refused.status, refused.error) == (400, "UnknownOperationException")
    assert refused.content["Message"] == "ListFaqs is not supported by the local Kendra"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"History": [{"Extra": 1}]}, ".History[].Extra is not in the model"),
        ({"History": [{"StartTime": "2026-01-31"}]}, ".History[].StartTime: '2026-01-31' is not a timestamp"),
        ({"History": [{"Status": "DONE"}]}, ".History[].Status: 'DONE' is not among"),
        ({"History": [{"ExecutionId": ""}]}, ".History[].ExecutionId: 0 is not within 1 and"),
        ({"History": [{"Metrics": {"DocumentsAdded": "01"}}]}, ".DocumentsAdded: '01' does not match"),
        ({"History": None}, ".History: None is not a list"),
    ],
)
def test_a_response_that_does_not_fit_the_model_is_noticed(content, complaint):
    (found,) = complaints(model().operation_model("ListDataSourceSyncJobs").output_shape, content)
    assert complaint in found


def test_a_response_without_a_required_member_is_noticed():
    shape = model().operation_model("ListTagsForResource").output_shape
    assert list(complaints(shape, {"Tags": [{"Key": "team"}]})) == [".Tags[].Value is required"]
