"""What a wait costs the triggerer, and an import the DAG processor: `python -m tests.benchmarks`."""
