"""Links that Airflow's UI shows on a task."""
