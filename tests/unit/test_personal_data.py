"""Personal data and secrets that Kendra's logs contain in odd places are shown nowhere."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_kendra import cli
from airflow_provider_kendra.documents import read_event
from airflow_provider_kendra.exceptions import KendraSyncJobMetricsError, KendraSyncJobRejectedError
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.operators.kendra import KendraSyncJobMetricsOperator
from airflow_provider_kendra.report import render_report
from airflow_provider_kendra.sensors.kendra import KendraSyncJobSensor
from tests.conftest import DataSource

PLANTED = "Pl4nted"
"""Occurs in all personal data and secrets of this module, and nowhere else."""

PERSON = f"jane.{PLANTED}@personal.example"
ACCESS = {"Acl": [{"name": PLANTED, "type": "USER"}], "Metadata": {"_authors": [PERSON]}}

REASONS = {
    "an address": f"{PERSON} may not read it",
    "an address with a name": f"Denied for Jane <{PERSON}>.",
    "an address in another script": f"Denied for почта.{PLANTED}@пример.рф",
    "an address in an encoded domain": f"Denied for a@{PLANTED}.xn--p1ai",
    "an encoded address": f"Denied for jane%40{PLANTED}.example",
    "an escaped address": rf"Denied for jane\u0040{PLANTED}.example",
    "an address with a wide at-sign": f"Denied for jane\uff20{PLANTED}.example",
    "an address after a URI that is cut": f"https://h.example/?{'q' * 2_960} <jane.{PLANTED}@personal.example>",
    "a query": f"Cannot read https://h.example/p?user={PLANTED}",
    "user information": f"Cannot read https://{PLANTED}:secret@h.example/p",
    "user information with a slash": f"Cannot read https://jane:se/{PLANTED}@h.example/p",
    "parameters of JDBC": f"Cannot connect to jdbc:sqlserver://db.example;user={PLANTED};password={PLANTED};x=1",
    "a login of JDBC": f"Cannot connect to jdbc:oracle:thin:scott/{PLANTED}@db.example:1521/orcl",
    "a query without a scheme": f"Cannot read h.example/p?access_token={PLANTED}&x=1",
    "a password": f"Login failed: user=x, password={PLANTED}.",
    "a password in quotes": f'Login failed: password="{PLANTED}"',
    "a password of two words": f'Login failed: password="one {PLANTED}", user=x',
    "a password in single quotes": f"Login failed: password = 'one {PLANTED}'",
    "a password in escaped quotes": rf"Login failed: password=\"one {PLANTED}\"",
    "a password with a quote": rf'Login failed: password="one\" {PLANTED}"',
    "a password whose quotes are not closed": f"Login failed: password='one {PLANTED}",
    "a password after a quoted name": f'Login failed: "password": "one {PLANTED}"',
    "a password after a colon": f"Login failed: password:{PLANTED}",
    "a secret of a client": f"Login failed: client_secret:{PLANTED}",
    "a token": f"Sent token = {PLANTED}",
    "a token in quotes": f'Sent api_key="{PLANTED}"',
    "a token after a colon": f"The access token: eyJhbGciOiJIUzI1NiJ9.{PLANTED}.abc has expired",
    "a token in quotes after a colon": f"The token:'eyJhbGciOiJIUzI1NiJ9.{PLANTED}.abc' has expired",
    "a token of its own": f"Sent Bearer eyJhbGciOiJIUzI1NiJ9.{PLANTED}.abc",
    "a quoted header": f'Sent Authorization: "Basic {PLANTED}"',
    "a header": f"Sent Authorization: Bearer {PLANTED}.abc.def to the server",
    "a user of an account": f"User: arn:aws:iam::123456789012:user/{PLANTED} is not authorized",
    "a session": f"arn:aws:sts::123456789012:assumed-role/Kendra/{PLANTED} is not authorized",
    "JSON": json.dumps({"message": "Denied", **ACCESS}),
    "JSON within text": f"Rejected {json.dumps(ACCESS)} by the index",
    "a list within text": f"Rejected {json.dumps([ACCESS, PLANTED])} by the index",
    "JSON within JSON": json.dumps({"error": {"message": json.dumps({"message": "Denied", **ACCESS})}}),
    "JSON in a text of JSON": json.dumps(json.dumps(ACCESS)),
    "JSON that is cut": json.dumps({"message": "Denied", **ACCESS})[:-5],
    "JSON that is long": json.dumps({"x": "y" * 200_000, **ACCESS}),
    "JSON that is nested without end": '{"a":' * 5_000 + f'"{PLANTED}"',
    "Python": f"Rejected {ACCESS} by the index",
    "XML": f"Rejected <Document><Acl><Name>{PLANTED}</Name></Acl></Document>",
    "a request of Kendra": f"Rejected {{Id: 1,AccessControlList: [{{Name: {PLANTED},Type: USER}}]}}",
    "a request of Kendra in Java": f"Document(Id=1, AccessControlList=[Principal(Name={PLANTED}, Type=USER)])",
    "attributes": f"Attributes=[DocumentAttribute(Key=_authors, Value=Value(StringListValue=[{PLANTED}]))]",
    "a request of Kendra in XML": f"<AccessControlList><Grant><DisplayName>{PLANTED}",
    "a value that Kendra rejects": f"Value '[{PLANTED}]' at 'documents.1.member.acl' failed to satisfy constraint: x",
    "a principal": f"Unknown Principal(name={PLANTED}, type=USER)",
    "a list of users without brackets": f"Rejected accessControlList: {PLANTED}, mary",
    "an access list without brackets": f"Rejected acl=mary,{PLANTED}",
    "authors without brackets": f"Rejected _authors: {PLANTED}",
    "an author": f"Metadata is invalid: author={PLANTED}",
    "authors": f"Rejected _authors: [{PLANTED}]",
    "groups": f"Rejected DataSourceGroups=[DataSourceGroup(GroupId={PLANTED})]",
    "Java": f"Rejected Document(id=1, acl=[Principal(name={PLANTED}, type=USER)], metadata={{_authors=[{PLANTED}]}})",
}

IDS = {
    "user information": f"https://jane:{PLANTED}@h.example/p",
    "user information with a slash": f"https://jane:se/{PLANTED}@h.example/p",
    "user information after a space": f" https://jane:{PLANTED}@h.example/p",
    "user information without a scheme": f"//jane:{PLANTED}@h.example/p",
    "a login without a scheme": f"jane:{PLANTED}@h.example/p",
    "user information that is long": f"https://jane:{'x' * 4_000}{PLANTED}@h.example/p",
    "user information that starts a long one": f"https://jane:{PLANTED}{'x' * 4_000}@h.example/p",
    "a URI in an id": f"crawl:https://jane:{PLANTED}@h.example/p",
    "a signature": f"https://h.example/p?id=1&X-Amz-Signature={PLANTED}",
    "a token after an entity": f"https://h.example/p?id=1&amp;access_token={PLANTED}",
    "a token in the fragment": f"https://h.example/p#id_token={PLANTED}",
    "a token that is encoded": f"https://login.example/?next=https%3A%2F%2Fh%2Fp%3Ftoken%3D{PLANTED}",
    "a user": f"https://h.example/p?id=1&user={PLANTED}&login={PLANTED}",
    "an address in the query": f"https://h.example/p?id=1&by={PERSON}",
    "an encoded address in the query": f"https://h.example/p?id=1&by=jane%40{PLANTED}.example",
    "a password": f"https://h.example/p?pwd={PLANTED}",
}

MEMBERS: dict[str, dict[str, Any]] = {
    "Acl and Metadata": ACCESS,
    "their JSON": {key: json.dumps(value) for key, value in ACCESS.items()},
    "other spellings": {"acl": ACCESS, "ACL": PLANTED, "metadata": ACCESS, "METADATA": PLANTED, PLANTED: PLANTED},
    "within statuses": {"CrawlStatus": {"Status": "FAILED", **ACCESS}, "SyncStatus": ACCESS, "CrawlAction": ACCESS},
    "as statuses": {"SyncStatus": PLANTED, "CrawlAction": PLANTED, "IndexingStatus": PLANTED, "LogLevel": PLANTED},
    "an object as reason": {"ErrorMsg": ACCESS, "ErrorMessage": ACCESS, "Message": ACCESS, "ErrorCode": ACCESS},
    "an object as id": {"DocumentID": ACCESS, "S3Path": ACCESS, "DocumentTitle": ACCESS, "SourceUri": [PLANTED]},
    "a message within the message": {"ErrorMsg": None, "Message": json.dumps(ACCESS)},
    "a metadata file within an object": {"Message": {"x": f"invalid metadata file {PLANTED}"}, "DocumentId": None},
    "the code": {"ErrorCode": json.dumps(ACCESS), "DataSourceErrorCode": PERSON},
    "the URI": {"SourceUri": f"https://jane:{PLANTED}@h.example/p?user={PLANTED}#{PLANTED}"},
    "the path": {"SourceUri": None, "S3Path": f"s3://jane:{PLANTED}@bucket/p?user={PLANTED}"},
    "the title": {"DocumentTitle": f"https://jane:{PLANTED}@h.example/p?token={PLANTED}"},
}

MESSAGES = [
    json.dumps(json.dumps(ACCESS)), json.dumps([ACCESS]), json.dumps(ACCESS)[:-1], f"{PLANTED}: no JSON",
    f'{{"DocumentId": NaN, "Acl": "{PLANTED}"', '"' + PLANTED * 10_000,
]  # fmt: skip


FAILURE = {
    "CrawlStatus": {"Status": "FAILED"},
    "ConnectorDocumentStatus": {"Status": "FAILED"},
    "ErrorMsg": "Access Denied",
}


def planted_messages() -> list[str]:
    """Events of a report: each of them has personal data in another place."""
    places: list[tuple[str, dict[str, Any]]] = [
        *((name, {"ErrorMsg": reason}) for name, reason in REASONS.items()),
        *((f"{name}, with code", {"ErrorMsg": None, "ErrorMessage": text, "ErrorCode": text}) for name, text in
          REASONS.items()),
        *((name, {"DocumentId": document_id}) for name, document_id in IDS.items()),
        *((name, {"DocumentId": None, "SourceUri": f"{document_id}/"}) for name, document_id in IDS.items()),
        *MEMBERS.items(),
    ]  # fmt: skip
    events = [{"DocumentId": f"{name}.pdf", **FAILURE, **members} for name, members in places]
    return [*map(json.dumps, events), *MESSAGES]


@pytest.mark.parametrize(
    "reason",
    [
        "Access Denied (Service: Amazon S3; Status Code: 403; Error Code: AccessDenied; Request ID: PX7CT)",
        'Role arn:aws:iam::…:role/kendra is not authorized on "arn:aws:s3:::bucket/a"',
        "Invalid metadata: attribute 'x' must be a STRING",
        "Found invalid metadata file b/p/f.ext.metadata.json.",
        "The content type [text/foo] is not supported {see below}",
        "Invalid token: expected }",
        "The groups (2) of attributes: too long",
        "The access token is invalid or expired (401)",
        "Basic authentication failed: password incorrect",
        "The token endpoint answered: invalid_grant",
        "kendra is not authorized to perform: secretsmanager:GetSecretValue",
        "Secret arn:aws:secretsmanager:eu-west-1:…:secret:name not found",
        "Not found: https://h.example:8443/a/b:c.png",
    ],
)
def test_an_error_message_without_it_is_shown_as_it_is(reason: str) -> None:
    event = read_event(json.dumps({"DocumentId": "d", "CrawlStatus": "FAILED", "ErrorMsg": reason}), "job")
    assert event is not None
    assert event.document.reason == reason


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ('{"error": {"code": "itemNotFound", "message": "The resource is not found."}}', "The resource is not"),
        (REASONS["JSON within JSON"], "Denied"),
        (REASONS["JSON within text"], "Rejected … by the index"),
    ],
)  # fmt: skip
def test_of_json_the_message_is_shown(reason: str, expected: str) -> None:
    event = read_event(json.dumps({"DocumentId": "d", "CrawlStatus": "FAILED", "ErrorMsg": reason}), "job")
    assert event is not None
    assert (event.document.reason or "").startswith(expected)


class TaskInstance:
    def __init__(self) -> None:
        self.pushed: list[Any] = []

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed.append((key, value))


@pytest.fixture
def execution_id(data_source: DataSource) -> str:
    """A sync whose report contains personal data in many places."""
    kendra, began = data_source.kendra, datetime.now(UTC) - timedelta(hours=1)
    kendra.set_sync_duration(0)
    kendra.set_clock(began)
    kendra.set_documents(*data_source.ids, [{"id": name, "text": name} for name in "abc"])
    kendra.fail_documents(*data_source.ids, ["a", "b"], reason=f"Access Denied for {PERSON}")
    execution_id: str = data_source.start()
    kendra.advance_clock(1)
    report = {
        "logGroupName": f"/aws/kendra/{data_source.index_id}",
        "logStreamName": f"SYNC_RUN_HISTORY_REPORT/{data_source.data_source_id}/{execution_id}",
    }
    at = int(began.timestamp() * 1000)
    events = [{"timestamp": at + number, "message": text} for number, text in enumerate(planted_messages())]
    kendra.client("logs").put_log_events(**report, logEvents=events)
    return execution_id


def leaks_of(text: str) -> list[str]:
    """Return each planted text with what is around it."""
    return [text[max(found.start() - 60, 0) : found.end() + 20] for found in re.finditer(PLANTED, text)]


def printed_by(command: str, *arguments: str) -> None:
    args = cli.make_parser("kendra").parse_args([command, *arguments])
    with pytest.raises(SystemExit):
        args.func(args)


def test_it_is_in_no_log_error_xcom_command_or_report(
    data_source: DataSource,
    execution_id: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{BaseOperator.__module__}.ExecutorSafeguard.test_mode", True)
    caplog.set_level(logging.DEBUG)
    ti = TaskInstance()
    context: Any = {"ti": ti}
    task: dict[str, Any] = {
        "index_id": data_source.index_id,
        "data_source_id": data_source.data_source_id,
        "execution_id": execution_id,
        "list_failed_documents": 1000,
    }
    with pytest.raises(KendraSyncJobRejectedError) as rejected:
        KendraSyncJobSensor(task_id="wait", **task).execute(context)
    KendraSyncJobSensor(task_id="accept", **task, max_documents_failed=5).execute(context)
    with pytest.raises(KendraSyncJobMetricsError) as gated:
        KendraSyncJobMetricsOperator(task_id="gate", **task, max_missing_documents=0).execute(context)
    hook = KendraSyncJobsHook()
    found = hook.get_missing_documents(*data_source.ids, limit=1000)
    page = render_report(hook, data_source.index_id)
    for output in ("table", "plain", "json", "yaml"):
        printed_by("documents", *data_source.ids, "--execution-id", execution_id, "--limit", "0", "-o", output)
        printed_by("documents", *data_source.ids, "--missing", "--limit", "0", "-o", output)

    assert found.found > 80
    places = {
        "log": [record.getMessage() for record in caplog.records],
        "error": [str(rejected.value), str(gated.value)],
        "XCom": [json.dumps(each, ensure_ascii=False) for each in ti.pushed],
        "result": [f"{each}" for each in found.documents] + [json.dumps(found.reasons, ensure_ascii=False)],
        "report": [page],
        "command": list(capsys.readouterr()),
    }
    leaks = [f"{place}: {leak}" for place, texts in places.items() for text in texts for leak in leaks_of(text)]
    assert sorted(set(leaks)) == []
    for place, texts in places.items():
        assert ("FilterLogEvents" if place == "log" else "Access Denied") in "".join(texts), place
