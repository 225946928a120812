"""A client that nobody here wrote: the AWS CLI."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def find_aws():
    beside = Path(sys.prefix, "bin", "aws")
    return os.environ.get("KENDRA_TEST_AWS_CLI") or shutil.which("aws") or (str(beside) if beside.exists() else None)


AWS = find_aws()
pytestmark = pytest.mark.skipif(AWS is None, reason="no AWS CLI: set KENDRA_TEST_AWS_CLI to its executable")


@pytest.fixture
def aws(kendra):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    environment |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_MAX_ATTEMPTS": "1"}

    def run(*arguments):
        common = ["--endpoint-url", kendra.url, "--region", "us-east-1", "--output", "json"]
        done = subprocess.run(
            [AWS, "kendra", *arguments, *common], env=environment, text=True, capture_output=True, check=False
        )
        return json.loads(done.stdout) if done.stdout.strip() else done.stderr

    return run


def test_the_aws_cli_starts_stops_and_lists_sync_jobs(kendra, s3_source, aws):
    source = s3_source(kendra)
    kendra.set_sync_duration(None)
    named = ["--index-id", source.ids[0], "--id", source.ids[1]]
    execution_id = aws("start-data-source-sync-job", *named)["ExecutionId"]
    assert "(ResourceInUseException)" in aws("start-data-source-sync-job", *named)
    assert aws("stop-data-source-sync-job", *named) == ""
    kendra.advance(*source.ids)
    listed = aws("list-data-source-sync-jobs", *named, "--status-filter", "ABORTED", "--max-results", "1")
    assert [(job["ExecutionId"], job["Status"]) for job in listed["History"]] == [(execution_id, "ABORTED")]


def test_the_aws_cli_shows_kendras_errors(kendra, s3_source, aws):
    index_id = s3_source(kendra).ids[0]
    missing = aws("list-data-source-sync-jobs", "--index-id", index_id, "--id", "absent")
    assert "(ResourceNotFoundException)" in missing
    wrong = aws("list-data-source-sync-jobs", "--index-id", index_id, "--id", "a|b")
    assert "(ValidationException)" in wrong
    assert "Member must satisfy regular expression pattern" in wrong
