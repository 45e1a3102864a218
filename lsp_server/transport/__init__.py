"""The editor's end: standard streams and sockets."""
