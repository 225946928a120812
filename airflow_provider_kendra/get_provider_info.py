"""What Airflow discovers about this package, through the entry point ``apache_airflow_provider``."""

from __future__ import annotations

from typing import Any

INTEGRATION = "Amazon Kendra"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, in the form of Airflow's ``provider_info.schema.json``."""

    def modules(*names: str) -> list[dict[str, Any]]:
        return [{"integration-name": INTEGRATION, "python-modules": list(names)}]

    uris = [
        {
            "schemes": ["kendra"],
            # Without a handler Airflow skips the entry.
            "handler": "airflow_provider_kendra.assets.kendra.sanitize_uri",
            "factory": "airflow_provider_kendra.assets.kendra.create_asset",
            "to_openlineage_converter": "airflow_provider_kendra.assets.kendra.convert_asset_to_openlineage",
        }
    ]
    return {
        "package-name": "airflow-provider-kendra",
        "name": INTEGRATION,
        # Airflow's UI renders a reStructuredText link correctly only at the end of the text.
        "description": "Start, wait for, stop and check data source syncs of "
        "`Amazon Kendra <https://aws.amazon.com/kendra/>`__.",
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://docs.aws.amazon.com/kendra/latest/dg/data-source.html",
                "tags": ["aws"],
            }
        ],
        "hooks": modules("airflow_provider_kendra.hooks.kendra"),
        "operators": modules("airflow_provider_kendra.operators.kendra"),
        "sensors": modules("airflow_provider_kendra.sensors.kendra"),
        "triggers": modules("airflow_provider_kendra.triggers.kendra"),
        "extra-links": [
            "airflow_provider_kendra.links.kendra.KendraIndexLink",
            "airflow_provider_kendra.links.kendra.KendraSyncJobLogsLink",
        ],
        "asset-uris": uris,
        "dataset-uris": uris,  # read by Airflow 2
        "cli": ["airflow_provider_kendra.cli.get_kendra_cli_commands"],  # taken from Airflow 3.2 on
    }
