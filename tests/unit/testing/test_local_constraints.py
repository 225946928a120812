"""Requests generated from the service model: each single violation is refused, and none where there is none."""

import json

import pytest

from airflow_provider_kendra.testing.moto_backends.kendra.exceptions import SerializationException, ValidationException
from airflow_provider_kendra.testing.moto_backends.kendra.validations import parse_request
from tests.unit.testing.generated import places, valid, violations, with_value_at
from tests.unit.testing.wire import InProcessWire, model, supported_operations

#: Violations that are accepted although they should be refused, by `Violation.name`. To be kept empty.
KNOWN_HOLES: set[str] = set()


@pytest.fixture
def wire(in_process):
    return InProcessWire(in_process.client())


def is_refused_for_a_constraint(response):
    """Kendra also answers ValidationException where values contradict each other; the message then is another."""
    return response.error == "SerializationException" or (
        response.error == "ValidationException" and "failed to satisfy constraint" in response.content["Message"]
    )


def is_refused_by_validation(operation, request):
    """Whether the server refuses a request before it does anything else; it decodes base64 only when it needs it."""
    try:
        parse_request(operation, json.dumps(request).encode())
    except (SerializationException, ValidationException):
        return True
    return False


@pytest.mark.parametrize("name", supported_operations())
def test_each_violation_of_the_model_is_refused(wire, name):
    accepted = {
        each.name
        for each in violations(model().operation_model(name))
        if not is_refused_by_validation(name, each.request)
        and not is_refused_for_a_constraint(wire.send(name, json.dumps(each.request).encode()))
    }
    assert accepted == {hole for hole in KNOWN_HOLES if hole.startswith(f"{name} ")}


@pytest.mark.parametrize("name", supported_operations())
def test_a_client_gets_the_error_of_a_violation(wire, name):
    one_of_each_rule = {each.rule.split()[0]: each.request for each in violations(model().operation_model(name))}
    responses = [(request, wire.send(name, json.dumps(request).encode())) for request in one_of_each_rule.values()]
    assert [request for request, response in responses if not is_refused_for_a_constraint(response)] == []


@pytest.mark.parametrize("name", supported_operations())
def test_no_valid_request_is_refused_for_a_constraint(wire, name):
    shape = model().operation_model(name).input_shape
    requests = [with_value_at(shape, place, valid(inner)) for place, inner in places(shape)]
    requests.append(valid(shape, everything=True))
    bodies = {json.dumps(each) for each in requests}
    responses = [(body, wire.send(name, body.encode())) for body in bodies]
    assert [(body, response.body) for body, response in responses if is_refused_for_a_constraint(response)] == []
    assert [(body, response.body) for body, response in responses if response.status >= 500] == []


def test_the_generated_violations_cover_the_model():
    every = [each for name in supported_operations() for each in violations(model().operation_model(name))]
    assert len(every) > 10_000
    rules = {each.rule.split()[0] for each in every}
    assert rules >= {"min", "max", "enum", "pattern", "without", "string", "number", "boolean", "array", "object"}
