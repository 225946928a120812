"""
Notify when a Kendra index becomes stale, and when it has recovered, whoever or whatever syncs it.

Needs Airflow 3 and the connection ``aws_default``. The asset is part of the DAG's structure and cannot be templated, so
the ids come from the DAG processor's environment: ``KENDRA_REGION`` and ``KENDRA_INDEX_ID``. ``LogNotifier`` is in
``kendra_alerts.py``: use the notifier of your chat or pager in its place.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import DAG, Asset, AssetWatcher, task
from kendra_alerts import LogNotifier

from airflow_provider_kendra.triggers.kendra import KendraDataFreshnessEventTrigger

REGION = os.environ.get("KENDRA_REGION", "us-east-1")
INDEX_ID = os.environ.get("KENDRA_INDEX_ID", "00000000-0000-0000-0000-000000000000")
MAX_AGE = timedelta(seconds=float(os.environ.get("KENDRA_MAX_AGE", "21600")))
POLL_INTERVAL = float(os.environ.get("KENDRA_POLL_INTERVAL", "60"))


freshness = Asset(
    name=f"freshness of {INDEX_ID}",
    watchers=[
        AssetWatcher(
            name="freshness",
            trigger=KendraDataFreshnessEventTrigger(
                index_id=INDEX_ID,
                max_age=MAX_AGE,
                warn_age=MAX_AGE * 0.75,
                region_name=REGION,
                poll_interval=POLL_INTERVAL,
            ),
        )
    ],
)

with DAG(
    dag_id="example_kendra_freshness_alert",
    description="Notifies when data sources of a Kendra index become stale, and when they have recovered",
    schedule=[freshness],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["example", "kendra"],
):

    @task(on_success_callback=LogNotifier("{{ ti.xcom_pull(task_ids='describe') | join('; ') }}"))
    def describe(triggering_asset_events: dict[Any, list[Any]]) -> list[str]:
        # Events can be delivered twice: data source, state and time identify duplicates.
        changes = {
            (change["data_source_id"], change["state"], change["at"]): change
            for events in triggering_asset_events.values()
            for event in events
            for change in event.extra["payload"]["changes"]
        }
        lines = [
            f"{change['data_source_id']} is {change['state']} since {change['at']} (was {change['previous']})"
            for change in changes.values()
            if change["state"] in ("stale", "unknown") or change["previous"] in ("stale", "unknown")
        ]
        if not lines:
            raise AirflowSkipException("Nothing became stale or recovered.")
        return lines

    describe()
