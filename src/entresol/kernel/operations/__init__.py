"""One file per kind of operation: its checks, in order, and what it writes when they pass."""
