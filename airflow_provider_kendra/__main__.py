"""``python -m airflow_provider_kendra``: the commands of ``airflow kendra``, on every Airflow."""

from __future__ import annotations

import logging
import sys
import warnings

from airflow_provider_kendra import _streams


def main() -> None:
    """Run the command given on the command line."""
    _streams.prepare()
    try:
        _run()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        status = 130
    raise SystemExit(_streams.finish(status))


def _run() -> None:
    if sys.argv[1:2] == ["demo"]:  # before Airflow is imported, which would create ~/airflow
        from airflow_provider_kendra._demo import command

        raise SystemExit(command.main(sys.argv[2:]))
    logging.getLogger("alembic").setLevel(logging.WARNING)  # Airflow 3.1 logs through it at import
    # Imported here, since it takes long enough to be interrupted.
    from airflow_provider_kendra.cli import make_parser

    args = make_parser("python -m airflow_provider_kendra").parse_args()
    if not args.verbose:
        warnings.simplefilter("ignore")  # hides Airflow's deprecation warnings
    args.func(args)


if __name__ == "__main__":
    main()
