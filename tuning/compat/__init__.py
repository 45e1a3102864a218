"""PEFT's module names for this engine, for libraries that ask for `peft`: see `tuning.compat.modules.as_peft`."""
