"""Flags for the installed Airflow version."""

from __future__ import annotations

from airflow import __version__
from packaging.version import Version

_AIRFLOW = Version(Version(__version__).base_version)
AIRFLOW_V_3_0_PLUS = Version("3.0.0") <= _AIRFLOW
AIRFLOW_V_3_1_PLUS = Version("3.1.0") <= _AIRFLOW
AIRFLOW_V_3_3_PLUS = Version("3.3.0") <= _AIRFLOW
AIRFLOW_V_3_4_PLUS = Version("3.4.0") <= _AIRFLOW
