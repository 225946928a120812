"""What an error of AWS, or of making a client for it, means for callers."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

from botocore import exceptions as aws
from botocore.config import Config
from botocore.parsers import ResponseParserError
from requests import RequestException
from urllib3.exceptions import LocationValueError

from airflow_provider_kendra._calls import ErrorKind as ErrorKind
from airflow_provider_kendra._decisions import Failed, Failure
from airflow_provider_kendra._text import make_plain, plain, shown
from airflow_provider_kendra.exceptions import KendraRequestError
from airflow_provider_kendra.hooks._aws_connections import endpoints_of, is_misread_url

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper


THROTTLING_CODES = frozenset(
    {
        "LimitExceededException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_ALREADY_RUNNING_CODES = frozenset({"ResourceInUseException", "ConflictException"})
_CREDENTIAL_CODES = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_CREDENTIAL_ERRORS = (
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.CredentialRetrievalError,
    aws.MetadataRetrievalError,
    aws.RefreshWithMFAUnsupportedError,
    aws.SSOError,
    aws.TokenRetrievalError,
    aws.NoAuthTokenError,
)


def classify_error(error: BaseException) -> ErrorKind:
    """
    Classify an error. No other code distinguishes AWS errors.

    Errors that are not known here are transient: a wait has a time-out, a wrong failure has no remedy.

    :param error: What a call, or making a client for it, raised.
    """
    if isinstance(error, aws.ClientError):
        return _classify_answer(error)
    if isinstance(error, _CREDENTIAL_ERRORS):
        return ErrorKind.CREDENTIALS
    if isinstance(error, aws.ConnectionError | aws.HTTPClientError | ResponseParserError):
        return ErrorKind.PERMANENT if _is_of_configuration(error) else ErrorKind.TRANSIENT
    # What else botocore raises, it raises before a request leaves: a parameter, a region, a profile is wrong.
    if isinstance(error, ValueError | aws.BotoCoreError | KendraRequestError):
        return ErrorKind.PERMANENT
    return ErrorKind.TRANSIENT


def _classify_answer(error: aws.ClientError) -> ErrorKind:
    code, status = error_code(error), _status(error)
    if code in _ALREADY_RUNNING_CODES:
        return ErrorKind.ALREADY_RUNNING
    if code in _CREDENTIAL_CODES:
        return ErrorKind.CREDENTIALS
    # Without a code the answer may be that of a proxy or of a load balancer, which says nothing about the request.
    if not code or code in THROTTLING_CODES or not 400 <= status < 500 or status in (408, 429):
        return ErrorKind.TRANSIENT
    return ErrorKind.PERMANENT


def error_code(error: aws.ClientError) -> str:
    """
    Give the service's own error code, or "" if the answer has none that can be read.

    botocore then puts the HTTP status in its place. It does not read the header ``x-amzn-errortype`` of services that
    speak JSON in the body, as Kendra does.

    :param error: What a call raised.
    """
    code = str(error.response.get("Error", {}).get("Code") or "")
    if code and not code.isdecimal():
        return code
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get("x-amzn-errortype", "")).partition(":")[0].rpartition("#")[2].strip()


def _status(error: aws.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_aws_error(error: BaseException) -> bool:
    """
    Whether boto3 raised this: an error that AWS answered, or one on the way to it.

    :param error: The error.
    """
    return isinstance(error, aws.ClientError | aws.BotoCoreError | ResponseParserError)


def describe_error(error: BaseException) -> str:
    """
    Describe an error in one line.

    :param error: What a call, or making a client for it, raised.
    """
    if isinstance(error, aws.ClientError) and not error_code(error):
        # The message would be the page itself.
        return f"HTTP status {_status(error)} without an AWS error code, as from a proxy ({error.operation_name})"
    return plain(" ".join(without_secrets(f"{type(error).__name__}: {error}").split()), _LONGEST)


_LONGEST = 500


@contextmanager
def plain_errors() -> Iterator[None]:
    """
    Make what a call raises harmless to print, with all that led to it: it quotes what the service answered.

    A traceback shows the message of each of these errors, whatever the error that is raised from them says.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, aws.ClientError):
            answer = error.response.get("Error", {})
            error.response["Error"] = {
                key: plain(value) if isinstance(value, str) else value for key, value in answer.items()
            }
        make_plain(error)
        raise


