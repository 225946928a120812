"""What can happen to a wait for a sync job: a table that is run in every mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import (
    AirflowNotFoundException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from airflow_provider_kendra.exceptions import (
    KendraRequestError,
    KendraSyncJobNotFoundError,
    KendraSyncJobRejectedError,
)
from tests.integration.modes import NOW

Job = dict[str, Any]
JobList = Sequence[Job]

LIST = "ListDataSourceSyncJobs"
CUTOFF = NOW - timedelta(hours=1)
MISSING_ID = "0" * 36


@dataclass(frozen=True)
class Passes:
    """The wait returns the record of this job, with these values in it."""

    execution_id: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Raises:
    """The wait raises this error, which names these things and carries this job."""

    error: type[BaseException]
    named: Sequence[str]
    execution_id: str | None = None


def skips(*named: str) -> Raises:
    return Raises(AirflowSkipException, named)


def rejects(execution_id: str, *named: str) -> Raises:
    return Raises(KendraSyncJobRejectedError, (execution_id, *named), execution_id)


def refuses(*named: str) -> Raises:
    return Raises(KendraRequestError, named)


def times_out(*named: str) -> Raises:
    return Raises(AirflowSensorTimeout, ("Timed out: ", *named))


def not_found(*named: str) -> Raises:
    return Raises(KendraSyncJobNotFoundError, named)


@dataclass(frozen=True)
class Scenario:
    """A row: the history at each poll, faults of the service, the sensor's arguments, and the expected end."""

    name: str
    expected: Passes | Raises
    histories: Sequence[JobList] = ((),)
    faults: Sequence[Mapping[str, Any]] = ()
    execution_id: str | None = None
    started_after: datetime | str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    calls: int | None = None
    look_ups: Sequence[BaseException | None] = ()
    """What the first look-ups of the connection raise; None for one that succeeds."""
    has_empty_first_page: bool = False


def job(execution_id: str, status: str | None = None, *, started: int | None = 30, **members: Any) -> Job:
    """An item of a history: started so many minutes before the wait begins."""
    start = {} if started is None else {"StartTime": NOW - timedelta(minutes=started)}
    end = {"EndTime": NOW - timedelta(minutes=1)} if status in ("SUCCEEDED", "FAILED", "INCOMPLETE", "ABORTED") else {}
    return {"ExecutionId": execution_id, **({"Status": status} if status else {}), **start, **end, **members}


def metrics(**counts: int) -> dict[str, Any]:
    return {"Metrics": {f"Documents{name.capitalize()}": str(count) for name, count in counts.items()}}


def one(name: str, expected: Passes | Raises, *statuses: str, calls: int | None = None, **arguments: Any) -> Scenario:
    """A wait for job "mine", which has these statuses at the polls."""
    histories = [[job("mine", status)] for status in statuses]
    return Scenario(name, expected, histories, execution_id="mine", arguments=arguments, calls=calls)


def since(
    name: str, expected: Passes | Raises, *histories: JobList, calls: int | None = None, **arguments: Any
) -> Scenario:
    """A wait for a job that started at or after the cutoff, an hour before the wait begins."""
    return Scenario(name, expected, histories, started_after=CUTOFF, arguments=arguments, calls=calls)


def faulty(
    name: str, expected: Passes | Raises, *faults: Mapping[str, Any], calls: int | None = None, **arguments: Any
) -> Scenario:
    """A wait for job "mine", which has succeeded, while the service misbehaves."""
    histories = [[job("mine", "SUCCEEDED")]]
    return Scenario(name, expected, histories, faults, execution_id="mine", arguments=arguments, calls=calls)


def using(name: str, expected: Passes | Raises, **arguments: Any) -> Scenario:
    """A wait with these arguments, where job "mine" has succeeded."""
    given = {name: arguments.pop(name, None) for name in ("execution_id", "started_after")}
    params = arguments.pop("params", {})
    return Scenario(name, expected, [[job("mine", "SUCCEEDED")]], **given, arguments=arguments, params=params)


MINE = Passes("mine", {"status": "SUCCEEDED"})

