"""The `starling` command: the server and everything a user does, above the packages that do it."""
