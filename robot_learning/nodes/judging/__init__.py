"""Parts of the reward node that need no graph."""
