"""Checks that the requirements of the local Kendra are installed."""

from importlib.util import find_spec

NEEDED = ("moto", "flask", "flask_cors")


def check() -> None:
    """
    Check that the extra ``local`` is installed.

    :raises ImportError: naming the missing modules and the extra.
    """
    missing = [name for name in NEEDED if not _is_installed(name)]
    if missing:
        raise ImportError(f"The local Kendra needs {', '.join(missing)}: pip install 'airflow-provider-kendra[local]'")


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False
