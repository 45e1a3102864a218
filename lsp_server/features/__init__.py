"""One file a method that Starling owns."""