STATUS_PATHS = [
    one("has succeeded already", MINE, "SUCCEEDED", calls=1),
    one("crawls, indexes, succeeds", MINE, "SYNCING", "SYNCING_INDEXING", "SUCCEEDED", calls=3),
    one("ends between two polls", MINE, "SYNCING", "SUCCEEDED", calls=2),
    one("has failed already", rejects("mine", "FAILED", "Only SUCCEEDED is accepted"), "FAILED", calls=1),
    one("crawls, then fails", rejects("mine", "FAILED"), "SYNCING", "FAILED", calls=2),
    one("is stopped", rejects("mine", "ABORTED"), "SYNCING", "STOPPING", "ABORTED", calls=3),
    one("succeeds after STOPPING", MINE, "STOPPING", "SUCCEEDED", calls=2),
    one("ends incomplete", rejects("mine", "INCOMPLETE"), "SYNCING_INDEXING", "INCOMPLETE", calls=2),
    one("has an unknown status, then succeeds", MINE, "HIBERNATING", "SUCCEEDED", calls=2),
    one("has an unknown status forever", times_out("mine", "HIBERNATING"), "HIBERNATING", timeout=120),
    Scenario(
        "fails with an error message",
        rejects("mine", "FAILED", "InternalError: AccessDenied: The role may not read the bucket."),
        [
            [
                job(
                    "mine", "FAILED", ErrorCode="InternalError", DataSourceErrorCode="AccessDenied",
                    ErrorMessage="The role may not read the bucket.",
                )
            ]
        ],
        execution_id="mine",
    ),
    Scenario(
        "shows an EndTime while it still indexes",
        Passes("mine", {"end_time": (NOW - timedelta(minutes=1)).isoformat(), "duration_seconds": 29 * 60.0}),
        [[job("mine", "SYNCING_INDEXING", EndTime=NOW - timedelta(minutes=9))], [job("mine", "SUCCEEDED")]],
        execution_id="mine",
        calls=2,
    ),
    Scenario(
        "has no status at first",
        MINE,
        [[job("mine")], [job("mine", "SUCCEEDED")]],
        execution_id="mine",
        calls=2,
    ),
    Scenario(
        "has neither times nor metrics",
        Passes("mine", {"start_time": None, "duration_seconds": None, "documents_failed": None}),
        [[{"ExecutionId": "mine", "Status": "SUCCEEDED"}]],
        execution_id="mine",
    ),
    Scenario(
        "reports its metrics",
        Passes("mine", {"documents_added": 3, "documents_modified": 0, "documents_failed": 0, "documents_scanned": 5}),
        [[job("mine", "SUCCEEDED", **metrics(added=3, modified=0, deleted=1, failed=0, scanned=5))]],
        execution_id="mine",
    ),
]  # fmt: skip

