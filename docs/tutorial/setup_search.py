"""Make what the tutorial works on in the local Kendra; print the Airflow Variables that lead to it."""

from airflow_provider_kendra.testing import LocalKendra

kendra = LocalKendra.attach("http://127.0.0.1:5005")
kendra.set_sync_duration(4, indexing=2)

kendra.client("s3").create_bucket(Bucket="handbook")
index_id = kendra.create_index("search")
data_source_id = kendra.create_s3_data_source(index_id, "handbook", name="handbook")

print(f"export AIRFLOW_VAR_KENDRA_INDEX_ID={index_id}")
print(f"export AIRFLOW_VAR_KENDRA_DATA_SOURCE_ID={data_source_id}")
print("export AIRFLOW_VAR_KENDRA_BUCKET=handbook")
