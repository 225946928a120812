"""Requests and answers on the wire: every answer fits the service model, every bad request gets AWS's error."""

import urllib.error
import urllib.request
import uuid

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

UNCHECKED = Config(parameter_validation=False, retries={"total_max_attempts": 1})
SOME_ID = str(uuid.UUID(int=1))
ROLE = "arn:aws:iam::123456789012:role/kendra"


def refused(client, operation, **parameters):
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(**parameters)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.mark.parametrize("operation", ["start_data_source_sync_job", "stop_data_source_sync_job",
                                       "list_data_source_sync_jobs", "describe_data_source",
                                       "update_data_source", "delete_data_source"])  # fmt: skip
def test_every_required_identifier_is_asked_for(anywhere, operation):
    client = anywhere.client(config=UNCHECKED)
    code, message = refused(client, operation)
    assert code == "ValidationException"
    assert message.startswith("2 validation errors detected: ")
    for path in ("id", "indexId"):
        assert f"Value null at '{path}' failed to satisfy constraint: Member must not be null" in message


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        ({"MaxResults": 11}, "Value '11' at 'maxResults' failed to satisfy constraint: Member must have value "
                             "less than or equal to 10"),
        ({"MaxResults": 0}, "Value '0' at 'maxResults' failed to satisfy constraint: Member must have value "
                            "greater than or equal to 1"),
        ({"IndexId": "short"}, "Value 'short' at 'indexId' failed to satisfy constraint: Member must have length "
                               "greater than or equal to 36"),
        ({"Id": "a|b"}, "Value 'a|b' at 'id' failed to satisfy constraint: Member must satisfy regular "
                        "expression pattern: [a-zA-Z0-9][a-zA-Z0-9_-]*"),
        ({"StatusFilter": "DONE"}, "Value 'DONE' at 'statusFilter' failed to satisfy constraint: Member must "
                                   "satisfy enum value set: ["),
    ],
)  # fmt: skip
def test_a_value_out_of_bounds_is_refused_in_the_words_of_aws(anywhere, request_, complaint):
    client = anywhere.client(config=UNCHECKED)
    asked = {"IndexId": SOME_ID, "Id": "source"} | request_
    code, message = refused(client, "list_data_source_sync_jobs", **asked)
    assert code == "ValidationException"
    assert message.startswith(f"1 validation error detected: {complaint}")


@pytest.mark.parametrize("count", [0, 11])
def test_a_batch_holds_one_to_ten_documents(anywhere, count):
    client = anywhere.client(config=UNCHECKED)
    documents = [{"Id": str(number)} for number in range(count)]
    code, message = refused(client, "batch_put_document", IndexId=SOME_ID, Documents=documents)
    assert code == "ValidationException"
    assert "at 'documents' failed to satisfy constraint: Member must have length" in message


def test_a_member_inside_a_list_is_checked_too(anywhere):
    client = anywhere.client(config=UNCHECKED)
    _, message = refused(client, "batch_put_document", IndexId=SOME_ID, Documents=[{"Title": "no id"}])
    assert "Value null at 'documents.1.member.id'" in message


def test_what_does_not_exist_is_not_found(anywhere):
    client = anywhere.client()
    index_id = anywhere.create_index()
    for key in ({"IndexId": SOME_ID, "Id": "x"}, {"IndexId": index_id, "Id": "x"}):
        for operation in ("start_data_source_sync_job", "stop_data_source_sync_job",
                          "list_data_source_sync_jobs", "describe_data_source"):  # fmt: skip
            assert refused(client, operation, **key)[0] == "ResourceNotFoundException"
    assert refused(client, "describe_index", Id=SOME_ID)[0] == "ResourceNotFoundException"


@pytest.mark.parametrize("token", ["garbage", "bnVsbA==", "W10=", "WyJ4Iiwgbm9uZSwgMV0=", "é"])
def test_an_invalid_token_is_a_validation_error(anywhere, custom_source, token):
    source = custom_source(anywhere)
    code, _ = refused(source.client, "list_data_source_sync_jobs", **source.key, NextToken=token)
    assert code == "ValidationException"


def test_a_token_of_another_data_source_is_invalid(anywhere, custom_source):
    one, other = custom_source(anywhere), custom_source(anywhere)
    anywhere.set_history(*one.ids, [{}, {}])
    token = one.page(MaxResults=1)["NextToken"]
    assert refused(other.client, "list_data_source_sync_jobs", **other.key, NextToken=token)[0] == (
        "ValidationException"
    )


