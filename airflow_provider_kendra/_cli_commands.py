"""The code of the commands that :mod:`airflow_provider_kendra.cli` defines."""

from __future__ import annotations

import functools
import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.utils.cli import suppress_logs_and_warning

from airflow_provider_kendra import _clock, _output, _streams
from airflow_provider_kendra._calls import ErrorKind
from airflow_provider_kendra._clock import in_words
from airflow_provider_kendra._connection import AwsParameters
from airflow_provider_kendra._decisions import at_any_end
from airflow_provider_kendra._naming import find_data_source
from airflow_provider_kendra._overview import Reading, condition_for, read_index
from airflow_provider_kendra._parameters import NOT_FOUND_TIMEOUT, WHY_ONE_IS_REQUIRED
from airflow_provider_kendra._progress import Progress
from airflow_provider_kendra._starting import find_out_type, read_started_job
from airflow_provider_kendra._tables import Row, print_results
from airflow_provider_kendra._text import LONGEST_MESSAGE, are_missing, counted, make_plain, plain
from airflow_provider_kendra._validation import check_exactly_one
from airflow_provider_kendra._waiting.conditions import (
    ExecutionFinished,
    SyncJobCondition,
    sync_job_condition,
)
from airflow_provider_kendra._waiting.sources import DataSource
from airflow_provider_kendra._waiting.wait import wait_in_worker
from airflow_provider_kendra.exceptions import KendraError, KendraSyncJobAlreadyRunningError
from airflow_provider_kendra.outcomes import Failed, Failure, Outcome, Satisfied
from airflow_provider_kendra.sync_job import (
    ANY_END,
    TERMINAL_STATUSES,
    Acceptance,
    SyncJob,
    SyncJobStatus,
    check_status,
)

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_provider_kendra.documents import DocumentFailures, FailedDocument, IndexCapacity
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook

NEGATIVE_RESULT = 1
NO_RESULT = 2


