"""Where Airflow's database keeps XComs, for a ``FROM``, and the index of a mapped task."""

from __future__ import annotations

from airflow_provider_kendra.version_compat import AIRFLOW_V_3_4_PLUS

XCOM = "xcom"
MAP_INDEX = "map_index"
if AIRFLOW_V_3_4_PLUS:  # which keeps XComs for each try, and the place of a task in a mapping or a loop
    MAP_INDEX = "region_index"
    XCOM = (
        "(SELECT dag_id, task_id, run_id, region_index AS map_index, key, value FROM xcom_v2 "
        "JOIN task_instance ON task_instance.id = task_instance_id) AS xcom"
    )
