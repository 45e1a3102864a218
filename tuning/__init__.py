"""The PEFT engine. Importing this package loads no torch."""
