"""Connections to editors: standard streams, TCP and Unix sockets."""
