"""The faults that tests inject into the responses of the local Kendra."""

import json
import random
import re
from dataclasses import dataclass
from typing import Any

from moto.utilities.aws_headers import gen_amzn_requestid_long

from airflow_provider_kendra.testing.checks import check_choice, check_number, check_text

SERVER_FAULTS = {"InternalServerException": 500, "InternalFailure": 500, "ServiceUnavailable": 503}
LONGEST_DELAY = 3600
RESETS = (None, "before", "after")
BODIES = (None, "truncated", "not-json", "empty")
NEXT_TOKENS = (None, "repeated", "invalid")


@dataclass
class Answer:
    """A response that a fault can still change."""

    status: int
    headers: dict[str, str]
    body: bytes


def refuse(status: int, code: str | None, message: str) -> Answer:
    """Return an error as Kendra does."""
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    if code and re.fullmatch(r"[\w.#:/-]{1,200}", code, re.ASCII):  # a test can want a code that no header can hold
        headers["X-Amzn-ErrorType"] = code
    headers["x-amzn-RequestId"] = gen_amzn_requestid_long()
    content = ({"__type": code} if code else {}) | {"Message": message}
    return Answer(status, headers, json.dumps(content).encode())


class Fault:
    """A fault, and how often it applies."""

    def __init__(
        self,
        operation: str,
        times: int | None = None,
        rate: float | None = None,
        seed: int = 0,
        error: str | None = None,
        status: int | None = None,
        message: str | None = None,
        delay: float | None = None,
        reset: str | None = None,
        body: str | None = None,
        next_token: str | None = None,
    ):
        if times is not None:
            check_number("times", times, least=1, whole=True, instead="None for a fault that always applies")
        if rate is not None:
            check_number("rate", rate, most=1)
        if status is not None:
            check_number("status", status, least=200, most=599, whole=True)
        if delay is not None:
            check_number("delay", delay, most=LONGEST_DELAY)
        check_text("operation", operation)
        if not isinstance(seed, int):
            raise ValueError(f"seed must be a whole number, but is {seed!r}")
        for name, text in (("error", error), ("message", message)):
            if text is not None:
                check_text(name, text)
        check_choice("reset", reset, RESETS)
        check_choice("body", body, BODIES)
        check_choice("next_token", next_token, NEXT_TOKENS)
        if not any((error, status, delay, reset, body, next_token)):
            raise ValueError("A fault needs one of error, status, delay, reset, body, next_token")
        self.operation = operation
        self.times_left = times
        self.rate = rate
        self.random = random.Random(seed)
        self.error = error
        self.status = status
        self.message = message
        self.delay = delay or 0.0
        self.reset = reset
        self.body = body
        self.next_token = next_token

    def applies_to(self, operation: str) -> bool:
        """Whether it applies to this call; if so, the call counts against `times`."""
        if self.operation not in ("*", operation) or self.times_left == 0:
            return False
        if self.rate is not None and self.random.random() >= self.rate:
            return False
        if self.times_left is not None:
            self.times_left -= 1
        return True

    def refusal(self) -> Answer | None:
        """The response that replaces Kendra's, if any."""
        if self.error is None and self.status is None:
            return None
        status = self.status or SERVER_FAULTS.get(self.error or "", 400)
        return refuse(status, self.error, self.message or "Injected by the local Kendra")

    def corrupt(self, answer: Answer, parameters: Any) -> Answer:
        """Return the response with the damage of this fault."""
        if self.next_token and answer.status == 200:
            content = json.loads(answer.body or b"{}")
            asked = parameters.get("NextToken") if isinstance(parameters, dict) else None
            repeated = asked or content.get("NextToken")
            token = repeated if self.next_token == "repeated" else "bm90IGEgdG9rZW4="
            answer.body = json.dumps(content | ({"NextToken": token} if token else {})).encode()
        if self.body == "not-json":
            answer.body = b"<html><body>It works!</body></html>"
        elif self.body == "empty":
            answer.body = b""
        answer.headers["Content-Length"] = str(len(answer.body))
        if self.body == "truncated":
            answer.headers["Content-Length"] = str(len(answer.body) + 1)
            answer.body = answer.body[: len(answer.body) // 2]
        return answer
