"""Amazon Kendra data source sync jobs for Apache Airflow."""

__version__ = "0.1.0"