HISTORY = [
    Scenario(
        "is behind a newer job that failed",
        MINE,
        [[job("newer", "FAILED", started=5), job("mine", "SUCCEEDED")]],
        execution_id="mine",
        calls=1,
    ),
    Scenario(
        "is before an older job that failed",
        MINE,
        [[job("mine", "SUCCEEDED"), job("older", "FAILED", started=90)]],
        execution_id="mine",
        calls=1,
    ),
    Scenario(
        "is on a page that is not in order",
        MINE,
        [[job("older", "FAILED", started=90), job("mine", "SUCCEEDED"), job("newer", "SYNCING", started=1)]],
        execution_id="mine",
        calls=1,
    ),
    Scenario(
        "is deep in the history",
        MINE,
        [[job(f"job-{n}", "FAILED", started=n) for n in range(24)] + [job("mine", "SUCCEEDED", started=60)]],
        execution_id="mine",
        calls=3,
    ),
    Scenario(
        "is at the end of the first page, where reading stops",
        MINE,
        [
            [job(f"job-{n}", "SUCCEEDED", started=n) for n in range(9)]
            + [job("mine", "SUCCEEDED", started=10)]
            + [job(f"older-{n}", "SUCCEEDED", started=20 + n) for n in range(30)]
        ],
        execution_id="mine",
        calls=1,
    ),
    Scenario(
        "is not listed yet",
        MINE,
        [[], [job("older", "SUCCEEDED", started=90)], [job("mine", "SUCCEEDED")]],
        execution_id="mine",
        calls=3,
        arguments={"not_found_timeout": 300},
    ),
    Scenario(
        "is never listed",
        not_found("mine", "(1 job)", "not_found_timeout"),
        [[job("older", "SUCCEEDED", started=90)]],
        execution_id="mine",
    ),
    Scenario("is not listed, and nothing else is", not_found("mine", "0 jobs"), execution_id="mine"),
    Scenario(
        "is not listed, and nobody waits for that",
        not_found("mine"),
        execution_id="mine",
        arguments={"not_found_timeout": 0},
        calls=1,
    ),
    Scenario(
        "vanishes from the history",
        not_found("mine"),
        [[job("mine", "SYNCING")], [job("mine", "SYNCING")], []],
        execution_id="mine",
    ),
    Scenario(
        "is missing from one response, long after the wait began",
        MINE,
        [*[[job("mine", "SYNCING")]] * 4, [job("older", "SUCCEEDED", started=90)], [job("mine", "SUCCEEDED")]],
        execution_id="mine",
        calls=6,
    ),
    Scenario(
        "is missing from every other response",
        MINE,
        [*[[], [job("mine", "SYNCING")]] * 6, [], [job("mine", "SUCCEEDED")]],
        execution_id="mine",
        calls=14,
    ),
    Scenario(
        "is missing from one response, and polls are far apart",
        MINE,
        [[job("mine", "SYNCING")], [], [job("mine", "SUCCEEDED")]],
        execution_id="mine",
        arguments={"poke_interval": 1200},
        calls=3,
    ),
    Scenario(
        "is missing from one response, after which polls fail",
        MINE,
        [[job("mine", "SYNCING")], [job("mine", "SYNCING")], [], [job("mine", "SUCCEEDED")]],
        [{"error": "ThrottlingException", "rate": 0.5, "seed": 1, "times": 3}],
        execution_id="mine",
    ),
    Scenario(
        "shows that it runs though a newer job has started",
        rejects("mine", "a newer sync has started", "its status is still SYNCING"),
        [[job("newer", "SYNCING", started=5), job("mine", "SYNCING")]],
        execution_id="mine",
    ),
    Scenario(
        "shows an unknown status though a newer job has started and ended",
        rejects("mine", "a newer sync has started", "its status is still HIBERNATING"),
        [[job("mine", "HIBERNATING")], [job("newer", "SUCCEEDED", started=1), job("mine", "HIBERNATING")]],
        execution_id="mine",
    ),
    Scenario(
        "shows that it runs though a newer job has started, and then that it has ended",
        MINE,
        [
            *[[job("newer", "SYNCING", started=0), job("mine", "SYNCING")]] * 2,
            [job("newer", "SYNCING", started=0), job("mine", "SUCCEEDED")],
        ],
        execution_id="mine",
        calls=3,
    ),
    Scenario(
        "is behind an empty first page",
        MINE,
        [[job("mine", "SYNCING")], [job("mine", "SUCCEEDED")]],
        execution_id="mine",
        calls=4,
        has_empty_first_page=True,
    ),
    Scenario(
        "is not found behind an empty first page",
        not_found("mine", "(1 job)"),
        [[job("older", "SUCCEEDED", started=90)]],
        execution_id="mine",
        has_empty_first_page=True,
    ),
    Scenario(
        "is listed twice, once stale",
        MINE,
        [[job("mine", "SUCCEEDED"), job("mine", "SYNCING")]],
        execution_id="mine",
        calls=1,
    ),
    Scenario(
        "runs while an item of the history has no id",
        MINE,
        [[{"Status": "FAILED"}, job("mine", "SYNCING")], [{}, job("mine", "SUCCEEDED")]],
        execution_id="mine",
        calls=2,
    ),
]

