"""
Runs one DAG of the DAGs folder in real Airflow and writes what became of each task, as JSON.

    python -m tests.integration.run_dag DAG_ID REPORT [--triggerer] [--logical-date=TIME] [--answer=OPTION]

Without ``--triggerer`` this is Airflow's own ``dag.test()``, which begins every task on a worker. With it, tasks are
scheduled as the scheduler schedules them, and triggers run in a triggerer of their own. With ``--answer``, a person
chooses this option wherever the DAG asks.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow import settings

from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 120.0

DAG_FILES = {"mapped_at_run_time": "xcoms", "documents_of_each": "documents"}  # of the DAGs whose file has another name


def load_dag(dag_id: str) -> Any:
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    file = folder / f"{DAG_FILES.get(dag_id, dag_id)}.py"
    sys.path.append(str(folder))  # as Airflow does, for what DAG files share
    if AIRFLOW_V_3_0_PLUS:
        try:
            from airflow.dag_processing.dagbag import DagBag
        except ImportError:
            from airflow.models.dagbag import DagBag
        bag = DagBag(file)
    else:
        from airflow.models.dagbag import DagBag

        bag = DagBag(file, include_examples=False)
    assert not bag.import_errors, bag.import_errors
    if not AIRFLOW_V_3_0_PLUS:
        bag.sync_to_db()  # else there are no datasets that could have events, nor DAGs that wait for them
    return bag.dags[dag_id]


@contextmanager
def triggerer() -> Iterator[None]:
    process = multiprocessing.get_context("fork").Process(target=_be_triggerer)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join(30)


def _be_triggerer() -> None:
    settings.initialize()  # with a connection to the database of its own
    sys.argv = ["airflow", "triggerer", "--skip-serve-logs"]
    runpy.run_module("airflow", run_name="__main__", alter_sys=True)


def run_as_the_scheduler_does(dag: Any) -> Any:
    """As ``dag.test()`` of Airflow 3.3, but for who decides where a task begins."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    from airflow.models.dagbag import DBDagBag
    from airflow.models.dagrun import DagRun, get_or_create_dagrun
    from airflow.sdk import timezone
    from airflow.sdk.definitions.dag import _run_task
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    session = settings.Session()
    manager = DagBundlesManager()
    manager.sync_bundles_to_db(session=session)
    session.commit()
    (bundle,) = manager.get_all_dag_bundles()
    bundle.initialize()
    bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
    sync_bag_to_db(bag, bundle.name, None)
    now = timezone.utcnow()
    run = get_or_create_dagrun(
        dag=DBDagBag().get_latest_version_of_dag(dag.dag_id, session=session),
        run_id=DagRun.generate_run_id(run_type=DagRunType.MANUAL, logical_date=now, run_after=now),
        start_date=now, logical_date=now, data_interval=None, run_after=now, session=session, conf=None,
        triggered_by=DagRunTriggeredByType.TEST, triggering_user_name="test",
    )  # fmt: skip
    give_up = time.monotonic() + PATIENCE
    while run.state == "running" and time.monotonic() < give_up:
        session.expire_all()
        schedulable, _ = run.update_state(session=session)
        run.schedule_tis(schedulable, session=session)
        session.commit()
        session.expire_all()
        for ti in run.get_task_instances(session=session):
            # dag.test() says once more that a task is deferred when its trigger may have fired already.
            if ti.state == "scheduled" or (ti.state == "deferred" and ti.trigger_id is None):
                ti.set_state("scheduled", session=session)
                _run_task(ti=ti, task=dag.task_dict[ti.task_id])
        time.sleep(0.1)
    return run


def report(run: Any) -> dict[str, dict[str, Any]]:
    return {
        _name(ti): {"state": ti.state, "tries": ti.try_number, "execution_id": _pull(ti, "execution_id")}
        for ti in run.get_task_instances()
    }


def _name(ti: Any) -> str:
    """Of the task; with the name that a mapped one has given itself, which is else a number."""
    name = ti.rendered_map_index
    return f"{ti.task_id}[{name}]" if name and not name.isdigit() else str(ti.task_id)


def _pull(ti: Any, key: str) -> Any:
    if not AIRFLOW_V_3_0_PLUS:
        return ti.xcom_pull(task_ids=ti.task_id, key=key, map_indexes=ti.map_index)
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    this = (XComModel.run_id == ti.run_id, XComModel.task_id == ti.task_id, XComModel.key == key)
    with settings.Session() as session:
        row = session.scalar(select(XComModel).where(*this))
        return row and XComModel.deserialize_value(row)


@contextmanager
def person(answer: str) -> Iterator[None]:
    """Chooses this option as soon as the DAG asks, as the API does for a person at Airflow's UI."""
    over = threading.Event()

    def choose() -> None:
        while not over.wait(0.1):
            _answer_open_questions(answer)

    _answer_open_questions(answer)  # here an error ends the run
    thread = threading.Thread(target=choose)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _answer_open_questions(answer: str) -> None:
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import handle_event_submit
    from airflow.sdk import timezone
    from airflow.triggers.base import TriggerEvent
    from sqlalchemy import select

    with settings.Session() as session:
        asked = select(HITLDetail).where(HITLDetail.responded_at.is_(None))
        for question in session.scalars(asked).unique():
            ti = session.get(TaskInstance, question.ti_id)
            if ti.state not in ("awaiting_input", "deferred"):
                continue
            question.responded_at = timezone.utcnow()
            question.responded_by = {"id": "me", "name": "me"}
            question.chosen_options = [answer]
            question.params_input = {}
            if ti.state == "awaiting_input":  # from Airflow 3.3; before, a trigger asks whether there is an answer
                event = TriggerEvent(question.as_resume_event_payload())
                handle_event_submit(event, task_instance=ti, session=session)
        session.commit()


def _dates(options: list[str]) -> dict[str, Any]:
    """What ``dag.test()`` calls the logical date, if one was given."""
    name = "logical_date" if AIRFLOW_V_3_0_PLUS else "execution_date"
    prefix = "--logical-date="
    given = [option.removeprefix(prefix) for option in options if option.startswith(prefix)]
    return {name: datetime.fromisoformat(given[-1])} if given else {}


def main() -> None:
    dag_id, report_file, *options = sys.argv[1:]
    dag = load_dag(dag_id)
    if "--triggerer" in options:
        with triggerer():
            run = run_as_the_scheduler_does(dag)
    else:
        answers = [option.removeprefix("--answer=") for option in options if option.startswith("--answer=")]
        with person(*answers) if answers else nullcontext():
            run = dag.test(**_dates(options))
    Path(report_file).write_text(json.dumps(report(run)))


if __name__ == "__main__":
    main()
