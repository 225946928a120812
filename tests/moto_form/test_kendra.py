"""Tests of Kendra in moto's style: scripts/check_moto_form.py runs them in a copy of moto's source."""

from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT_ID

ROLE_ARN = f"arn:aws:iam::{ACCOUNT_ID}:role/kendra"


def create_data_source(client):
    index_id = client.create_index(Name="index", RoleArn=ROLE_ARN)["Id"]
    source = client.create_data_source(IndexId=index_id, Name="source", Type="CUSTOM")
    return {"IndexId": index_id, "Id": source["Id"]}


@mock_aws
def test_create_and_describe_index():
    client = boto3.client("kendra", region_name="us-east-1")
    index_id = client.create_index(
        Name="index",
        Edition="DEVELOPER_EDITION",
        RoleArn=ROLE_ARN,
        Description="An index",
        Tags=[{"Key": "team", "Value": "search"}],
    )["Id"]

    index = client.describe_index(Id=index_id)
    assert index["Name"] == "index"
    assert index["Edition"] == "DEVELOPER_EDITION"
    assert index["RoleArn"] == ROLE_ARN
    assert index["Description"] == "An index"
    assert index["Status"] == "ACTIVE"

    arn = f"arn:aws:kendra:us-east-1:{ACCOUNT_ID}:index/{index_id}"
    tags = client.list_tags_for_resource(ResourceARN=arn)["Tags"]
    assert tags == [{"Key": "team", "Value": "search"}]


@mock_aws
def test_describe_unknown_index():
    client = boto3.client("kendra", region_name="us-east-1")
    index_id = str(uuid4())
    with pytest.raises(ClientError) as exc:
        client.describe_index(Id=index_id)
    err = exc.value.response["Error"]
    assert err["Code"] == "ResourceNotFoundException"
    assert err["Message"] == f"The index '{index_id}' does not exist"


@mock_aws
def test_list_indices_in_pages():
    client = boto3.client("kendra", region_name="eu-west-1")
    ids = {client.create_index(Name=f"index{number}", RoleArn=ROLE_ARN)["Id"] for number in range(3)}
    first = client.list_indices(MaxResults=2)
    second = client.list_indices(MaxResults=2, NextToken=first["NextToken"])
    assert len(first["IndexConfigurationSummaryItems"]) == 2
    assert "NextToken" not in second
    items = [
        *first["IndexConfigurationSummaryItems"],
        *second["IndexConfigurationSummaryItems"],
    ]
    assert {item["Id"] for item in items} == ids


@mock_aws
def test_update_and_delete_data_source():
    client = boto3.client("kendra", region_name="us-east-1")
    source = create_data_source(client)
    client.update_data_source(**source, Name="renamed", Description="A source")
    described = client.describe_data_source(**source)
    assert described["Name"] == "renamed"
    assert described["Description"] == "A source"
    assert described["Type"] == "CUSTOM"

    client.delete_data_source(**source)
    assert client.list_data_sources(IndexId=source["IndexId"])["SummaryItems"] == []


@mock_aws
def test_start_data_source_sync_job():
    client = boto3.client("kendra", region_name="us-east-1")
    source = create_data_source(client)
    execution_id = client.start_data_source_sync_job(**source)["ExecutionId"]

    (job,) = client.list_data_source_sync_jobs(**source)["History"]
    assert job["ExecutionId"] == execution_id
    assert job["Status"] == "SYNCING"

    with pytest.raises(ClientError) as exc:
        client.start_data_source_sync_job(**source)
    assert exc.value.response["Error"]["Code"] == "ResourceInUseException"


@mock_aws
def test_put_get_and_delete_documents():
    client = boto3.client("kendra", region_name="us-east-1")
    index_id = client.create_index(Name="index", RoleArn=ROLE_ARN)["Id"]
    put = client.batch_put_document(
        IndexId=index_id,
        Documents=[{"Id": "doc", "Blob": b"All about penguins", "ContentType": "PLAIN_TEXT"}],
    )
    assert put["FailedDocuments"] == []
    asked = {"IndexId": index_id, "DocumentInfoList": [{"DocumentId": "doc"}]}
    (status,) = client.batch_get_document_status(**asked)["DocumentStatusList"]
    assert status == {"DocumentId": "doc", "DocumentStatus": "INDEXED"}

    client.batch_delete_document(IndexId=index_id, DocumentIdList=["doc"])
    (status,) = client.batch_get_document_status(**asked)["DocumentStatusList"]
    assert status == {"DocumentId": "doc", "DocumentStatus": "NOT_FOUND"}
