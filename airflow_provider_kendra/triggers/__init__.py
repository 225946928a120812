"""The triggers of the provider."""
