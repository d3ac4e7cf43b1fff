"""Parts of the node `practice`."""
