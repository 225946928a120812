"""`python -m airflow_provider_kendra.testing`: serves a local Kendra over HTTP."""

import argparse
import ctypes
import os
import re
import signal
import sys
import threading
from contextlib import suppress

from airflow_provider_kendra.testing import _extra
from airflow_provider_kendra.testing.local import LocalKendra

HOST_HELP = """the address to listen on. Default: %(default)s, for this machine only. With another one, such as 0.0.0.0
in a container, everyone who reaches the address can read and change what is there: the local Kendra checks no
passwords. It still rejects requests from web pages, and requests for host names other than loopback, this address and
those of --allow-host"""


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    signals = {signal.SIGINT, signal.SIGTERM}
    # The default action prints no traceback during an import. Besides, a background job of a shell would otherwise
    # inherit an ignored SIGINT.
    for each in signals:
        signal.signal(each, signal.SIG_DFL)
    arguments = _parse_arguments()
    is_child = arguments.until_stdin_closes
    try:
        _extra.check()
        from airflow_provider_kendra.testing.server import Server
    except (ImportError, RuntimeError) as error:
        print(error, file=sys.stdout if is_child else sys.stderr)
        raise SystemExit(2) from None
    # Blocked in every thread and awaited below. A handler could run in the middle of a request, or just before its
    # thread starts to wait, which would then never end.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    if is_child:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    _give_memory_back()
    server = Server(arguments.host, arguments.port, arguments.allow_host)
    # The first line ends with the URL: LocalKendra reads it.
    print(
        f"Local Kendra at {server.url}",
        "Point Airflow at it:",
        # In double quotes a shell joins the two lines, each of which fits a terminal.
        '  export AIRFLOW_CONN_AWS_DEFAULT="'
        + LocalKendra.attach(server.url).connection_uri.replace("&", "\\\n&")
        + '"',
        "Stop it with Ctrl-C.",
        sep="\n",
        flush=True,
    )
    if is_child:  # nobody reads on, and moto prints about services that it does not know
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.sigwait(signals)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_kendra.testing", description=__doc__)
    parser.add_argument("--host", type=_host, default="127.0.0.1", help=HOST_HELP)
    parser.add_argument(
        "--allow-host", type=_host, action="append", default=[], metavar="NAME",
        help="a host name, without a port, by which other machines and containers reach this server; repeatable",
    )  # fmt: skip
    parser.add_argument("--port", type=_port, default=0, help="default: 0, for a free one")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when the parent process does")
    return parser.parse_args()


def _host(text: str) -> str:
    # An empty name, as from an unset variable, would allow every address and every name that ends with a dot.
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an address or host name")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:  # sockets would take a larger one modulo 65536
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 65535")
    return int(text)


def _give_memory_back() -> None:
    """Let glibc return large blocks when they are freed; it would keep most of what documents once took."""
    m_mmap_threshold = -3
    with suppress(AttributeError, OSError, TypeError):  # other C libraries
        ctypes.CDLL(None).mallopt(m_mmap_threshold, 256 * 1024)


def _end_with_stdin() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
