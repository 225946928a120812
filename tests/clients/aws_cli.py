"""The AWS CLI against the local Kendra: a bucket, a sync, a question."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from airflow_provider_kendra.testing import LocalKendra

ROLE_ARN = "arn:aws:iam::123456789012:role/kendra"
RUNNING = ("SYNCING", "SYNCING_INDEXING", "STOPPING")


class AwsCli:
    """Runs its commands against one endpoint."""

    def __init__(self, executable: Path, url: str) -> None:
        self._common = [str(executable), "--endpoint-url", url, "--region", "us-east-1", "--output", "json"]
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))
        } | {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_MAX_ATTEMPTS": "1"}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self._common, *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)

    def __call__(self, *arguments: str) -> Any:
        """Return the output of a command that must succeed."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None


def drive(executable: Path, kendra: LocalKendra, directory: Path) -> None:
    """Do with the AWS CLI what a user of Kendra does, and print each step."""
    kendra.set_sync_duration(None)  # a command takes seconds; `_wait` advances the syncs
    aws = AwsCli(executable, kendra.url)
    aws("s3api", "create-bucket", "--bucket", "cli-documents")
    _put(aws, directory, "penguins.txt", "Some facts about penguins.")
    _put(aws, directory, "zebras.txt", "Some facts about zebras.")
    index_id = aws("kendra", "create-index", "--name", "cli", "--role-arn", ROLE_ARN)["Id"]
    configuration = json.dumps({"S3Configuration": {"BucketName": "cli-documents"}})
    source_id = aws(
        "kendra", "create-data-source", "--index-id", index_id, "--name", "s3", "--type", "S3",
        "--role-arn", ROLE_ARN, "--configuration", configuration,
    )["Id"]  # fmt: skip
    source = ["--index-id", index_id, "--id", source_id]
    print(f"   index {index_id}, S3 data source {source_id}")

    execution_id = aws("kendra", "start-data-source-sync-job", *source)["ExecutionId"]
    second = aws.run("kendra", "start-data-source-sync-job", *source)
    assert "(ResourceInUseException) when calling the StartDataSourceSyncJob operation: " in second.stderr
    print(f"   second start: {second.stderr.strip()}")
    job = _wait(aws, kendra, source)
    assert (job["ExecutionId"], job["Status"], job["Metrics"]["DocumentsAdded"]) == (execution_id, "SUCCEEDED", "2")
    print(f"   sync job {execution_id}: {job['Status']}, {job['Metrics']['DocumentsAdded']} documents added")

    found = aws("kendra", "query", "--index-id", index_id, "--query-text", "penguins")["ResultItems"]
    assert [item["DocumentTitle"]["Text"] for item in found] == ["penguins.txt"]
    print(f'   answer to "penguins": {found[0]["DocumentExcerpt"]["Text"]}')
    asked = json.dumps([{"DocumentId": found[0]["DocumentId"]}, {"DocumentId": "absent"}])
    status = aws("kendra", "batch-get-document-status", "--index-id", index_id, "--document-info-list", asked)
    statuses = [each["DocumentStatus"] for each in status["DocumentStatusList"]]
    assert statuses == ["INDEXED", "NOT_FOUND"]
    print(f"   status of two documents: {', '.join(statuses)}")

    aws("kendra", "start-data-source-sync-job", *source)
    _wait(aws, kendra, source)
    _read_pages(aws, source, execution_id)


def _put(aws: AwsCli, directory: Path, name: str, text: str) -> None:
    (directory / name).write_text(text)
    aws("s3api", "put-object", "--bucket", "cli-documents", "--key", name, "--body", str(directory / name))


def _wait(aws: AwsCli, kendra: LocalKendra, source: list[str]) -> dict[str, Any]:
    """List the newest sync job until it has ended."""
    while True:
        job: dict[str, Any] = aws("kendra", "list-data-source-sync-jobs", *source)["History"][0]
        if job["Status"] not in RUNNING:
            return job
        kendra.advance(source[1], source[3])


def _read_pages(aws: AwsCli, source: list[str], oldest: str) -> None:
    command = ["kendra", "list-data-source-sync-jobs", *source, "--max-results", "1"]
    first = aws(*command)
    second = aws(*command, "--next-token", first["NextToken"])
    assert second["History"][0]["ExecutionId"] == oldest
    assert "NextToken" not in second
    print("   history of two syncs, in pages of one, newest first")
