"""Where Airflow's database keeps XComs, for a ``FROM``."""

from __future__ import annotations

from airflow_provider_kendra.version_compat import AIRFLOW_V_3_4_PLUS

XCOM = "xcom"
if AIRFLOW_V_3_4_PLUS:  # which keeps them for each try
    XCOM = (
        "(SELECT dag_id, task_id, run_id, map_index, key, value FROM xcom_v2 "
        "JOIN task_instance ON task_instance.id = task_instance_id) AS xcom"
    )
