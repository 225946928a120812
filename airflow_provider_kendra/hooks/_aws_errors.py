"""How callers should treat an error from AWS or from creating a client."""

from __future__ import annotations

import json
import logging
import re
import socket
import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus
from urllib.request import getproxies

from botocore import exceptions as aws
from botocore.config import Config
from botocore.parsers import ResponseParserError
from requests import RequestException
from urllib3.exceptions import LocationValueError

from airflow_provider_kendra._calls import ErrorKind as ErrorKind
from airflow_provider_kendra._decisions import Failed, Failure
from airflow_provider_kendra._text import REJECTED, make_plain, plain, shown
from airflow_provider_kendra.exceptions import KendraError, KendraRequestError
from airflow_provider_kendra.hooks._aws_connections import endpoints_of, is_misread_url

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper


# The codes that botocore retries; its own lists are internal to it. A test compares them.
THROTTLING_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
_TRANSIENT_CODES = THROTTLING_CODES | {
    "IDPCommunicationError",  # STS could not reach the identity provider
    "RequestTimeout",
    "RequestTimeoutException",
}
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
    Classify an error; this is the only function that does.

    Unknown errors are transient: a wait still ends at its time-out, whereas a wrongly failed task stays failed.

    :param error: Raised by a call, or while creating a client.
    """
    if isinstance(error, aws.ClientError):
        return _classify_answer(error)
    if isinstance(error, _CREDENTIAL_ERRORS):
        return ErrorKind.CREDENTIALS
    if isinstance(error, aws.ConnectionError | aws.HTTPClientError | ResponseParserError):
        return ErrorKind.PERMANENT if _is_of_configuration(error) else ErrorKind.TRANSIENT
    # botocore raises its other errors before it sends a request: for a wrong parameter, region or profile.
    if isinstance(error, ValueError | aws.BotoCoreError | KendraRequestError):
        return ErrorKind.PERMANENT
    return ErrorKind.TRANSIENT


def _classify_answer(error: aws.ClientError) -> ErrorKind:
    code, status = error_code(error), _status(error)
    if code in _ALREADY_RUNNING_CODES:
        return ErrorKind.ALREADY_RUNNING
    if code in _CREDENTIAL_CODES:
        return ErrorKind.CREDENTIALS
    # Without a code, the response may come from a proxy or load balancer and says nothing about the request.
    if not code or code in _TRANSIENT_CODES or not 400 <= status < 500 or status in (408, 429):
        return ErrorKind.TRANSIENT
    return ErrorKind.PERMANENT


def error_code(error: aws.ClientError) -> str:
    """
    Return the service's error code, or "" if the response has none.

    botocore uses the HTTP status if there is no code. It ignores the header ``x-amzn-errortype`` for JSON services such
    as Kendra.

    :param error: Raised by a call.
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
    Whether boto3 raised this error, from a response of AWS or before it got one.

    :param error: The error.
    """
    return isinstance(error, aws.ClientError | aws.BotoCoreError | ResponseParserError)


def describe_error(error: BaseException) -> str:
    """
    Describe an error in one line.

    :param error: Raised by a call, or while creating a client.
    """
    if isinstance(error, aws.ClientError) and not error_code(error):
        # The message would be the proxy's whole page.
        return f"HTTP status {_status(error)} without an AWS error code, as from a proxy ({error.operation_name})"
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, aws.ClientError) and (found := _CLIENT_ERROR.search(str(error))):
        text = f"{found[1]}: {found[3] or 'no reason given'}".removesuffix(".") + f" ({found[2]})"
    return plain(" ".join(without_secrets(text).split()), _LONGEST)


_LONGEST = 500
# botocore's text, in which the cause comes last.
_CLIENT_ERROR = re.compile(
    r"An error occurred \(([^)]*)\) when calling the (\w+) operation(?: \(reached max retries: \d+\))?:\s*(.*)",
    re.DOTALL,
)
_RETRIES = re.compile(r" \(reached max retries: \d+\)")


@contextmanager
def plain_errors() -> Iterator[None]:
    """
    Sanitise the error that a call raises and its causes, since they quote the response.

    A traceback shows the messages of the whole chain.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, aws.ClientError):
            answer = error.response.get("Error", {})
            error.response["Error"] = {
                key: plain(value) if isinstance(value, str) else value for key, value in answer.items()
            }
            # botocore appends its retry count, which is 0 for most calls, because the callers retry.
            error.args = tuple(_RETRIES.sub("", arg, count=1) if isinstance(arg, str) else arg for arg in error.args)
        make_plain(error)
        raise


@contextmanager
def without_response_logs() -> Iterator[None]:
    """Keep botocore from logging responses, which it does at level DEBUG: Kendra's logs contain personal data."""
    logger = logging.getLogger("botocore.parsers")
    if _drop_hidden not in logger.filters:
        logger.addFilter(_drop_hidden)
    token = _is_hidden.set(True)
    try:
        yield
    finally:
        _is_hidden.reset(token)


_is_hidden: ContextVar[bool] = ContextVar("is_hidden", default=False)


def _drop_hidden(record: logging.LogRecord) -> bool:
    return not _is_hidden.get()