TOLERANCE = [
    Scenario(
        "is incomplete within the tolerance",
        Passes("mine", {"status": "INCOMPLETE", "documents_failed": 2}),
        [[job("mine", "INCOMPLETE", **metrics(failed=2))]],
        execution_id="mine",
        arguments={"max_documents_failed": 2},
    ),
    Scenario(
        "is incomplete beyond the tolerance",
        rejects("mine", "INCOMPLETE", "3 documents failed", "max_documents_failed=2"),
        [[job("mine", "INCOMPLETE", **metrics(failed=3))]],
        execution_id="mine",
        arguments={"max_documents_failed": 2},
    ),
    Scenario(
        "is incomplete, and the error names what would have accepted it",
        rejects("mine", "INCOMPLETE", "max_documents_failed=3 or more"),
        [[job("mine", "INCOMPLETE", **metrics(failed=3))]],
        execution_id="mine",
    ),
    one(
        "is incomplete without metrics, beyond any tolerance",
        rejects("mine", "without a count of failed documents"),
        "INCOMPLETE",
        max_documents_failed=1000,
    ),
    one("succeeds without metrics, within a tolerance of none", MINE, "SUCCEEDED", max_documents_failed=0),
    Scenario(
        "succeeds with more failed documents than tolerated",
        rejects("mine", "SUCCEEDED: 7 documents failed"),
        [[job("mine", "SUCCEEDED", **metrics(failed=7))]],
        execution_id="mine",
        arguments={"max_documents_failed": 6},
    ),
    one("fails, which no tolerance accepts", rejects("mine", "FAILED"), "FAILED", max_documents_failed=1000),
    one("fails, which is accepted", Passes("mine", {"status": "FAILED"}), "FAILED", target_statuses=["FAILED"]),
    one(
        "is stopped, which is accepted",
        Passes("mine", {"status": "ABORTED"}),
        "ABORTED",
        target_statuses=("SUCCEEDED", "ABORTED"),
    ),
    one("succeeds, which is not accepted", rejects("mine", "SUCCEEDED"), "SUCCEEDED", target_statuses=["FAILED"]),
    one(
        "is to end with a status that is not terminal",
        refuses("accepted statuses", "'SYNCING'"),
        "SUCCEEDED",
        target_statuses=["SYNCING"],
    ),
]