def test_a_custom_source_takes_no_configuration_and_any_other_needs_one(anywhere):
    client = anywhere.client()
    common = {"IndexId": anywhere.create_index(), "Name": "source"}
    assert refused(client, "create_data_source", **common, Type="CUSTOM", RoleArn=ROLE)[0] == "ValidationException"
    assert refused(client, "create_data_source", **common, Type="S3")[0] == "ValidationException"


@pytest.mark.parametrize(
    ("target", "body", "expected"),
    [
        ("ListIndices", b"{", "SerializationException"),
        ("ListIndices", b"[]", "SerializationException"),
        ("ListIndices", b'{"MaxResults": "10"}', "SerializationException"),
        ("ListIndices", b'{"MaxResults": true}', "SerializationException"),
        ("ListFaqs", b'{"IndexId": "%s"}' % SOME_ID.encode(), "UnknownOperationException"),
        ("Dispatch", b"{}", "UnknownOperationException"),
        ("", b"{}", "UnknownOperationException"),
    ],
)
def test_a_malformed_request_gets_a_json_error_never_a_page(kendra, target, body, expected):
    scope = "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/kendra/aws4_request, SignedHeaders=host"
    headers = {
        "X-Amz-Target": f"AWSKendraFrontendService.{target}",
        "Authorization": scope,
        "Content-Type": "application/x-amz-json-1.1",
    }
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(kendra.url + "/", body, headers))
    assert caught.value.code == 400
    assert caught.value.headers["Content-Type"].startswith("application/")
    assert caught.value.headers["X-Amzn-ErrorType"] == expected
    assert expected in caught.value.read().decode()


def test_indexes_and_data_sources_are_described_updated_listed_and_deleted(anywhere):
    client = anywhere.client()
    index_id = client.create_index(Name="one", RoleArn=ROLE, Edition="DEVELOPER_EDITION", Description="d")["Id"]
    index = client.describe_index(Id=index_id)
    assert (index["Name"], index["Edition"], index["Status"]) == ("one", "DEVELOPER_EDITION", "ACTIVE")
    data_source_id = anywhere.create_s3_data_source(index_id, "bucket", Schedule="cron(0 1 * * ? *)")
    key = {"IndexId": index_id, "Id": data_source_id}
    client.update_data_source(**key, Name="renamed", Description="new")
    source = client.describe_data_source(**key)
    assert (source["Name"], source["Description"], source["Schedule"], source["Type"], source["Status"]) == (
        "renamed", "new", "cron(0 1 * * ? *)", "S3", "ACTIVE",
    )  # fmt: skip
    assert source["UpdatedAt"] >= source["CreatedAt"]
    assert [each["Id"] for each in client.list_indices()["IndexConfigurationSummaryItems"]] == [index_id]
    assert [each["Name"] for each in client.list_data_sources(IndexId=index_id)["SummaryItems"]] == ["renamed"]
    client.delete_index(Id=index_id)
    assert client.list_indices()["IndexConfigurationSummaryItems"] == []


def test_an_update_that_would_spoil_a_data_source_changes_nothing(anywhere):
    client = anywhere.client()
    index_id = anywhere.create_index()
    key = {"IndexId": index_id, "Id": anywhere.create_custom_data_source(index_id)}
    assert refused(client, "update_data_source", **key, RoleArn=ROLE)[0] == "ValidationException"
    assert "RoleArn" not in client.describe_data_source(**key)


def test_data_sources_are_listed_in_pages_while_some_are_deleted(anywhere):
    client = anywhere.client()
    index_id = anywhere.create_index()
    ids = [anywhere.create_custom_data_source(index_id) for _ in range(5)]
    page = client.list_data_sources(IndexId=index_id, MaxResults=2)
    client.delete_data_source(IndexId=index_id, Id=ids[0])
    rest = client.list_data_sources(IndexId=index_id, NextToken=page["NextToken"])
    assert [each["Id"] for each in page["SummaryItems"] + rest["SummaryItems"]] == ids


def test_a_repeated_create_with_the_same_token_creates_once(anywhere):
    client = anywhere.client()
    index_id, again = (client.create_index(Name="i", RoleArn=ROLE, ClientToken="t")["Id"] for _ in range(2))
    assert index_id == again
    source = {"IndexId": index_id, "Name": "s", "Type": "CUSTOM", "ClientToken": "t"}
    assert len({client.create_data_source(**source)["Id"] for _ in range(2)}) == 1