def refusal(error: BaseException, contents: str) -> str:
    """
    Explain a permanent error in a sentence.

    :param error: A permanent error.
    :param contents: What was requested, in words.
    """
    if isinstance(error, aws.ClientError):
        return (
            f"{REJECTED}{describe_error(error)}. Check the ids, the region and the permissions "
            "of the connection (kendra:ListDataSourceSyncJobs and kendra:ListDataSources, for a schedule "
            f"kendra:DescribeDataSource, on index and data source). Requested: {contents}."
        )
    if isinstance(error, aws.ConnectionError | aws.HTTPClientError):
        return f"{_without_credentials(str(error))} Check botocore_config, verify, region_name and the connection."
    return without_secrets(str(error))


def explain_logs_error(error: Exception, group: str) -> tuple[str, bool]:
    """
    Return why events of a log group can't be read, as a sentence with what to do, and whether a retry can help.

    :param error: Raised by FilterLogEvents, or while creating its client.
    :param group: The log group.
    """
    code = error_code(error) if isinstance(error, aws.ClientError) else ""
    if code == "ResourceNotFoundException":
        return f"Kendra's log group {group} does not exist, so nothing is known about individual documents.", False
    if code in ("AccessDeniedException", "AccessDenied", "UnauthorizedOperation"):
        return (
            f"The connection is not allowed to read Kendra's logs: grant logs:FilterLogEvents on log-group:{group}:*.",
            False,
        )
    if code in THROTTLING_CODES:
        return f"CloudWatch Logs throttled the requests for {group}; read it later.", True
    is_transient = isinstance(error, TimeoutError) or (
        is_aws_error(error) and classify_error(error) is ErrorKind.TRANSIENT
    )
    if isinstance(error, TimeoutError | aws.ConnectTimeoutError | aws.ReadTimeoutError | aws.EndpointConnectionError):
        return f"CloudWatch Logs did not answer in time, so {group} was not read ({type(error).__name__}).", True
    # Other errors are raised while a response is parsed, and may quote it.
    reason = describe_error(error) if is_aws_error(error) or isinstance(error, KendraError) else type(error).__name__
    return f"Kendra's log group {group} could not be read: {reason.removesuffix('.')}.", is_transient


def judge_poll_error(error: Exception, contents: str, discard_client: Callable[[], object]) -> Failed | str:
    """
    Return a failure for a permanent error, and a description of any other.

    :param error: Raised by a poll.
    :param contents: What was requested, in words.
    :param discard_client: Called if the next poll needs a new client.
    """
    kind = classify_error(error)
    if kind is ErrorKind.PERMANENT:
        return Failed(Failure.REFUSED, refusal(error, contents))
    if kind is ErrorKind.CREDENTIALS:
        discard_client()
    return describe_error(error)


def _is_of_configuration(error: BaseException) -> bool:
    """Whether the cause is a wrong value that only urllib3 checks; botocore reports it as a network error."""
    causes = list(_causes(error))
    if type(error) is aws.HTTPClientError and (
        isinstance(causes[-1], TypeError | LocationValueError | aws.InvalidProxiesConfigError)
        or str(causes[-1]).startswith("Invalid header ")
    ):
        return True
    return any(
        isinstance(each, FileNotFoundError | IsADirectoryError | NotADirectoryError)
        or (isinstance(each, ssl.SSLError) and each.reason == "NO_CERTIFICATE_OR_CRL_FOUND")
        for each in causes
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all that it wraps."""
    each: BaseException | None = error
    while each is not None:
        yield each
        members = each.kwargs if isinstance(each, aws.BotoCoreError) else {}
        wrapped = (members.get("error"), *each.args)
        each = next((inner for inner in wrapped if isinstance(inner, BaseException)), None)


@contextmanager
def misconfiguration_explained(parameter: str) -> Iterator[None]:
    """
    Replace errors caused by a wrong configuration; let all others pass.

    :param parameter: The parameter to blame, if the error names none.
    :raises KendraRequestError: naming the parameter, without credentials, which a proxy's URL can contain.
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
        ) from None  # the cause can contain credentials


def _is_misconfiguration(error: Exception) -> bool:
    if isinstance(error, aws.BotoCoreError):
        return classify_error(error) is ErrorKind.PERMANENT
    if isinstance(error, OSError):
        # Credentials are fetched over the network while a client is made.
        is_of_network = isinstance(error, ConnectionError | TimeoutError | RequestException | socket.gaierror)
        is_of_file = isinstance(error, _FILE_ERRORS) or error.errno is None
        return is_of_file and not is_of_network
    # botocore raises NotImplementedError for options that it does not support.
    return isinstance(error, TypeError | ValueError | AttributeError | NotImplementedError)


_FILE_ERRORS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ssl.SSLError)


def _without_credentials(text: str) -> str:
    """Mask everything before the @ of a URL, and end the text with a full stop."""
    text = " ".join(re.sub(r"(?<![^\s'\"/])[^\s'\"/]+@", "***@", without_secrets(text)).split())
    return text if text.endswith(".") else f"{text}."


