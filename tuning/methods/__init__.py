"""One file a method of parameter-efficient fine-tuning; `tuning.registry` finds them."""