STARTED_AFTER = [
    since("since: passes on what has succeeded", MINE, [job("mine", "SUCCEEDED")], calls=1),
    since("since: the cutoff itself is in", MINE, [job("mine", "SUCCEEDED", started=60)], calls=1),
    since(
        "since: last week's success does not pass",
        MINE,
        [job("old", "SUCCEEDED", started=61)],
        [job("mine", "SYNCING", started=0), job("old", "SUCCEEDED", started=61)],
        [job("mine", "SUCCEEDED", started=0), job("old", "SUCCEEDED", started=61)],
        calls=3,
    ),
    since("since: waits on an empty history", MINE, [], [], [job("mine", "SUCCEEDED", started=0)], calls=3),
    since("since: nothing ever starts", times_out("05:00:00", "no such sync job was listed"), [], timeout=120),
    since(
        "since: a job runs too long",
        times_out("late", "SYNCING_INDEXING"),
        [job("late", "SYNCING_INDEXING")],
        timeout=120,
    ),
    since(
        "since: one that ran across the cutoff does not count",
        MINE,
        [job("across", "SYNCING", started=70)],
        [job("across", "SUCCEEDED", started=70)],
        [job("mine", "SUCCEEDED", started=0), job("across", "SUCCEEDED", started=70)],
        calls=3,
    ),
    since("since: the newest failed", rejects("bad", "FAILED"), [job("bad", "FAILED")], calls=1),
    since(
        "since: the newest failed, an older one is acceptable",
        MINE,
        [job("bad", "FAILED", started=10), job("mine", "SUCCEEDED")],
        calls=1,
    ),
    since(
        "since: the newest failed, the acceptable one is too old",
        rejects("bad", "FAILED"),
        [job("bad", "FAILED", started=10), job("old", "SUCCEEDED", started=61)],
        calls=1,
    ),
    since(
        "since: an older job that seems to run hides no failure, for only the newest can be running",
        rejects("bad", "FAILED"),
        [job("bad", "FAILED", started=1), job("odd", "SYNCING", started=9)],
        calls=1,
    ),
    since(
        "since: the newest runs, which a page that is not sorted lists last",
        MINE,
        [job("bad", "FAILED", started=9), job("mine", "SYNCING", started=1)],
        [job("bad", "FAILED", started=9), job("mine", "SUCCEEDED", started=1)],
        calls=2,
    ),
    Scenario(
        "since: the first page is empty",
        MINE,
        [[job("mine", "SYNCING")], [job("mine", "SUCCEEDED")]],
        started_after=CUTOFF,
        calls=4,
        has_empty_first_page=True,
    ),
    Scenario(
        "since: the first page is empty, and the newest failed",
        rejects("bad", "FAILED"),
        [[job("bad", "FAILED"), job("old", "SUCCEEDED", started=61)]],
        started_after=CUTOFF,
        calls=2,
        has_empty_first_page=True,
    ),
    since(
        "since: two have succeeded, the newest is taken",
        MINE,
        [job("mine", "SUCCEEDED", started=5), job("first", "SUCCEEDED", started=20)],
        calls=1,
    ),
    since(
        "since: two have succeeded, listed out of order",
        MINE,
        [job("first", "SUCCEEDED", started=20), job("mine", "SUCCEEDED", started=5)],
        calls=1,
    ),
    since(
        "since: an acceptable one is behind a page of failures",
        MINE,
        [job(f"bad-{n}", "FAILED", started=n) for n in range(12)] + [job("mine", "SUCCEEDED", started=40)],
        calls=2,
    ),
    since(
        "since: nothing is read beyond the cutoff",
        rejects("bad", "FAILED"),
        [job("bad", "FAILED", started=10)] + [job(f"old-{n}", "SUCCEEDED", started=100 + n) for n in range(30)],
        calls=1,
    ),
    since(
        "since: a job without a start time is not treated as new",
        MINE,
        [job("undated", "SUCCEEDED", started=None)],
        [job("mine", "SUCCEEDED"), job("undated", "SUCCEEDED", started=None)],
        calls=2,
    ),
    since(
        "since: incomplete within the tolerance",
        Passes("mine", {"status": "INCOMPLETE"}),
        [job("mine", "INCOMPLETE", **metrics(failed=1))],
        max_documents_failed=1,
        calls=1,
    ),
    since(
        "since: incomplete beyond the tolerance",
        rejects("bad", "max_documents_failed=0"),
        [job("bad", "INCOMPLETE", **metrics(failed=1))],
        max_documents_failed=0,
        calls=1,
    ),
    since(
        "since: an unknown status counts as running",
        MINE,
        [job("mine", "HIBERNATING")],
        [job("mine", "SUCCEEDED")],
        calls=2,
    ),
]

TROUBLE = [
    faulty("is throttled thrice", MINE, {"error": "ThrottlingException", "times": 3}, calls=4),
    faulty("meets two internal errors", MINE, {"error": "InternalServerException", "times": 2}, calls=3),
    faulty("meets an unavailable service", MINE, {"status": 503, "times": 1}, calls=2),
    faulty("has its connection reset", MINE, {"reset": "before", "times": 2}, calls=3),
    faulty("loses a response", MINE, {"reset": "after", "times": 1}, calls=2),
    faulty("gets half a response", MINE, {"body": "truncated", "times": 1}, calls=2),
    faulty("gets a page of HTML as a response", MINE, {"body": "not-json", "times": 1}, calls=2),
    faulty("meets one error after the other", MINE,
        {"error": "ThrottlingException", "times": 1}, {"reset": "before", "times": 1},
        {"error": "InternalServerException", "times": 1}, calls=4,
    ),
    faulty("has credentials that have expired", MINE, {"error": "ExpiredTokenException", "times": 1}, calls=2),
    faulty("has a token that is not known yet", MINE, {"error": "UnrecognizedClientException", "times": 1}, calls=2),
    faulty("lacks the permission", refuses("AccessDeniedException", "kendra:ListDataSourceSyncJobs"),
        {"error": "AccessDeniedException"}, calls=1,
    ),
    faulty("sends an invalid request", refuses("ValidationException"),
        {"error": "ValidationException"}, calls=1,
    ),
    faulty("is denied after other errors", refuses("AccessDeniedException"),
        {"error": "ThrottlingException", "times": 2}, {"error": "AccessDeniedException"}, calls=3,
    ),
    faulty("is throttled forever", times_out("mine", "the last poll failed", "ThrottlingException"),
        {"error": "ThrottlingException"}, timeout=120,
    ),
    faulty("never has valid credentials", times_out("mine", "ExpiredTokenException"),
        {"error": "ExpiredTokenException"}, timeout=120,
    ),
    Scenario(
        "is throttled while it is not listed yet", MINE, [[], [job("mine", "SUCCEEDED")]],
        [{"error": "ThrottlingException", "times": 1}], execution_id="mine", calls=3,
    ),
    Scenario(
        "is throttled between two pages", MINE,
        [[job(f"job-{n}", "SUCCEEDED", started=n) for n in range(12)] + [job("mine", "SUCCEEDED")]],
        [{"rate": 0.5, "seed": 3, "error": "ThrottlingException", "times": 2}], execution_id="mine",
    ),
    Scenario(
        "reads a history whose page tokens repeat", times_out("mine", "the same page"),
        [[job(f"job-{n}", "SUCCEEDED", started=n) for n in range(90)]],
        [{"next_token": "repeated"}], execution_id="mine", arguments={"timeout": 120},
    ),
]  # fmt: skip

