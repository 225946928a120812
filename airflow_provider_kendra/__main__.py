"""``python -m airflow_provider_kendra``: the commands of ``airflow kendra``, on every Airflow."""

from __future__ import annotations

import warnings

from airflow_provider_kendra.cli import make_parser


def main() -> None:
    """Run the command that the command line names."""
    args = make_parser("python -m airflow_provider_kendra").parse_args()
    if not args.verbose:
        warnings.simplefilter("ignore")  # what Airflow deprecates is for others to read
    args.func(args)


if __name__ == "__main__":
    main()