def refusal(error: BaseException, contents: str) -> str:
    """
    Say in a sentence that a wait cannot go on.

    :param error: A permanent error.
    :param contents: What was asked for, in words.
    """
    if isinstance(error, aws.ClientError):
        return (
            f"AWS will not list {contents}: {without_secrets(str(error))}. Check the ids, the region and the "
            "permissions of the connection (kendra:ListDataSourceSyncJobs and kendra:ListDataSources on index and "
            "data source)."
        )
    if isinstance(error, aws.ConnectionError | aws.HTTPClientError):
        return f"{_without_credentials(str(error))} Check botocore_config, verify, region_name and the connection."
    return without_secrets(str(error))


def judge_poll_error(error: Exception, contents: str, discard_client: Callable[[], object]) -> Failed | str:
    """
    Fail a wait for an error that will not pass; describe any other.

    :param error: What a poll raised.
    :param contents: What it was to read, in words.
    :param discard_client: Called if the next poll needs a new client.
    """
    kind = classify_error(error)
    if kind is ErrorKind.PERMANENT:
        return Failed(Failure.REFUSED, refusal(error, contents))
    if kind is ErrorKind.CREDENTIALS:
        discard_client()
    return describe_error(error)


def _is_of_configuration(error: BaseException) -> bool:
    """Whether a call failed by a value that only urllib3 checks, for which botocore blames the network."""
    causes = list(_causes(error))
    if type(error) is aws.HTTPClientError and isinstance(
        causes[-1], TypeError | LocationValueError | aws.InvalidProxiesConfigError
    ):
        return True
    return any(
        isinstance(each, FileNotFoundError | IsADirectoryError | NotADirectoryError)
        or (isinstance(each, ssl.SSLError) and each.reason == "NO_CERTIFICATE_OR_CRL_FOUND")
        for each in causes
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, the one that it wraps, and so on."""
    each: BaseException | None = error
    while each is not None:
        yield each
        members = each.kwargs if isinstance(each, aws.BotoCoreError) else {}
        wrapped = (members.get("error"), *each.args)
        each = next((inner for inner in wrapped if isinstance(inner, BaseException)), None)


@contextmanager
def misconfiguration_explained(parameter: str) -> Iterator[None]:
    """
    Raise for a configuration no client can be made with; what may pass is left as it is.

    :param parameter: What is wrong then, where the error does not say.
    :raises KendraRequestError: naming the parameter. It shows no credentials, which a proxy's URL can hold.
    """
    try:
        yield
    except Exception as error:
        if not _is_misconfiguration(error):
            raise
        if isinstance(error, aws.NoRegionError | aws.InvalidRegionError):
            parameter = "region_name"
        elif isinstance(error, aws.ProfileNotFound):
            parameter = f"the profile of {parameter}"
        raise KendraRequestError(
            f"No AWS client can be made with this configuration: {type(error).__name__}: "
            f"{_without_credentials(str(error))} Correct {parameter}."
        ) from None  # the cause can show what must not be shown


def _is_misconfiguration(error: Exception) -> bool:
    if isinstance(error, aws.BotoCoreError):
        return classify_error(error) is ErrorKind.PERMANENT
    if isinstance(error, OSError):
        # Credentials are fetched over the network while a client is made.
        is_of_network = isinstance(error, ConnectionError | TimeoutError | RequestException | socket.gaierror)
        is_of_file = isinstance(error, _FILE_ERRORS) or error.errno is None
        return is_of_file and not is_of_network
    # botocore raises NotImplementedError for what a configuration asks for and it lacks.
    return isinstance(error, TypeError | ValueError | AttributeError | NotImplementedError)


_FILE_ERRORS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ssl.SSLError)


def _without_credentials(text: str) -> str:
    """The text without what stands before the @ of a URL, as one sentence."""
    text = " ".join(re.sub(r"(?<![^\s'\"/])[^\s'\"/]+@", "***@", without_secrets(text)).split())
    return text if text.endswith(".") else f"{text}."


_WORD = re.compile(r"[^\s'\"]+")
# AWS quotes the canonical request when a signature does not match.
_SESSION_TOKEN = re.compile(r"(x-amz-security-token:)\s*[^\s'\"]+", re.IGNORECASE)


def without_secrets(text: str, secrets: Collection[str] = ()) -> str:
    """
    Replace the user information of URLs, session tokens and known secrets in a text.

    :param text: The text of an error.
    :param secrets: What else must not be shown.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _SESSION_TOKEN.sub(r"\1***", _WORD.sub(_without_user_information, text))


def _without_user_information(word: re.Match[str]) -> str:
    """The word without the user information of a URL; a name in an ARN can have an @ too, but no colon before it."""
    before, at, host = word[0].rpartition("@")
    scheme, slashes, _ = before.partition("//")
    path, slash, last = before.rpartition("/")
    if at and slashes:
        return f"{scheme}//***@{host}"
    return f"{path}{slash}***@{host}" if at and ":" in last else word[0]


def hide_secrets(error: BaseException, secrets: Collection[str] = ()) -> None:
    """
    Replace secrets in an error and in all that it was raised from: Airflow logs the whole chain.

    :param error: The error, which is changed: its class says what callers do with it.
    :param secrets: What is secret besides the user information of URLs.
    """

    def cleaned(value: Any) -> Any:
        if isinstance(value, str):
            return without_secrets(value, secrets)
        return {name: cleaned(each) for name, each in value.items()} if isinstance(value, dict) else value

    pending, done = [error], set()
    while pending:
        each = pending.pop()
        if id(each) in done:
            continue
        done.add(id(each))
        each.args = tuple(map(cleaned, each.args))
        if isinstance(each, OSError):  # it shows these, not its arguments
            each.strerror = cleaned(each.strerror)
        if isinstance(each, aws.ClientError | aws.BotoCoreError):
            for name in ("kwargs", "response"):  # what botocore pickles its errors as
                if isinstance(members := getattr(each, name, None), dict):
                    setattr(each, name, cleaned(members))
        wrapped = (each.__cause__, each.__context__, *_causes(each))
        pending += [inner for inner in wrapped if inner is not None]


def secrets_of(connection: AwsConnectionWrapper | None, config: Config | None) -> set[str]:
    """
    Collect what a client's errors must not show, without what is too short to be replaced in a text.

    :param connection: The values of the connection, if they are known.
    :param config: botocore's configuration that the author gave.
    """
    configs = [config, getattr(connection, "botocore_config", None)]
    proxies = [getattr(each, "proxies", None) for each in configs]
    urls = [url for each in proxies if isinstance(each, Mapping) for url in each.values()]
    urls += getproxies().values()  # those of the environment
    found: list[Any] = []
    if connection is not None:
        extra = connection.extra_config
        role = extra.get("assume_role_kwargs")
        found += [connection.password, connection.aws_secret_access_key, connection.aws_session_token]
        found += [role.get("ExternalId") if isinstance(role, Mapping) else None, extra.get("external_id")]
        urls += [connection.endpoint_url, *endpoints_of(extra)]
    for url in urls:
        # urllib3 and urllib quote only the part in front of a # or a /.
        found += re.split(r"[#/?:]", url.rpartition("@")[0].partition("//")[2]) if isinstance(url, str) else []
    return {each for each in found if isinstance(each, str) and len(each) >= _SHORTEST_SECRET}


_SHORTEST_SECRET = 8


def make_config(given: Config | Mapping[str, Any] | None) -> Config | None:
    """
    Make botocore's configuration of what an author gave.

    :param given: A mapping of the parameters of ``botocore.config.Config``, or one.
    :raises KendraRequestError: if that cannot be; it shows no values, for those of proxies can hold passwords.
    """
    if given is None or isinstance(given, Config):
        return given
    if not isinstance(given, Mapping):
        raise KendraRequestError(
            "botocore_config must be a mapping of the parameters of botocore.config.Config, such as "
            f"{{'read_timeout': 10}}, but is of type {type(given).__name__}."
        )
    with misconfiguration_explained("botocore_config"):
        config = Config(**given)
    proxies: Any = given.get("proxies") or {}
    if not isinstance(proxies, Mapping) or not all(isinstance(each, str) for each in proxies.values()):
        raise KendraRequestError(
            "botocore_config has proxies that are no mapping of scheme to URL, such as {'https': 'http://proxy:3128'}."
        )
    if any(map(is_misread_url, proxies.values())):
        raise KendraRequestError(
            "botocore_config has a proxy whose URL is not percent-encoded: # in a password is %23, / is %2F."
        )
    return config


def check_ca_bundle(verify: object) -> None:
    """
    Load a CA bundle as each call would, where a missing file passes for an error of the network.

    :param verify: The parameter of that name.
    :raises KendraRequestError: if it is neither a bool nor a file with certificates.
    """
    if verify is None or isinstance(verify, bool):
        return
    with misconfiguration_explained(f"verify: {shown(verify)} is no file with CA certificates"):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(verify)  # type: ignore[arg-type]