ARGUMENTS = [
    using("names no such data source", refuses(MISSING_ID, "ResourceNotFoundException"), execution_id="mine",
        data_source_id=MISSING_ID,
    ),
    using("names no such index", refuses("ResourceNotFoundException"), execution_id="mine", index_id=MISSING_ID),
    using("names no such connection", refuses("'missing' is not defined"), execution_id="mine", aws_conn_id="missing"),
    using("uses a connection without a region", refuses("region"), execution_id="mine", aws_conn_id="without_region"),
    using("uses a connection without credentials", times_out("mine", "NoCredentialsError"), execution_id="mine",
        aws_conn_id="without_credentials", timeout=60,
    ),
    using("has an invalid index_id", refuses("index_id is 'short'", "36"), execution_id="mine",
        index_id="short",
    ),
    using("has an invalid data_source_id", refuses("data_source_id is 'a b'"), execution_id="mine",
        data_source_id="a b",
    ),
    using("gives CloudFormation's Ref for a data source", refuses("CloudFormation's Ref", "data_source_id='ds'"),
        execution_id="mine", data_source_id=f"ds|{MISSING_ID}",
    ),
    using("names an execution id with a space", refuses("execution_id is 'a b'"), execution_id="a b"),
    using("has a template that finds None", refuses("execution_id is 'None'", "found no value"),
        execution_id="{{ params.nothing }}", params={"nothing": None},
    ),
    using("has a template that finds nothing", refuses("execution_id is ''", "found no value"),
        execution_id="{{ params.nothing }}", params={"nothing": ""},
    ),
    *(
        using(f"has a template for {parameter} that finds {value!r}", refuses(f"{parameter} is ", "found no value"),
            **{"execution_id": "mine", parameter: "{{ params.nothing }}"}, params={"nothing": value},
        )
        for parameter in ("index_id", "data_source_id", "aws_conn_id", "region_name", "verify", "botocore_config")
        for value in (None, "")
    ),
    using("has a template for the time that finds None", refuses("started_after is 'None'", "found no value"),
        started_after="{{ params.nothing }}", params={"nothing": None},
    ),
    using("gets the text of a mapping for botocore", refuses("botocore_config", "must be a mapping"),
        execution_id="mine", botocore_config="{{ params.config }}", params={"config": {"retries": {}}},
    ),
    using("gets the text of a boolean for verify", refuses("verify is 'False'", "CA bundle"), execution_id="mine",
        verify="{{ params.verify }}", params={"verify": False},
    ),
    using("gives durations as timedeltas", not_found("absent"), execution_id="absent",
        not_found_timeout=timedelta(minutes=2), poke_interval=timedelta(seconds=30), timeout=timedelta(hours=1),
    ),
    using("has a template for the execution id", MINE, execution_id="{{ params.id }}", params={"id": "mine"}),
    using("has a template for the time", MINE, started_after="{{ data_interval_end }}"),
    using("has a template for the connection", MINE, execution_id="mine", aws_conn_id="aws_{{ params.account }}",
        params={"account": "default"},
    ),
    using("gives the time as text in another zone", MINE, started_after="2026-01-31T06:00:00+01:00"),
    using("gives a time without a zone", refuses("started_after is '2026-01-31T05:00:00'", "no time zone"),
        started_after=CUTOFF.replace(tzinfo=None),
    ),
    using("gives the time as text without a zone", refuses("started_after is '2026-01-31T05:00:00'", "no time zone"),
        started_after="2026-01-31T05:00:00",
    ),
    using("gives a text that is not a time", refuses("started_after is 'yesterday'"), started_after="yesterday"),
]  # fmt: skip

