"""What users load: the mock, the pytest plugin, and the connection that leads Airflow to the local Kendra."""

import json
import os
import subprocess
import sys

import boto3
import pytest

from airflow_provider_kendra.testing import LocalKendra, mock_kendra

PLUGIN = "airflow_provider_kendra.testing.pytest_plugin"


def run(code, **kwargs):
    return subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True, **kwargs).stdout


@pytest.mark.slow
def test_the_plugin_imports_nothing_until_a_fixture_is_used():
    code = f"import sys, pytest, {PLUGIN}; print(sorted(sys.modules.keys() & {{'moto', 'boto3', 'airflow', 'flask'}}))"
    assert run(code).strip() == "[]"


def pytest_in(directory, test):
    (directory / "test_it.py").write_text(test)
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("AIRFLOW_CONN_AWS_DEFAULT", None)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:cacheprovider", "--rootdir", str(directory)],
        cwd=directory, env=environment, text=True, capture_output=True, check=False,
    ).stdout  # fmt: skip


@pytest.mark.slow
def test_the_fixture_is_a_local_kendra_empty_in_each_test(tmp_path):
    test = (
        "import json, os, pytest\n"
        "@pytest.mark.parametrize('time', [1, 2])\n"
        "def test_one(local_kendra, time):\n"
        "    assert json.loads(os.environ['AIRFLOW_CONN_AWS_DEFAULT'])['extra']['endpoint_url'] == local_kendra.url\n"
        "    assert local_kendra.call_count() == 0\n"
        "    local_kendra.create_index()\n"
        "    assert len(local_kendra.client().list_indices()['IndexConfigurationSummaryItems']) == 1\n"
        "def test_without():\n"
        "    assert 'AIRFLOW_CONN_AWS_DEFAULT' not in os.environ\n"
    )
    assert "3 passed" in pytest_in(tmp_path, test)


@pytest.mark.slow
def test_plain_boto3_reaches_the_fixture_whatever_the_developer_has_configured(tmp_path):
    test = (
        "import boto3, os, pytest\n"
        "@pytest.fixture(autouse=True, scope='session')\n"
        "def before():\n"
        "    os.environ.update(AWS_PROFILE='mine', AWS_ENDPOINT_URL_KENDRA='https://example.invalid',\n"
        "        AWS_REGION='eu-west-1', AWS_SESSION_TOKEN='real', AWS_IGNORE_CONFIGURED_ENDPOINT_URLS='true')\n"
        "    boto3.DEFAULT_SESSION = 'of an earlier test'\n"
        "def test_one(local_kendra):\n"
        "    client = boto3.client('kendra')\n"
        "    assert (client.meta.endpoint_url, client.meta.region_name) == (local_kendra.url, 'us-east-1')\n"
        "    assert client.list_indices()['IndexConfigurationSummaryItems'] == []\n"
        "    boto3.client('s3').create_bucket(Bucket='documents')\n"
        "    credentials = boto3.Session().get_credentials()\n"
        "    assert (credentials.access_key, credentials.token) == ('testing', None)\n"
        "def test_two():\n"
        "    assert (os.environ['AWS_PROFILE'], boto3.DEFAULT_SESSION) == ('mine', 'of an earlier test')\n"
    )
    output = pytest_in(tmp_path, test)
    assert "2 passed" in output, output


@pytest.mark.slow
def test_the_fixture_for_a_module_is_emptied_once_and_apart_from_that_of_a_test(tmp_path):
    test = (
        "import boto3, pytest\n"
        "@pytest.fixture(scope='module')\n"
        "def index_id(local_kendra_module):\n"
        "    return local_kendra_module.create_index()\n"
        "@pytest.mark.parametrize('time', [1, 2])\n"
        "def test_one(index_id, time):\n"
        "    assert boto3.client('kendra').describe_index(Id=index_id)\n"
        "def test_two(index_id, local_kendra):\n"
        "    assert boto3.client('kendra').list_indices()['IndexConfigurationSummaryItems'] == []\n"
        "def test_three(index_id):\n"
        "    assert boto3.client('kendra').describe_index(Id=index_id)\n"
    )
    output = pytest_in(tmp_path, test)
    assert "4 passed" in output, output


@pytest.mark.slow
def test_without_moto_other_tests_run_and_the_fixture_says_what_to_install(tmp_path):
    test = "import sys\nsys.modules['moto'] = None\ndef test_other(): pass\ndef test_one(local_kendra): pass\n"
    output = pytest_in(tmp_path, test)
    assert "1 passed, 1 error" in output
    assert "airflow-provider-kendra[local]" in output


