"""Let the next sync end with 30 of 100 documents failed."""

import os

from airflow_provider_kendra.testing import LocalKendra

kendra = LocalKendra.attach("http://127.0.0.1:5005")
kendra.set_next_outcome(
    os.environ["AIRFLOW_VAR_KENDRA_INDEX_ID"],
    os.environ["AIRFLOW_VAR_KENDRA_DATA_SOURCE_ID"],
    "INCOMPLETE",
    metrics={"DocumentsScanned": 100, "DocumentsFailed": 30},
)
