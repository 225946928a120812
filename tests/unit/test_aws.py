"""The AWS parameters arrive at the hook as they were given, and equal ones are equal."""

import pytest

from airflow_provider_kendra._connection import AwsParameters
from airflow_provider_kendra._tasks import KendraOperator
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook


class Operator(KendraOperator):
    template_fields = KendraOperator.aws_template_fields

    def __init__(self, **kwargs):
        super().__init__(index_id="i" * 36, **kwargs)


def test_the_hook_gets_all_four_parameters():
    hook = KendraSyncJobsHook._of(AwsParameters("other", "eu-west-1", "/ca.pem", '{"retries": {"max_attempts": 7}}'))
    assert (hook.aws_conn_id, hook._region_name, hook._verify) == ("other", "eu-west-1", "/ca.pem")
    assert hook._config.retries == {"max_attempts": 7}


def test_without_any_parameter_the_hook_is_left_to_the_connection():
    hook = KendraSyncJobsHook._of(AwsParameters())
    assert (hook.aws_conn_id, hook._region_name, hook._verify, hook._config) == ("aws_default", None, None, None)


def test_the_parameters_of_an_operator_default_to_the_amazon_providers():
    assert Operator(task_id="t").aws_parameters == AwsParameters("aws_default", None, None, "{}")


@pytest.mark.parametrize(
    ("one", "other", "are_equal"),
    [
        ({}, {}, True),
        ({"botocore_config": {}}, {"botocore_config": None}, True),
        ({"botocore_config": {"a": 1, "b": 2}}, {"botocore_config": {"b": 2, "a": 1}}, True),
        ({"botocore_config": {"a": 1}}, {"botocore_config": {"a": 2}}, False),
        ({"aws_conn_id": "x"}, {"aws_conn_id": None}, False),
        ({"region_name": "us-east-1"}, {"region_name": None}, False),
        ({"verify": False}, {"verify": None}, False),
    ],
)
def test_operators_share_a_client_only_if_nothing_in_their_parameters_differs(one, other, are_equal):
    first, second = (Operator(task_id="t", **each).aws_parameters for each in (one, other))
    assert (first == second) is are_equal
    assert (len({first, second}) == 1) is are_equal


def test_rendered_values_are_what_counts():
    operator = Operator(
        task_id="t", region_name="{{ params.region }}", botocore_config={"region_name": "{{ params.region }}"}
    )
    operator.render_template_fields({"params": {"region": "eu-west-1"}})
    assert operator.aws_parameters == AwsParameters(
        region_name="eu-west-1", botocore_config='{"region_name": "eu-west-1"}'
    )


def test_the_keyword_arguments_make_an_equal_operator():
    operator = Operator(task_id="t", aws_conn_id="x", region_name="r", verify=False, botocore_config={"a": 1})
    assert Operator(task_id="u", **operator.aws_kwargs).aws_parameters == operator.aws_parameters


def test_the_hook_of_an_operator_is_made_once():
    operator = Operator(task_id="t")
    assert operator.hook is operator.hook
