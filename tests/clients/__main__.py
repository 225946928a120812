"""Clients that nobody here wrote, each doing what users of Kendra do: the AWS CLI and the JavaScript SDK v3."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from airflow_provider_kendra.testing import LocalKendra
from tests.clients import aws_cli

ROOT = Path(__file__).parents[2]
NODE_MODULES = ROOT / ".venv-clients" / "node_modules"
AWS = Path(os.environ.get("KENDRA_TEST_AWS_CLI", ROOT / ".venv-awscli" / "bin" / "aws"))


def main() -> int:
    """Run all clients, and return 1 if one fails."""
    failed = False
    with LocalKendra() as kendra, tempfile.TemporaryDirectory() as directory:
        print("== the AWS CLI", flush=True)
        aws_cli.drive(AWS, kendra, Path(directory))
        if NODE_MODULES.exists():
            print("== the JavaScript SDK v3", flush=True)
            kendra.set_sync_duration(0.2)
            script = Path(__file__).with_name("kendra.cjs")
            environment = os.environ | {"NODE_PATH": str(NODE_MODULES), "NODE_NO_WARNINGS": "1"}
            failed = subprocess.run(["node", str(script), kendra.url], env=environment, check=False).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
