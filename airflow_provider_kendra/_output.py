"""Writes the output files of commands: completely or not at all, and never through a symbolic link."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path


def check(name: str) -> Path:
    """
    Return the file to write, after checking as far as possible that it can be written.

    :param name: The path from the command line.
    :raises ValueError: if it can't.
    """
    if not name:
        raise ValueError("--output is empty: name the file to write.")
    file = Path(name)
    try:
        if not file.parent.is_dir():
            raise ValueError(f"There is no directory {str(file.parent)!r} to write {file.name!r} in.")
        mode = _mode(file)
    except OSError as error:
        raise ValueError(_unwritable(file, error)) from error
    if mode is not None and not stat.S_ISREG(mode):
        raise ValueError(f"--output is {name!r}, which is {_kind(mode)}: name the file to write.")
    if not os.access(file.parent, os.W_OK) or not (mode is None or os.access(file, os.W_OK)):
        raise ValueError(f"{str(file)!r} could not be written: no permission.")
    return file


def write(file: Path, text: str) -> None:
    """
    Write a temporary file, then replace the old file with it. A failure keeps the old file.

    The file gets the permissions of the old one, or those of the umask. A link that has appeared meanwhile is replaced,
    not followed.

    :param file: The file, as :func:`check` gave it.
    :param text: Its content.
    :raises ValueError: if it can't be written.
    """
    beside = file.with_name(f".kendra-{secrets.token_hex(8)}.tmp")
    try:
        try:
            mode = _mode(file)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                if mode is not None and stat.S_ISREG(mode):
                    os.fchmod(descriptor, stat.S_IMODE(mode))
                stream.write(text)
            os.replace(beside, file)
        except BaseException:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ValueError(_unwritable(file, error)) from error


def _mode(file: Path) -> int | None:
    """Type and permissions of a file, or of a link itself; None if there is none."""
    try:
        return file.lstat().st_mode
    except FileNotFoundError:
        return None


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISLNK(mode):
        return "a symbolic link, and links are not followed"
    return "not a regular file"


def _unwritable(file: Path, error: OSError) -> str:
    return f"{str(file)!r} could not be written: {error.strerror}."
