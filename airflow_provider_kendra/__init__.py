"""Amazon Kendra data source sync jobs for Apache Airflow."""

__version__ = "1.1.0"