SKIPS = [
    scenario
    for parameter in ("soft_fail", "never_fail")
    for scenario in (
        one(f"{parameter}: a failure", skips(parameter, "mine", "FAILED"), "SYNCING", "FAILED", **{parameter: True}),
        Scenario(
            f"{parameter}: not found", skips(parameter, "mine", "history"),
            execution_id="mine", arguments={parameter: True},
        ),
        faulty(f"{parameter}: a refusal", skips(parameter, "AccessDeniedException"),
            {"error": "AccessDeniedException"}, **{parameter: True},
        ),
        using(f"{parameter}: an id that cannot be one", skips(parameter, "'a b'"), execution_id="a b",
            **{parameter: True},
        ),
        one(f"{parameter}: a time-out", skips(parameter, "Timed out", "mine", "SYNCING"), "SYNCING",
            timeout=120, **{parameter: True},
        ),
        faulty(f"{parameter}: trouble that passes", MINE, {"error": "ThrottlingException", "times": 1},
            **{parameter: True},
        ),
    )
]  # fmt: skip

TIME_OUTS = [
    one("runs too long", times_out("mine", "SYNCING", "Raise timeout"), "SYNCING", timeout=120),
    one("is polled once with timeout 0", times_out("mine", "SYNCING"), "SYNCING", timeout=0),
    one("ends at the last poll in time", MINE, "SYNCING", "SYNCING", "SUCCEEDED", timeout=120, calls=3),
    one("is waited for longer than a day", MINE, *["SYNCING"] * 3, "SUCCEEDED", poke_interval=36000, timeout=864000),
    one("backs off", MINE, *["SYNCING"] * 2, "SUCCEEDED", exponential_backoff=True),
    one("fails despite silent_fail", rejects("mine", "FAILED"), "SYNCING", "FAILED", silent_fail=True, calls=2),
]

# What no client can be made with, what a failed look-up is, and what a proxy answers.

UNABLE = "No AWS client can be made with this configuration"


def undefined() -> BaseException:
    """What Airflow raises for a connection that is not defined, and for one whose look-up failed."""
    return AirflowNotFoundException("The conn_id `aws_default` isn't defined")


def resolving(
    name: str,
    expected: Passes | Raises,
    *look_ups: BaseException | None,
    statuses: Sequence[str] = ("SUCCEEDED",),
    faults: Sequence[Mapping[str, Any]] = (),
    **arguments: Any,
) -> Scenario:
    """A wait for job "mine" while the first look-ups of the connection have these results."""
    histories = [[job("mine", status)] for status in statuses]
    return Scenario(name, expected, histories, faults, execution_id="mine", arguments=arguments, look_ups=look_ups)