_WORD = re.compile(r"[^\s'\"]+")
# AWS quotes the canonical request when a signature does not match.
_SESSION_TOKEN = re.compile(r"(x-amz-security-token:)\s*[^\s'\"]+", re.IGNORECASE)
# http.client quotes a header with a line break, such as one with credentials.
_HEADER = re.compile(r"(Invalid header (?:name|value)) b?['\"].*", re.DOTALL)


def without_secrets(text: str, secrets: Collection[str] = ()) -> str:
    """
    Replace the user information of URLs, session tokens and known secrets in a text.

    :param text: The text of an error.
    :param secrets: Further secrets.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    text = _HEADER.sub(r"\1 ***: do the credentials contain a line break?", text)
    return _SESSION_TOKEN.sub(r"\1***", _WORD.sub(_without_user_information, text))


def _without_user_information(word: re.Match[str]) -> str:
    """Mask the user information of a URL; a name in an ARN can contain @ too, but no colon before it."""
    before, at, host = word[0].rpartition("@")
    scheme, slashes, _ = before.partition("//")
    path, slash, last = before.rpartition("/")
    if at and slashes:
        return f"{scheme}//***@{host}"
    return f"{path}{slash}***@{host}" if at and ":" in last else word[0]


def hide_secrets(error: BaseException, secrets: Collection[str] = ()) -> None:
    """
    Mask secrets in an error and its causes, and values of requests: Airflow logs the whole chain.

    :param error: The error; changed in place, since callers depend on its class.
    :param secrets: Secrets besides the user information of URLs.
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
        if isinstance(each, aws.ParamValidationError):
            each.kwargs = {"report": _without_values(str(each.kwargs.get("report", "")))}
            each.args = (each.fmt.format(**each.kwargs),)
        each.args = tuple(map(cleaned, each.args))
        if isinstance(each, OSError):  # str() shows this, not args
            each.strerror = cleaned(each.strerror)
        if isinstance(each, aws.ClientError | aws.BotoCoreError):
            for name in ("kwargs", "response"):  # botocore pickles its errors as these
                if isinstance(members := getattr(each, name, None), dict):
                    setattr(each, name, cleaned(members))
        wrapped = (each.__cause__, each.__context__, *_causes(each))
        pending += [inner for inner in wrapped if inner is not None]


def _without_values(report: str) -> str:
    """Remove the values that botocore quotes in its report on parameters, such as the external id of a role."""
    head, is_quoted, rest = report.partition(", value: ")
    _, limit, allowed = rest.rpartition(", valid ")
    # With several faults, it is not certain where a value ends and the next fault begins.
    return head if is_quoted and "\n" in rest else f"{head}{limit}{allowed}" if limit else head


def secrets_of(connection: AwsConnectionWrapper | None, config: Config | None) -> set[str]:
    """
    Collect the secrets that a client's errors must not show, in each form, except those too short to be masked.

    :param connection: The values of the connection, if they are known.
    :param config: The author's botocore configuration.
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
    forms = {form for each in found if isinstance(each, str) for form in _forms_of(each)}
    return {form for form in forms if len(form) >= _SHORTEST_SECRET}


def _forms_of(secret: str) -> Iterator[str]:
    """Yield a secret as errors show it: as it is, escaped, and quoted for a URL."""
    for text in {secret, secret.strip()}:
        yield from (text, repr(text)[1:-1], plain(text), json.dumps(text)[1:-1])
        yield from (repr(text.encode(coding, "replace"))[2:-1] for coding in ("utf-8", "latin-1"))
        yield from (each(text, safe, errors="replace") for each in (quote, quote_plus) for safe in ("", "/"))
    if not _UNESCAPED.fullmatch(secret):
        # More forms exist, such as double escapes. They still contain unescaped parts of the secret, so mask those too.
        yield from _UNESCAPED.findall(secret)
        yield from (secret[start : start + _SHORTEST_SECRET] for start in range(len(secret)))


_SHORTEST_SECRET = 8
_UNESCAPED = re.compile(r"[!#-&(-\[\]-~]+")


def make_config(given: Config | Mapping[str, Any] | None) -> Config | None:
    """
    Build the botocore configuration from a parameter.

    :param given: A ``botocore.config.Config``, or a mapping of its parameters.
    :raises KendraRequestError: if it is invalid. The error shows no values, since proxies can contain passwords.
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
            "botocore_config has proxies that are not a mapping of scheme to URL, such as "
            "{'https': 'http://proxy:3128'}."
        )
    if any(map(is_misread_url, proxies.values())):
        raise KendraRequestError(
            "botocore_config has a proxy whose URL is not percent-encoded: # in a password is %23, / is %2F."
        )
    return config


def check_ca_bundle(verify: object) -> None:
    """
    Load the CA bundle early: in a call, a missing file looks like a network error.

    :param verify: The parameter ``verify``.
    :raises KendraRequestError: if it is neither a bool nor a file with certificates.
    """
    if verify is None or isinstance(verify, bool):
        return
    with misconfiguration_explained(f"verify: {shown(verify)} is not a file with CA certificates"):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(verify)  # type: ignore[arg-type]
