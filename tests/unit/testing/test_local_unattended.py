"""What happens by the clock while nobody asks Kendra."""

from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_kendra.testing import LocalKendra, MockedKendra, mock_kendra

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
NIGHTLY = "cron(0 2 * * ? *)"
DAY = 24 * 3600


@pytest.fixture
def nightly(anywhere, s3_source):
    """A data source with a nightly schedule, at noon."""
    anywhere.set_clock(NOON)
    source = s3_source(anywhere, Schedule=NIGHTLY)
    anywhere.run_schedules()
    return source


def streams(kendra, source):
    logs = kendra.client("logs")
    if not logs.describe_log_groups()["logGroups"]:
        return []
    found = logs.describe_log_streams(logGroupName=f"/aws/kendra/{source.ids[0]}")["logStreams"]
    return [each["logStreamName"].split("/")[-1] for each in found]


def test_each_scheduled_sync_finds_the_documents_of_its_night(anywhere, nightly):
    s3 = anywhere.client("s3")
    for body in (b"first", b"second", b"third"):
        s3.put_object(Bucket="documents", Key="a.txt", Body=body)
        anywhere.advance_clock(DAY)
    s3.delete_object(Bucket="documents", Key="a.txt")
    anywhere.set_clock(NOON + timedelta(days=4))
    names = ("DocumentsAdded", "DocumentsModified", "DocumentsDeleted")
    counts = [tuple(int(job["Metrics"][name]) for name in names) for job in nightly.jobs()]
    assert counts == [(0, 0, 1), (0, 1, 0), (0, 1, 0), (1, 0, 0)]


def test_the_logs_of_a_sync_can_be_read_without_asking_kendra(anywhere, s3_source):
    source = s3_source(anywhere)
    anywhere.client("s3").put_object(Bucket="documents", Key="a.txt", Body=b"text")
    execution_id = source.start()
    assert streams(anywhere, source) == []
    anywhere.advance_clock(3)
    assert streams(anywhere, source) == [execution_id]


def test_requests_of_other_services_let_kendra_do_what_is_due_in_real_time(anywhere, s3_source):
    source = s3_source(anywhere)
    anywhere.client("s3").put_object(Bucket="documents", Key="a.txt", Body=b"text")
    anywhere.set_sync_duration(0.0001)  # which is over before the next request
    execution_id = source.start()
    anywhere.client("s3").list_buckets()
    assert streams(anywhere, source) == [execution_id]


def test_schedules_that_are_switched_off_have_started_what_was_due(anywhere, nightly):
    anywhere.advance_clock(DAY)
    anywhere.run_schedules(False)
    anywhere.advance_clock(DAY)
    assert len(nightly.jobs()) == 1


def test_a_schedule_runs_after_the_clock_was_set_back(anywhere, s3_source):
    source = s3_source(anywhere, Schedule=NIGHTLY)
    anywhere.run_schedules()
    for years in (0, 10):
        anywhere.set_clock(NOON.replace(year=2020 - years))
        before = len(source.jobs())
        anywhere.advance_clock(2 * DAY)
        assert len(source.jobs()) == before + 2


def test_a_crawl_has_scanned_nothing_after_the_clock_was_set_back(anywhere, s3_source):
    source = s3_source(anywhere)
    for key in "abcd":
        anywhere.client("s3").put_object(Bucket="documents", Key=key, Body=b"text")
    anywhere.set_sync_duration(60)
    anywhere.set_clock(NOON)
    source.start()
    anywhere.set_clock(NOON - timedelta(seconds=30))
    assert source.counts() == (0, 0, 0, 0, 0)


def test_a_schedule_starts_nothing_before_its_data_source_is_active(anywhere, s3_source):
    anywhere.set_clock(NOON)
    anywhere.set_sync_duration(0)
    anywhere.run_schedules()
    index = s3_source(anywhere).ids[0]
    anywhere.set_creation_time(150)
    data_source = anywhere.create_s3_data_source(index, "documents", name="new", Schedule="cron(* * * * ? *)")
    anywhere.advance_clock(180)
    jobs = anywhere.client().list_data_source_sync_jobs(IndexId=index, Id=data_source)["History"]
    assert [job["StartTime"] for job in jobs] == [NOON + timedelta(seconds=180)]


def test_a_schedule_for_a_date_that_does_not_exist_starts_nothing(anywhere, s3_source):
    source = s3_source(anywhere, Schedule="cron(0 2 31 2 ? *)")
    anywhere.run_schedules()
    anywhere.advance_clock(400 * DAY)
    assert source.jobs() == []


def test_a_schedule_that_missed_millions_of_runs_starts_the_last_thousand(in_process, s3_source):
    in_process.set_clock(NOON)
    source = s3_source(in_process, Schedule="cron(* * * * ? *)")
    in_process.run_schedules()
    in_process.advance_clock(10_000 * DAY)
    starts = [job["StartTime"] for job in source.jobs()]
    latest = NOON + timedelta(days=10_000)
    assert (len(starts), starts[0], starts[-1]) == (1_000, latest, latest - timedelta(minutes=999))


def test_a_log_stream_can_be_added_while_a_request_iterates_over_the_others(in_process, s3_source):
    from moto.logs.models import logs_backends

    source = s3_source(in_process)
    in_process.client("s3").put_object(Bucket="documents", Key="a.txt", Body=b"text")
    source.start()
    in_process.advance_clock(3)
    logs = logs_backends["123456789012"]["us-east-1"]
    iteration = iter(logs.groups[f"/aws/kendra/{source.ids[0]}"].streams)
    source.start()
    in_process.advance_clock(3)
    assert len(list(iteration)) == 1
    assert len(streams(in_process, source)) == 2


def test_a_local_kendra_answers_while_mock_kendra_is_active(kendra):
    index_id = kendra.create_index("over-HTTP")
    with mock_kendra():
        mocked = MockedKendra()
        mocked.create_index("in-process")
        mocked.inject("DescribeIndex", error="ThrottlingException")
        assert LocalKendra.attach(kendra.url).client().describe_index(Id=index_id)["Name"] == "over-HTTP"
        assert mocked.call_count("DescribeIndex") == 0
    assert kendra.call_count("DescribeIndex") == 1


@pytest.mark.parametrize("use", [lambda kendra: kendra.set_quotas(indexes=1), lambda kendra: kendra.create_index()])
def test_a_mocked_kendra_says_that_no_mock_is_active(use):
    with pytest.raises(RuntimeError, match="only works while mock_kendra is active"):
        use(MockedKendra())


def test_the_text_in_the_index_is_counted_for_its_present_documents(anywhere, s3_source):
    source, s3 = s3_source(anywhere), anywhere.client("s3")
    sizes = []
    for bodies in ({"a.txt": b"12345", "b.txt": b"123"}, {"a.txt": b"12"}, {"b.txt": None}, {"a.txt": None}):
        for key, body in bodies.items():
            if body is None:
                s3.delete_object(Bucket="documents", Key=key)
            else:
                s3.put_object(Bucket="documents", Key=key, Body=body)
        source.start()
        anywhere.advance_clock(3)
        statistics = source.client.describe_index(Id=source.ids[0])["IndexStatistics"]["TextDocumentStatistics"]
        sizes.append((statistics["IndexedTextDocumentsCount"], statistics["IndexedTextBytes"]))
    assert sizes == [(2, 8), (2, 5), (1, 2), (0, 0)]
