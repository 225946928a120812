"""The asset that stands for a data source."""