class _Exit(Exception):
    """Ends the command with an exit status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _command(function: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    """Silence the logs of a command, and report errors as one sentence instead of a traceback."""
    quiet = suppress_logs_and_warning(function)

    @functools.wraps(function)
    def command(args: Namespace) -> None:
        _streams.prepare()
        # As in Airflow's own commands: a connection may be in the metadata database.
        os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
        status, message = _outcome(quiet, args)
        if status := _streams.finish(status, _printable(_with_options(message))):
            raise SystemExit(status)

    return command


def _outcome(function: Callable[[Namespace], None], args: Namespace) -> tuple[int, str]:
    """Run a command; return its exit status and a message."""
    try:
        function(args)
    except _Exit as end:
        return end.status, str(end)
    except KeyboardInterrupt:
        return 130, "Interrupted. A running sync continues."
    except BrokenPipeError:
        return _streams.BROKEN_PIPE, ""
    except KendraSyncJobAlreadyRunningError as error:
        return NEGATIVE_RESULT, str(error)
    except (KendraError, ValueError) as error:
        return NO_RESULT, str(error)
    except Exception as error:
        if args.verbose:
            make_plain(error)
            traceback.print_exc()
        return NO_RESULT, _describe(error)
    return 0, ""


# Parameters in the errors of operators and sensors, and the options that replace them in messages.
_OPTIONS = {
    "Check botocore_config, verify, region_name and": "Check --region and",
    "botocore_config, or the connection": "the connection",
    "aws_conn_id=None": "--aws-conn-id ''",
    "aws_conn_id": "--aws-conn-id",
    "index_id": "INDEX",
    "data_source_id": "DATA_SOURCE",
    "execution_id": "EXECUTION_ID",
    "max_documents_failed=": "--max-documents-failed ",
    "max_age": "--max-age",
    "warn_age": "--warn-age",
    "schedule_grace": "--schedule-grace",
    "Raise timeout": "Raise --timeout",
    "region_name": "--region",
    "raise not_found_timeout": "wait again",
    " If it is templated, the template found no value.": "",
}
# As whole words: names of data sources can contain them.
_PARAMETERS = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, _OPTIONS))})(?:(?<==)|(?![\w-]))")


def _with_options(message: str) -> str:
    return _PARAMETERS.sub(lambda found: _OPTIONS[found[0]], message)


def _print_message(message: str) -> None:
    print(_streams.fit(_printable(_with_options(message)), sys.stderr), file=sys.stderr)


def _describe(error: Exception) -> str:
    from botocore.exceptions import BotoCoreError, ClientError

    from airflow_provider_kendra.hooks._aws_errors import classify_error, describe_error

    kind, cause = classify_error(error), describe_error(error)
    if isinstance(error, ClientError):
        if kind is ErrorKind.CREDENTIALS:
            return f"AWS rejects the credentials: {cause}. Check those of the connection."
        if kind is ErrorKind.PERMANENT:
            return f"AWS rejects the request: {cause}. Check the ids, the region and the permissions of the connection."
        details = error.response.get("Error", {})
        return _describe_transient(details.get("Code", ""), details.get("Message") or str(error))
    if isinstance(error, BotoCoreError):
        if kind is ErrorKind.CREDENTIALS:
            return f"No credentials to call AWS: {error}. Check the connection."
        if kind is ErrorKind.PERMANENT:
            return f"The request could not be made: {error}. Check the options and the connection."
        return _describe_transient(type(error).__name__, str(error))
    return f"{type(error).__name__}: {error}"


def _describe_transient(code: str, reason: str) -> str:
    return f"The request failed ({code}): {reason.removesuffix('.')}; try again."


def _aws(args: Namespace) -> AwsParameters:
    return AwsParameters(aws_conn_id=args.aws_conn_id or None, region_name=args.region)


def _make_hook(args: Namespace) -> KendraSyncJobsHook:
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook  # imported lazily: it needs boto3

    hook = KendraSyncJobsHook._of(_aws(args))
    if "data_source_id" in args:
        args.data_source_id = find_data_source(hook, args.index_id, args.data_source_id, _print_message)
    return hook


@_command
def jobs(args: Namespace) -> None:
    """List the sync jobs of a data source."""
    status = None if args.status is None else check_status("--status", args.status.upper())
    found = _make_hook(args).list_sync_jobs(
        args.index_id,
        args.data_source_id,
        status=status,
        started_after=_moment(args.since),
        limit=args.limit or None,
    )
    _print_jobs(found, args.output)


@_command
def freshness(args: Namespace) -> None:
    """Print how fresh each data source of an index is."""
    condition = condition_for(
        max_age=args.max_age,
        measured_by=args.measured_by,
        max_documents_failed=args.max_documents_failed,
        schedule_grace=args.schedule_grace,
    )
    readings = read_index(_make_hook(args), args.index_id, condition, _clock.utcnow, warn_age=args.warn_age)
    if readings:
        rows = [_freshness_row(reading, is_scheduled=condition.grace is not None) for reading in readings]
        _print(
            [_freshness_record(reading) for reading in readings], rows, list(map(_freshness_line, rows)), args.output
        )
    active = [reading for reading in readings if reading.state != "inactive"]
    if not active:
        raise _Exit(
            NO_RESULT, f"The index has no active data source, so nothing in it can be fresh (index {args.index_id})."
        )
    status, summary = _summary(active)
    if status:
        raise _Exit(status, summary)
    if summary:
        _print_message(summary)


_STATUSES = {"unknown": NO_RESULT, "stale": NEGATIVE_RESULT, "aging": 0}
_NAMED = 10  # data sources of a state that the summary names
_LONGEST_REASON = 300


def _summary(readings: Sequence[Reading]) -> tuple[int, str]:
    """Return the exit status of ``freshness``, and a message that names what is not fresh, by state, worst first."""
    shared = Counter(reading.name for reading in readings)
    total = _how_many(len(readings), "data source")
    sentences = []
    for state in (state for state in _STATUSES if any(reading.state == state for reading in readings)):
        concerned = [reading for reading in readings if reading.state == state]
        named = ", ".join(_named(reading, is_unique=shared[reading.name] == 1) for reading in concerned[:_NAMED])
        more = f" and {len(concerned) - _NAMED} more" if len(concerned) > _NAMED else ""
        verb = "is" if len(concerned) == 1 else "are"
        sentences.append((_STATUSES[state], f"{len(concerned)} of {total} {verb} {state}: {named}{more}"))
    return max((status for status, _ in sentences), default=0), ". ".join(sentence for _, sentence in sentences)


def _named(reading: Reading, *, is_unique: bool) -> str:
    """Name a data source, by its id too if others have its name, and say why it is stale or unknown."""
    name = reading.name if reading.name and is_unique else f"{reading.name} {reading.data_source_id}".strip()
    reason = reading.error or (reading.freshness and reading.freshness.reason)
    return f"{plain(name)} ({plain(reason, _LONGEST_REASON)})" if reason else plain(name)


@_command
def start(args: Namespace) -> None:
    """Start a sync of a data source."""
    hook = _make_hook(args)
    calls = hook._calls_on(args.index_id, args.data_source_id)
    if args.wait:
        advice = "Start it without --wait, put the documents, then stop it with --wait."
        find_out_type(calls, instead_of_waiting=advice, warn=_print_message)
    execution_id = hook.start_sync_job(args.index_id, args.data_source_id)
    if args.wait:
        acceptance = Acceptance(max_documents_failed=args.max_documents_failed)
        _finish(args, _wait(args, _execution(execution_id, acceptance), hook))
    else:
        _print_jobs([read_started_job(calls, execution_id)], args.output)


@_command
def stop(args: Namespace) -> None:
    """Stop the running sync of a data source."""
    hook = _make_hook(args)
    stopped = hook._request_stop(args.index_id, args.data_source_id, args.execution_id)
    _print_message(stopped.message)
    job = stopped.job
    if job is not None and stopped.is_ending and args.wait:
        outcome = _wait(args, _execution(job.execution_id, ANY_END), hook)
        ended = at_any_end(outcome)
        if isinstance(outcome, Failed) and isinstance(ended, Satisfied):
            _print_message(outcome.message)  # the sync will not finish, because a newer one has begun
        _finish(args, ended)
    elif job is not None or args.output in ("json", "yaml"):
        _print_jobs([job] if job else [], args.output)


@_command
def wait(args: Namespace) -> None:
    """Wait for a sync of a data source."""
    check_exactly_one({"EXECUTION_ID": args.execution_id, "--started-after": args.started_after}, WHY_ONE_IS_REQUIRED)
    condition = sync_job_condition(
        execution_id=args.execution_id,
        started_after=_moment(args.started_after),
        target_statuses=(SyncJobStatus.SUCCEEDED,),
        max_documents_failed=args.max_documents_failed,
        not_found_timeout=NOT_FOUND_TIMEOUT,
        since=_clock.utcnow(),
    )
    _finish(args, _wait(args, condition, _make_hook(args)))


@_command
def documents(args: Namespace) -> None:
    """Print which documents failed in a sync, or are missing from the index."""
    if args.missing and args.execution_id is not None:
        raise _Exit(NO_RESULT, "Pass either --missing or --execution-id: missing documents are those of all syncs.")
    if args.lookback is not None and not args.missing:
        raise _Exit(NO_RESULT, "--lookback requires --missing.")
    hook, limit = _make_hook(args), args.limit or sys.maxsize
    capacity = None if args.max_index_share is None else hook.get_index_capacity(args.index_id)
    advice = ""
    if args.missing:
        lookback = args.lookback or timedelta(days=30)
        found = hook.get_missing_documents(args.index_id, args.data_source_id, lookback=lookback, limit=limit)
        none = "No document is missing."
    else:
        job = _job_with_documents(hook, args)
        found, advice = hook._describe_failed_documents(job, limit=limit)
        none = _none_failed(job)
        state = job.end if job.is_finished else f"The sync has not finished: {job.progress}"
        _print_message(f"{state}{job.reason_suffix} {job.ids}.")
    shown = found.documents
    rows = [_document_row(document) for document in shown]
    _print([document.to_dict() for document in shown], rows, list(map(_document_line, rows)), args.output)
    summary = [f"{each['count']:,} × {each['reason']} ({each['stage']})" for each in found.reasons]
    share = f"The index is {capacity} (--max-index-share {args.max_index_share})." if capacity else advice
    for line in filter(None, (*summary, found.note, share)):
        _print_message(line)
    verdicts = [
        _verdict_on_documents(found, none, is_missing=args.missing),
        _verdict_on_capacity(capacity, args.max_index_share),
    ]
    message = " ".join(text for _, text in verdicts if text)
    if statuses := {status for status, _ in verdicts if status}:
        raise _Exit(min(statuses), message)  # a definite failure takes precedence over an unknown result
    _print_message(message)


def _verdict_on_documents(found: DocumentFailures, none: str, *, is_missing: bool) -> tuple[int, str]:
    """Return the exit status and the last message."""
    if found.found:
        state = are_missing(found.found) if is_missing else f"{counted(found.found, 'document')} failed"
        left_out = found.found - len(found.documents)
        more = f"; {len(found.documents):,} of them shown (--limit)" if left_out else ""
        return NEGATIVE_RESULT, f"{state}{more}."
    if found.expected:
        return NEGATIVE_RESULT, f"{counted(found.expected, 'document')} failed; it is not known which."
    if not found.is_complete:
        return NO_RESULT, f"It is not known which documents {'are missing' if is_missing else 'failed'}."
    return 0, none


def _verdict_on_capacity(capacity: IndexCapacity | None, most: float) -> tuple[int, str]:
    if capacity is None:
        return 0, ""
    if capacity.share is None:
        return NO_RESULT, "It is not known how full the index is."
    return (NEGATIVE_RESULT, "The index is too full.") if capacity.share > most else (0, "")


def _none_failed(job: SyncJob) -> str:
    """Say that no document failed, as far as Kendra has reported it."""
    if not job.is_finished:
        return "Kendra reports no failed document so far."
    if job.documents_failed is None and job.status != SyncJobStatus.SUCCEEDED:
        return "Kendra reports no failed document for it."
    return "No document failed."


def _job_with_documents(hook: KendraSyncJobsHook, args: Namespace) -> SyncJob:
    if args.execution_id is not None:
        return hook.get_sync_job(args.index_id, args.data_source_id, args.execution_id)
    job = hook.get_latest_sync_job(args.index_id, args.data_source_id, statuses=TERMINAL_STATUSES)
    if job is None:
        raise _Exit(NO_RESULT, f"No sync has finished yet (data source {args.data_source_id}, index {args.index_id}).")
    return job


def _document_row(document: FailedDocument) -> dict[str, Any]:
    names = ("document_id", "stage", "error_code", "reason", "title", "source_uri")
    return {name: getattr(document, name) or "" for name in names}


def _document_line(row: dict[str, Any]) -> dict[str, Any]:
    """The row of a table on a terminal."""
    document = row["document_id"] or row["source_uri"]
    return {
        "stage": row["stage"],
        "document": document,
        **{name: row[name] for name in ("error_code", "reason", "title")},
        "source_uri": row["source_uri"] if row["source_uri"] != document else "",
    }


@_command
def report(args: Namespace) -> None:
    """Write an HTML page about the syncs of an index."""
    from airflow_provider_kendra.report import read_report

    file = _output.check(args.file)
    done = read_report(
        _make_hook(args),
        args.index_id,
        max_age=args.max_age,
        measured_by=args.measured_by,
        max_documents_failed=args.max_documents_failed,
        syncs=args.syncs,
        warn_age=args.warn_age,
        schedule_grace=args.schedule_grace,
        max_index_share=args.max_index_share,
    )
    _output.write(file, done.html)
    states = [reading.state for reading in done.readings]
    summary = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    _print_message(f"Wrote {file}: {_how_many(len(states), 'data source')}{f' ({summary})' if summary else ''}.")
    if "unknown" in states:
        raise _Exit(NO_RESULT, f"{states.count('unknown')} of them could not be judged; the page says why.")


def _moment(when: datetime | timedelta | None) -> datetime | None:
    return (_clock.utcnow() - when).replace(microsecond=0) if isinstance(when, timedelta) else when


def _execution(execution_id: str, acceptance: Acceptance) -> ExecutionFinished:
    return ExecutionFinished(execution_id, acceptance, NOT_FOUND_TIMEOUT, _clock.utcnow())


def _wait(args: Namespace, condition: SyncJobCondition, hook: Any) -> Outcome:
    """Wait, showing the progress on a terminal."""
    source = DataSource(_aws(args), args.index_id, args.data_source_id)
    deadline = _clock.utcnow() + args.timeout
    with Progress(sys.stderr) as progress:
        return wait_in_worker(
            hook,
            source,
            condition,
            interval=args.poll_interval.total_seconds(),
            deadline=deadline,
            watch=progress.update,
        )


def _finish(args: Namespace, outcome: Outcome) -> None:
    """Print the finished job, or end the command with the exit status of the outcome."""
    if isinstance(outcome, Satisfied):
        _print_jobs([outcome.job], args.output)
        return
    raise _Exit(_status_of(outcome), outcome.message)


def _status_of(outcome: Failed) -> int:
    return NEGATIVE_RESULT if outcome.failure in (Failure.NOT_ACCEPTABLE, Failure.TIMED_OUT) else NO_RESULT


def _print_jobs(found: Sequence[SyncJob], output: str) -> None:
    records = [job.to_dict() for job in found]
    _print(records, list(map(_job_row, found)), list(map(_job_line, found)), output)


def _job_row(job: SyncJob) -> dict[str, Any]:
    return {
        "execution_id": job.execution_id,
        "status": job.status,
        "started": _time(job.start_time),
        "duration": in_words(job.duration_seconds),
        **job.document_counts,
        "error": job.reason,
    }


def _job_line(job: SyncJob) -> dict[str, Any]:
    """The row of a table on a terminal."""
    row = _job_row(job)
    counts = [f"{count:,} {name}" for name, count in job.document_counts.items() if count]
    is_reported = any(count is not None for count in job.document_counts.values())
    return {
        **{name: row[name] for name in ("status", "execution_id", "started", "duration")},
        "documents": ", ".join(counts) or ("none" if is_reported else ""),
        "error": row["error"],
    }


def _freshness_record(reading: Reading) -> dict[str, Any]:
    """The record for JSON and YAML."""
    known = reading.freshness
    return {
        "data_source_id": reading.data_source_id,
        "name": reading.name,
        "state": reading.state,
        "reason": known.reason if known else _why_not_judged(reading),
        "newest_acceptable": known.newest.to_dict() if known and known.newest else None,
        "age_seconds": known.age.total_seconds() if known and known.age is not None else None,
        "running": known.running.to_dict() if known and known.running else None,
        "last_error": known.last_error if known else reading.error,
    }


def _freshness_row(reading: Reading, *, is_scheduled: bool) -> dict[str, Any]:
    """The row of a table; with a column for the reason if schedules decide."""
    row: dict[str, Any] = {"data_source_id": reading.data_source_id, "name": reading.name, "state": reading.state}
    known = reading.freshness
    if is_scheduled:
        row["reason"] = known.reason if known else ""
    if known is None:
        return {**row, "acceptable_sync": "", "age": "", "running_now": "", "last_error": _why_not_judged(reading)}
    searched = f"none in the last {known.searched} syncs" if not known.searched_all else "none"
    return {
        **row,
        "acceptable_sync": _time(known.measured_at) or searched,
        "age": in_words(known.age),
        "running_now": f"{known.running.progress}, since {_time(known.running.start_time)}" if known.running else "",
        "last_error": known.last_error and _with_options(known.last_error),
    }


def _why_not_judged(reading: Reading) -> str:
    return reading.error or f"the data source is {reading.status} in Kendra"


def _freshness_line(row: dict[str, Any]) -> dict[str, Any]:
    """The row of a table on a terminal."""
    reason = {"reason": row["reason"]} if "reason" in row else {}
    return {"state": row["state"], "name": row["name"] or row["data_source_id"], **reason, **row}


def _time(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}Z" if time else ""


def _print(records: Sequence[Row], rows: Sequence[Row], lines: Sequence[Row], output: str) -> None:
    try:
        print_results(records, rows, lines, output)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _Exit(NO_RESULT, _streams.unwritable(error)) from error


def _printable(text: str) -> str:
    """Escape control characters, which messages of the service may contain."""
    return plain(text, LONGEST_MESSAGE)


def _how_many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
