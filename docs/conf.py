"""How Sphinx builds the documentation site: ``make docs``."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent

# The reference is made from the package as it is imported, which needs an Airflow that writes somewhere.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-docs-"))
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"  # else it is mixed with what the examples print
sys.path.insert(0, str(HERE))

import airflow_provider_kendra  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "airflow-provider-kendra"
author = "the airflow-provider-kendra authors"
project_copyright = "Apache License 2.0"
release = version = airflow_provider_kendra.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx_copybutton",
    "sphinxarg.ext",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist", "fieldlist", "colon_fence"]
myst_heading_anchors = 3

default_role = "code"
smartquotes = False  # what is quoted is often code, and "--" begins an option

html_theme = "furo"
html_title = f"airflow-provider-kendra {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
# A copied command has neither prompt nor output.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"
copybutton_exclude = ".linenos, .go"
html_show_sourcelink = False
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
add_module_names = False

doctest_global_setup = "import os"

# Names of Python and other projects, whose own documentation is not read here, since the site is built without a
# network; and what is part of a signature, but no part of the reference.
nitpick_ignore_regex = [
    (r"py:.*", r"(airflow|botocore|boto3|moto|types_boto3_kendra|collections|datetime|enum|urllib)\..*"),
    (r"py:.*", r"Asset|AirflowSensorTimeout|Connection|DefaultConfig|MockAWS|OpenLineageDataset|P|timedelta"),
    (r"py:.*", r"airflow_provider_kendra\.testing\.registry\.T"),
    (r"py:.*", r"airflow_provider_kendra\.(_decisions|outcomes)\.(Satisfied|Failed|AllFresh)"),
]
suppress_warnings = ["myst.domains"]  # sphinx-argparse's domain cannot be asked for "any" target


def setup(app: Sphinx) -> None:
    """Write the tables of the benchmarks before anything is read."""
    app.connect("builder-inited", lambda _: write_tables())


def write_tables() -> None:
    """Write what the benchmarks measured."""
    import measured

    measured.main([str(HERE / "benchmarks.json"), str(HERE / "_build" / "measured.md")])
