"""The parts of LSP that Starling reads or changes: capabilities, messages to the editor, and typed requests."""