MISCONFIGURATION = [
    using(name, refuses(parameter, *named), execution_id="mine", **arguments)
    for name, parameter, named, arguments in [
        ("has a botocore_config with an unknown key", "botocore_config", ["retrys"],
            {"botocore_config": {"retrys": 1}}),
        ("has a botocore_config with a bad retry mode", "botocore_config", ["often"],
            {"botocore_config": {"retries": {"mode": "often"}}}),
        ("has a botocore_config with retries of a wrong type", "botocore_config", [],
            {"botocore_config": {"retries": "many"}}),
        ("has a botocore_config with a time-out that is no number", "botocore_config", [UNABLE],
            {"botocore_config": {"read_timeout": "long"}}),
        ("has a botocore_config with a pool size that is no number", "botocore_config", [],
            {"botocore_config": {"max_pool_connections": "ten"}}),
        ("has a botocore_config that is text", "botocore_config", ["mapping"], {"botocore_config": "read_timeout=5"}),
        ("has proxies that are no mapping", "botocore_config", ["proxies"],
            {"botocore_config": {"proxies": "http://me:secret@proxy"}}),
        ("has a proxy whose address cannot be one", "botocore_config", [],
            {"botocore_config": {"proxies": {"http": "me:secret@proxy:31x28"}}}),
        ("has a CA bundle that does not exist", "verify", ["/no/such.pem"], {"verify": "/no/such.pem"}),
        ("has a CA bundle that is a directory", "verify", ["/"], {"verify": "/"}),
        ("has a region that cannot be one", "region_name", [], {"region_name": "no where"}),
        ("uses a connection with an unknown profile", "profile", ["missing"], {"aws_conn_id": "unknown_profile"}),
        ("uses a connection with a bad botocore configuration", "'bad_config'", ["retrys"],
            {"aws_conn_id": "bad_config"}),
        ("uses a connection whose extra is no JSON", "'bad_extra'", ["extra"], {"aws_conn_id": "bad_extra"}),
        ("uses a connection whose variable is no JSON", "'no_json'", ["AIRFLOW_CONN_NO_JSON"],
            {"aws_conn_id": "no_json"}),
    ]
] + [
    using(f"{parameter}: a configuration that cannot work", skips(parameter, "botocore_config"), execution_id="mine",
        botocore_config={"retrys": 1}, **{parameter: True},
    )
    for parameter in ("soft_fail", "never_fail")
]  # fmt: skip

LOOK_UPS = [
    resolving("finds its connection not defined for a while", MINE, *[undefined()] * 4),
    resolving("finds its connection not defined again and again", refuses("not defined"),
        *[undefined()] * 100,
    ),
    resolving("cannot look up its connection at first", MINE, RuntimeError("away"), ValueError("port"),
        OSError("gone"),
    ),
    resolving("finds its connection not defined later", MINE, None, *[undefined()] * 30,
        statuses=["SYNCING"] * 5 + ["SUCCEEDED"],
    ),
    resolving("finds its connection not defined when its credentials have expired", MINE, None, *[undefined()] * 30,
        statuses=["SYNCING", "SYNCING", "SUCCEEDED"], faults=[{"error": "ExpiredTokenException", "times": 1}],
    ),
    resolving("finds its connection not defined after its first poll, past renewals", MINE,
        None, *[undefined()] * 10, statuses=["SYNCING"] * 40 + ["SUCCEEDED"],
    ),
    resolving("soft_fail: its connection is not defined", skips("soft_fail", "not defined"), *[undefined()] * 100,
        soft_fail=True,
    ),
]  # fmt: skip

PROXY_PAGES = [
    faulty(f"gets a page of a proxy with status {status}", MINE, {"status": status, "body": "not-json", "times": 2},
        calls=3,
    )
    for status in (302, 400, 403, 404, 407, 413, 451, 500, 502, 503)
] + [
    faulty("gets only pages of a proxy", times_out("mine", "HTTP status 403 without an AWS error code"),
        {"status": 403, "body": "not-json"}, timeout=120,
    ),
    faulty("gets JSON of a proxy without a code", MINE,
        {"status": 403, "message": "Forbidden", "times": 1}, calls=2,
    ),
    faulty("gets an empty body with a status of refusal", MINE,
        {"status": 403, "body": "empty", "times": 1}, calls=2,
    ),
]  # fmt: skip

SCENARIOS = [
    *STATUS_PATHS,
    *HISTORY,
    *TOLERANCE,
    *STARTED_AFTER,
    *TROUBLE,
    *ARGUMENTS,
    *SKIPS,
    *TIME_OUTS,
    *MISCONFIGURATION,
    *LOOK_UPS,
    *PROXY_PAGES,
]