@pytest.mark.parametrize("name", ["moto", "flask", "flask_cors"])
def test_without_the_extra_the_server_ends_with_the_sentence_that_names_it(name):
    code = (
        "import runpy, sys\n"
        f"sys.modules[{name!r}] = None\n"
        "sys.argv = ['testing']\n"
        "runpy.run_module('airflow_provider_kendra.testing', run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=False)
    sentence = f"The local Kendra needs {name}: pip install 'airflow-provider-kendra[local]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)


@pytest.mark.parametrize("use", ["import mock_kendra", "import LocalKendra; LocalKendra().start()"])
def test_without_the_extra_an_import_error_names_it(use):
    code = f"""
import sys
sys.modules["moto"] = None
try:
    from airflow_provider_kendra.testing {use}
except ImportError as error:
    print(error)
"""
    assert run(code) == "The local Kendra needs moto: pip install 'airflow-provider-kendra[local]'\n"


@mock_kendra
def list_indexes():
    return boto3.client("kendra", region_name="us-east-1").list_indices()["IndexConfigurationSummaryItems"]


def test_the_mock_is_a_decorator_and_a_context_manager_that_starts_empty():
    assert list_indexes() == []
    with mock_kendra():
        client = boto3.client("kendra", region_name="us-east-1")
        client.create_index(Name="i", RoleArn="arn:aws:iam::123456789012:role/kendra")
        assert len(client.list_indices()["IndexConfigurationSummaryItems"]) == 1
    assert list_indexes() == []


def test_the_mock_refuses_a_coroutine_function():
    async def test():
        pass

    with pytest.raises(TypeError, match="with mock_kendra"):
        mock_kendra(test)


@pytest.mark.slow
def test_a_moto_that_ships_kendra_keeps_its_own():
    code = (
        "import re, moto, moto.backend_index as index\n"
        "index.backend_url_patterns.append(('kendra', re.compile('https?://kendra')))\n"
        "from airflow_provider_kendra.testing.registry import register\n"
        "before = list(moto.__path__), list(index.backend_url_patterns)\n"
        "register()\n"
        "print(before == (list(moto.__path__), list(index.backend_url_patterns)))"
    )
    assert run(code).strip() == "True"


A_MOTO_WITH_KENDRA = (
    "import re, moto, moto.backend_index as index\n"
    "index.backend_url_patterns.append(('kendra', re.compile('https?://kendra')))\n"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "use",
    [
        "from airflow_provider_kendra.testing import MockedKendra; MockedKendra()",
        "import sys, runpy; sys.argv = ['testing']\n"
        "    runpy.run_module('airflow_provider_kendra.testing', run_name='__main__', alter_sys=True)",
    ],
)
def test_with_a_moto_that_ships_kendra_the_controls_say_why_they_do_not_work(use):
    code = f"{A_MOTO_WITH_KENDRA}try:\n    {use}\nexcept RuntimeError as error:\n    print(error)\n"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=False)
    (line,) = (done.stdout + done.stderr).splitlines()
    assert line.startswith("The installed moto has a Kendra of its own, which the controls")


@pytest.mark.slow
def test_with_a_moto_that_ships_kendra_the_server_says_so_to_its_parent(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(A_MOTO_WITH_KENDRA)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="The installed moto has a Kendra of its own"):
        LocalKendra().start()


@pytest.mark.slow
def test_registering_twice_registers_once():
    code = (
        "import moto, moto.backend_index as index\n"
        "from airflow_provider_kendra.testing.registry import register\n"
        "register(); register()\n"
        "print(len(moto.__path__), [name for name, _ in index.backend_url_patterns].count('kendra'))"
    )
    assert run(code).strip() == "2 2", "one pattern for each form of its host names"


def test_the_local_kendra_is_offered_without_importing_moto():
    code = "import sys; from airflow_provider_kendra.testing import LocalKendra; print('moto' in sys.modules)"
    assert run(code).strip() == "False"


@pytest.mark.parametrize("form", ["connection_json", "connection_uri"])
def test_the_connection_leads_airflows_aws_hook_to_the_local_kendra(form):
    from airflow.models import Connection

    kendra = LocalKendra.attach("http://127.0.0.1:12345")
    value = getattr(kendra, form)
    connection = Connection.from_json(value) if form == "connection_json" else Connection(uri=value)
    assert (connection.conn_type, connection.login, connection.password) == ("aws", "testing", "testing")
    assert json.loads(connection.extra) == {"region_name": "us-east-1", "endpoint_url": "http://127.0.0.1:12345"}
