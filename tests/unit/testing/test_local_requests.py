"""Requests and answers on the wire: every answer fits the service model, every bad request gets AWS's error."""

import gzip
import json
import re
import urllib.error
import urllib.request
import uuid

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from airflow_provider_kendra.testing import MockedKendra
from tests.unit.testing.wire import InProcessWire, Wire

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


SIGNED = "AWS4-HMAC-SHA256 Credential=testing/20260101/{}/{}/aws4_request, SignedHeaders=host, Signature=0"
FOR_KENDRA = SIGNED.format("us-east-1", "kendra")


def raw(kendra, body, *, target="ListIndices", authorization=FOR_KENDRA, path="/", **headers):
    """Return the status, the headers and the JSON of the answer, whatever it is."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers |= {"X-Amz-Target": f"AWSKendraFrontendService.{target}"}
    headers |= {"Authorization": authorization} if authorization else {}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(kendra.url + path, body, headers))
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, answer.headers, json.loads(answer.read() or b"{}")


def assert_refused(answer, code, status=400):
    got, headers, content = answer
    assert (got, content["__type"], headers["X-Amzn-ErrorType"]) == (status, code, code)
    assert headers["Content-Type"] == "application/x-amz-json-1.1"
    assert headers["x-amzn-RequestId"]
    assert content.keys() == {"__type", "Message"}
    assert re.fullmatch(r"[^\n]+", content["Message"])


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "MissingAuthenticationTokenException"),
        ("Bearer x", "IncompleteSignatureException"),
        ("AWS4-HMAC-SHA256", "IncompleteSignatureException"),
        ("AWS4-HMAC-SHA256 Credential=x, S=x", "IncompleteSignatureException"),
        (SIGNED.format("us-east-1", "s3"), "InvalidSignatureException"),
        (SIGNED.format("us-esat-1", "kendra"), "InvalidSignatureException"),
        (SIGNED.format("cn-north-1", "kendra"), "InvalidSignatureException"),
        (SIGNED.format("é<x>", "kendra").encode().decode("latin-1"), "InvalidSignatureException"),
        (SIGNED.format("us east", "kendra"), "IncompleteSignatureException"),
    ],
)
def test_a_request_that_is_not_signed_for_kendra_is_refused(kendra, authorization, code):
    assert_refused(raw(kendra, b"{}", authorization=authorization), code)


def test_in_process_too_unsigned_requests_and_unknown_regions_are_refused(in_process):
    unsigned = in_process.client(config=Config(signature_version=UNSIGNED))
    assert refused(unsigned, "list_indices")[0] == "MissingAuthenticationTokenException"
    for region in ("us-esat-1", "cn-north-1"):
        code, message = refused(in_process.client(region_name=region), "list_indices")
        assert (code, region in message) == ("InvalidSignatureException", True)
    assert in_process.client(region_name="us-gov-west-1").list_indices()["IndexConfigurationSummaryItems"] == []


DEEP = b"[" * 20_000 + b"]" * 20_000
HALF = rb'{"NextToken": "\ud800"}'
CREATE_TEMPLATE = b'{"IndexId": "%s", "Name": "x", "Type": "TEMPLATE", "Configuration": {"TemplateConfiguration": '
CREATE_TEMPLATE += b'{"Template": {"x": %s}}}}'


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("ListIndices", b'{"NextToken": "\xff"}'),
        ("ListIndices", b"\xff\xfe{\x00}\x00"),
        ("ListIndices", DEEP),
        ("ListIndices", b'{"MaxResults": %s}' % DEEP),
        ("ListIndices", HALF),
        ("ListIndices", b'{"MaxResults": NaN}'),
        ("ListIndices", b'{"MaxResults": -Infinity}'),
        ("ListIndices", b'{"MaxResults": 1e999}'),
        ("ListIndices", b'{"MaxResults": 1%s}' % (b"0" * 20)),
        ("ListIndices", b'{"MaxResults": 1%s}' % (b"0" * 5000)),
        ("ListDataSourceSyncJobs", b'{"IndexId": "x", "Id": "x", "StartTimeFilter": {"StartTime": 1e300}}'),
        ("CreateDataSource", CREATE_TEMPLATE % (SOME_ID.encode(), b"[" * 200 + b"]" * 200)),
    ],
)  # fmt: skip
def test_a_body_that_no_parser_should_accept_is_refused_in_json(kendra, target, body):
    assert_refused(raw(kendra, body, target=target), "SerializationException")


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded",
                                          "multipart/form-data; boundary=x", "x"])  # fmt: skip
def test_any_content_type_is_served_and_refused_alike(kendra, content_type):
    assert raw(kendra, b"{}", Content_Type=content_type)[0] == 200
    assert_refused(raw(kendra, b"{", Content_Type=content_type), "SerializationException")
    assert_refused(raw(kendra, b'{"MaxResults": 0}', Content_Type=content_type), "ValidationException")
    body = b'{"Id": "%s"}' % SOME_ID.encode()
    answer = raw(kendra, body, target="DescribeIndex", Content_Type=content_type)
    assert_refused(answer, "ResourceNotFoundException")


def test_gzip_is_served_and_what_is_none_is_refused(kendra):
    assert raw(kendra, gzip.compress(b'{"MaxResults": 3}'), Content_Encoding="gzip")[0] == 200
    assert kendra.calls()[0].parameters == {"MaxResults": 3}
    for body in (b"{}", b"", gzip.compress(b"{}")[:-9], b"\x1f\x8b" + b"x" * 100):
        assert_refused(raw(kendra, body, Content_Encoding="gzip"), "SerializationException")


def test_gzip_that_unpacks_to_more_than_the_limit_is_refused(kendra):
    assert_refused(
        raw(kendra, gzip.compress(b"a" * 90_000_000, 1), Content_Encoding="gzip"), "EntityTooLargeException", 413
    )


def test_of_a_key_that_is_given_twice_the_last_counts(kendra):
    assert raw(kendra, b'{"MaxResults": 1000, "MaxResults": 5}')[0] == 200


def test_another_path_or_method_is_refused_in_json(kendra):
    assert_refused(raw(kendra, b"{}", path="/x"), "UnknownOperationException", 404)
    assert_refused(raw(kendra, None), "UnknownOperationException", 404)


@pytest.mark.parametrize("body", [b"[]", b"{", DEEP, b'{"operation": %s}' % DEEP, b'{"args": 1}', b"\xff"])
def test_a_control_refuses_what_it_can_not_read_in_json(kendra, body):
    url = f"{kendra.url}/kendra-local/call_count"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}))
    assert caught.value.code == 400
    assert json.loads(caught.value.read())["error"]


def test_a_deep_request_is_logged_without_its_depths(kendra):
    raw(kendra, b'{"NextToken": %s}' % (b"[" * 500 + b"]" * 500))
    assert "…" in str(kendra.calls()[0].parameters)


def test_an_error_of_the_backend_itself_is_an_internal_server_error(in_process, monkeypatch):
    from moto.kendra.models import KendraBackend

    monkeypatch.setattr(KendraBackend, "list_indices", lambda self, **_: {}["x"])
    code, message = refused(in_process.client(config=UNCHECKED), "list_indices")
    assert (code, message) == ("InternalServerException", "The local Kendra failed: KeyError: 'x'")


@pytest.mark.parametrize(
    ("target", "authorization", "content_type"),
    [
        ("", SIGNED.format("us-east-1", "cloudformation"), "application/x-www-form-urlencoded"),
        ("", SIGNED.format("us-east-1", "apigateway"), "application/json"),
        ("AWSCognitoIdentityProviderService.ListUserPools", SIGNED.format("us-east-1", "cognito-idp"), "x"),
        ("", SIGNED.format("us-east-1", "nothing"), "application/json"),
        ("Logs_20140328.ListAnomalies", SIGNED.format("us-east-1", "logs"), "application/x-amz-json-1.1"),
    ],
)
def test_a_service_that_can_not_be_served_says_why_in_one_sentence(kendra, target, authorization, content_type):
    headers = {"Authorization": authorization, "Content-Type": content_type} | (
        {"X-Amz-Target": target} if target else {}
    )
    body = b"Action=ListStacks&Version=2010-05-15" if "form" in content_type else b"{}"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(kendra.url + "/", body, headers))
    content = caught.value.read().decode()
    assert (caught.value.code, "html" in content) == (501, False)
    assert re.search(
        r"needs the package \w+, which is missing: pip install 'moto\[\w+\]'|does not (have this|support this)",
        content,
    )


def test_a_reset_of_moto_resets_the_controls_too(kendra, custom_source):
    custom_source(kendra)
    kendra.set_quotas(indexes=0)
    kendra.inject("*", error="ThrottlingException")
    urllib.request.urlopen(urllib.request.Request(f"{kendra.url}/moto-api/reset", b""))
    assert kendra.call_count() == 0
    kendra.create_index()


def wire_to(kendra):
    """Sends JSON as it is: boto3 refuses null and members that the model does not have."""
    return InProcessWire(kendra.client()) if isinstance(kendra, MockedKendra) else Wire(kendra.url)


def test_a_member_that_is_null_is_one_that_was_not_sent(anywhere):
    wire, index_id = wire_to(anywhere), anywhere.create_index()
    anywhere.client("s3").create_bucket(Bucket="documents")
    document = {"Id": "a", "Blob": None, "S3Path": None, "AccessControlList": None, "Attributes": None}
    (failed,) = wire.call("BatchPutDocument", IndexId=index_id, Documents=[document])["FailedDocuments"]
    assert failed["ErrorMessage"] == "A document must have either Blob or S3Path"
    attribute = {"Key": "_category", "Value": {"StringValue": "a", "LongValue": None}}
    document |= {"Blob": "dGV4dA==", "Attributes": [attribute]}
    assert wire.call("BatchPutDocument", IndexId=index_id, Documents=[document]) == {"FailedDocuments": []}
    found = wire.call(
        "Query", IndexId=index_id, QueryText="text", AttributeFilter={"EqualsTo": attribute, "NotFilter": None},
        UserContext={"UserId": "ann", "Groups": None}, Facets=None,
    )  # fmt: skip
    assert [each["DocumentId"] for each in found["ResultItems"]] == ["a"]


def test_a_configuration_keeps_what_the_model_has_and_a_template_is_kept_whole(anywhere):
    wire, index_id, client = wire_to(anywhere), anywhere.create_index(), anywhere.client()
    anywhere.client("s3").create_bucket(Bucket="documents")
    anywhere.set_sync_duration(0)
    s3 = {"BucketName": "documents", "InclusionPrefixes": None, "Unknown": 1, "DocumentsMetadataConfiguration": None}
    template = {"type": "S3", "note": None}
    for kind, given, kept in (
        ("S3", {"S3Configuration": s3, "SlackConfiguration": None}, {"S3Configuration": {"BucketName": "documents"}}),
        ("TEMPLATE", *[{"TemplateConfiguration": {"Template": template}}] * 2),
    ):
        request = {"IndexId": index_id, "Name": "s", "Type": kind, "RoleArn": ROLE, "Configuration": given}
        key = {"IndexId": index_id, "Id": wire.call("CreateDataSource", **request)["Id"]}
        assert wire.call("DescribeDataSource", **key)["Configuration"] == kept
        client.start_data_source_sync_job(**key)
