"""One file a command: compose, build, call, print."""
