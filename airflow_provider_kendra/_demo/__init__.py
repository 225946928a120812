"""The command `demo`: a real Airflow beside a local Kendra, without an AWS account."""
