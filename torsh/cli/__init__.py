"""The `torsh` command."""
