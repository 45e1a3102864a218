"""Training: `train` in `loop.py` is where to start reading; `options.py` says what can be set. Importing this loads no torch."""
